package sqlite

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/im-transfer/im"
)

// makeBroadcasts makes a table that databases of older programs lack.
const makeBroadcasts = `
CREATE TABLE IF NOT EXISTS broadcasts (
	place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, to_all INTEGER NOT NULL, room TEXT NOT NULL,
	users TEXT NOT NULL, sender TEXT NOT NULL, content BLOB, per_second INTEGER NOT NULL, priority INTEGER NOT NULL,
	created_ms INTEGER NOT NULL, state INTEGER NOT NULL, cursor TEXT NOT NULL, sent INTEGER NOT NULL, refused INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS broadcasts_running ON broadcasts (place) WHERE state = 0;
CREATE INDEX IF NOT EXISTS broadcasts_newest ON broadcasts (created_ms, id);
`

const (
	insertBroadcast = `INSERT INTO broadcasts (id, to_all, room, users, sender, content, per_second, priority, created_ms,
		state, cursor, sent, refused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	selectBroadcast = `SELECT id, to_all, room, users, sender, content, per_second, priority, created_ms,
		state, cursor, sent, refused FROM broadcasts WHERE id = ?`
	selectBroadcasts = `SELECT id, to_all, room, '', sender, NULL, per_second, priority, created_ms,
		state, cursor, sent, refused FROM broadcasts `
	raiseBroadcast = `UPDATE broadcasts SET state = max(state, ?), cursor = max(cursor, ?), sent = max(sent, ?),
		refused = max(refused, ?) WHERE id = ?`
)

// userSeparator stands between the users of a broadcast; ids have no control characters.
const userSeparator = "\n"

// InsertBroadcast adds a broadcast; im.ErrDuplicate when there is one of its id.
func (s *Store) InsertBroadcast(ctx context.Context, b im.Broadcast) error {
	return s.write(ctx, "insert broadcast", func(t *tx) error {
		return t.exec(insertBroadcast, b.ID, b.All, b.RoomID, strings.Join(b.UserIDs, userSeparator), b.SenderID, b.Content,
			int64(b.PerSecond), int64(b.Priority), b.CreatedAtMs, int64(b.State), b.Cursor, b.Sent, b.Refused)
	})
}

func (s *Store) broadcasts(ctx context.Context, query string, args ...any) (all []im.Broadcast, err error) {
	err = s.read(ctx, "read broadcasts", func(c *conn) error {
		return c.each(query, func(r row) bool {
			b := im.Broadcast{
				ID: r.text(0), All: r.int(1) != 0, RoomID: r.text(2), SenderID: r.text(4), Content: r.blob(5),
				PerSecond: int(r.int(6)), Priority: int(r.int(7)), CreatedAtMs: r.int(8),
				BroadcastProgress: im.BroadcastProgress{
					State: im.BroadcastState(r.int(9)), Cursor: r.text(10), Sent: r.int(11), Refused: r.int(12),
				},
			}
			if users := r.text(3); users != "" {
				b.UserIDs = strings.Split(users, userSeparator)
			}
			all = append(all, b)
			return true
		}, args...)
	})
	return all, err
}

// Broadcast returns a broadcast, or im.ErrNotFound.
func (s *Store) Broadcast(ctx context.Context, id string) (im.Broadcast, error) {
	found, err := s.broadcasts(ctx, selectBroadcast, id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%w: broadcast %s", im.ErrNotFound, id)
	}
	if err != nil {
		return im.Broadcast{}, err
	}
	return found[0], nil
}

// RunningBroadcasts returns those that are running, without their content and users.
func (s *Store) RunningBroadcasts(ctx context.Context) ([]im.Broadcast, error) {
	return s.broadcasts(ctx, selectBroadcasts+"WHERE state = 0 ORDER BY place")
}

// LatestBroadcasts returns up to limit broadcasts behind a place, the newest first, likewise.
func (s *Store) LatestBroadcasts(ctx context.Context, from im.BroadcastCursor, limit int) ([]im.Broadcast, error) {
	if from == (im.BroadcastCursor{}) {
		from.CreatedAtMs = math.MaxInt64
	}
	return s.broadcasts(ctx, selectBroadcasts+"WHERE (created_ms, id) < (?, ?) ORDER BY created_ms DESC, id DESC LIMIT ?",
		from.CreatedAtMs, from.ID, int64(limit))
}

// RaiseBroadcast raises a broadcast's progress, each column only if it is higher.
func (s *Store) RaiseBroadcast(ctx context.Context, id string, p im.BroadcastProgress) error {
	return s.write(ctx, "raise broadcast", func(t *tx) error {
		return t.exec(raiseBroadcast, int64(p.State), p.Cursor, p.Sent, p.Refused, id)
	})
}
