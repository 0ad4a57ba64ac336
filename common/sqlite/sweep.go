package sqlite

import (
	"context"
	"time"

	"github.com/im-transfer/im"
)

const (
	usersAfter   = "SELECT id FROM user_keys WHERE id > ? ORDER BY id LIMIT ?"
	oldestBlocks = "SELECT first_seq, n, at_ms FROM inbox WHERE user = ? ORDER BY first_seq LIMIT ?"
	raiseFloor   = `INSERT INTO floors (user, floor) VALUES (?, ?)
		ON CONFLICT (user) DO UPDATE SET floor = max(floor, excluded.floor)`
	deleteBlocks = "DELETE FROM inbox WHERE user = ? AND first_seq <= ?"
)

// Clock returns the wall clock of this machine, which is the store's.
func (s *Store) Clock(context.Context) (time.Time, error) { return s.now().Round(0), nil }

// UsersAfter returns up to limit ids of users above an id, ascending. Whoever is
// named anywhere in the store is among them.
func (s *Store) UsersAfter(ctx context.Context, after string, limit int) (ids []string, err error) {
	err = s.read(ctx, "walk users", func(c *conn) error {
		return c.each(usersAfter, func(r row) bool {
			ids = append(ids, r.text(0))
			return true
		}, after, int64(limit))
	})
	return ids, err
}

// SweepInbox deletes a user's oldest blocks and raises the floor, in one
// transaction; the writer is asked only where there is something to delete.
func (s *Store) SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (found int, err error) {
	var user, first, last int64
	err = s.read(ctx, "look for old blocks", func(c *conn) error {
		if user, err = s.users.key(c, userID); err != nil {
			return err
		}
		var candidate row // old; it may go if there is another behind it
		return c.each(oldestBlocks, func(r row) bool {
			if candidate != nil {
				found, first, last = found+1, candidate.int(0), candidate.int(0)+candidate.int(1)-1
			}
			candidate = append(candidate[:0], r...)
			return r.int(2) < before.UnixMilli()
		}, user, int64(limit)+1)
	})
	if err != nil || found == 0 {
		return 0, err
	}
	return found, s.write(ctx, "sweep inbox", func(t *tx) error {
		if err := t.exec(raiseFloor, user, last); err != nil {
			return err
		}
		im.CrashPoint(im.CrashFloorRaised)
		return t.exec(deleteBlocks, user, first)
	})
}
