package sqlite

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/im-transfer/im"
)

// These tables came after the first databases were made; see extend. Both are clustered
// on the user and the time, by which they are asked and swept.
const (
	makeConnections = `CREATE TABLE IF NOT EXISTS connections (
		user INTEGER NOT NULL, online_ms INTEGER NOT NULL, session TEXT NOT NULL, device NOT NULL,
		platform TEXT NOT NULL, transport TEXT NOT NULL, remote TEXT NOT NULL, client TEXT NOT NULL,
		agent TEXT NOT NULL, offline_ms INTEGER NOT NULL, reason TEXT NOT NULL,
		PRIMARY KEY (user, online_ms, session)) WITHOUT ROWID`
	makeProgress = `CREATE TABLE IF NOT EXISTS progress (
		user INTEGER NOT NULL, at_ms INTEGER NOT NULL, device NOT NULL, written INTEGER NOT NULL, acked INTEGER NOT NULL,
		PRIMARY KEY (user, at_ms, device)) WITHOUT ROWID`
)

const (
	// What only the beginning says is filled in when it comes late; the first end stands.
	putConnection = `INSERT INTO connections (user, online_ms, session, device, platform, transport, remote, client, agent, offline_ms, reason)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (user, online_ms, session) DO UPDATE SET
			client = iif(client = '', excluded.client, client), agent = iif(agent = '', excluded.agent, agent),
			reason = iif(offline_ms = 0, excluded.reason, reason), offline_ms = iif(offline_ms = 0, excluded.offline_ms, offline_ms)`
	connectionColumns = "online_ms, session, device, platform, transport, remote, client, agent, offline_ms, reason"
	selectConnections = "SELECT " + connectionColumns + ` FROM connections
		WHERE user = ? AND (online_ms, session) < (?, ?) ORDER BY online_ms DESC, session DESC`
	newestConnections = "SELECT online_ms, offline_ms FROM connections WHERE user = ? ORDER BY online_ms DESC LIMIT ?"
	sweepConnections  = `DELETE FROM connections WHERE (user, online_ms, session) IN (SELECT user, online_ms, session FROM connections
		WHERE user = ? AND online_ms < ? AND online_ms < (SELECT max(online_ms) FROM connections WHERE user = ?) LIMIT ?)`
	oldConnections = `SELECT count(*) FROM (SELECT 1 FROM connections
		WHERE user = ? AND online_ms < ? AND online_ms < (SELECT max(online_ms) FROM connections WHERE user = ?) LIMIT ?)`

	putProgress = `INSERT INTO progress (user, at_ms, device, written, acked) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (user, at_ms, device) DO UPDATE SET written = max(written, excluded.written), acked = max(acked, excluded.acked)`
	firstWritten  = "SELECT at_ms FROM progress WHERE user = ? AND at_ms >= ? AND device = ? AND written >= ? ORDER BY at_ms LIMIT 1"
	firstAcked    = "SELECT at_ms FROM progress WHERE user = ? AND at_ms >= ? AND device = ? AND acked >= ? ORDER BY at_ms LIMIT 1"
	sweepProgress = `DELETE FROM progress WHERE (user, at_ms, device) IN (SELECT user, at_ms, device FROM progress
		WHERE user = ? AND at_ms < ? LIMIT ?)`
	oldProgress = "SELECT count(*) FROM (SELECT 1 FROM progress WHERE user = ? AND at_ms < ? LIMIT ?)"

	// Everywhere but in their direct conversation.
	sharesGroup = `SELECT 1 FROM members b WHERE b.user = ? AND b.left_seq = ? AND b.conversation <> ? AND EXISTS (
		SELECT 1 FROM members a WHERE a.conversation = b.conversation AND a.user = ? AND a.left_seq = ?) LIMIT 1`
	blockOf = "SELECT blocked, seq FROM members WHERE conversation = ? AND user = ?"
	talked  = "SELECT 1 FROM messages WHERE conversation = ? AND kind = ? LIMIT 1"
)

// seenAmong is how many connections are looked at for when a user was seen: that which
// began last may have ended before another one.
const seenAmong = 20

// Sharing returns those of others who are in a conversation with a user at present, and
// have not blocked the user.
func (s *Store) Sharing(ctx context.Context, userID string, others []string) (shared []im.Sharing, err error) {
	err = s.read(ctx, "read who shares a conversation", func(c *conn) error {
		for _, id := range others {
			if id == userID {
				continue
			}
			found, seq, err := s.shares(c, userID, id)
			if err != nil {
				return err
			}
			if found {
				shared = append(shared, im.Sharing{UserID: id, Seq: seq})
			}
		}
		return nil
	})
	return shared, err
}

func (s *Store) shares(c *conn, userID, otherID string) (found bool, seq int64, err error) {
	user, err1 := s.users.key(c, userID)
	other, err2 := s.users.key(c, otherID)
	direct, err3 := s.conversations.key(c, im.DirectConversation(userID, otherID))
	if err := errors.Join(err1, err2, err3); err != nil {
		return false, 0, err
	}
	var blocked bool
	knows, err := c.one(blockOf, func(r row) { blocked, seq = r.int(0) != 0, r.int(1) }, direct, user)
	if err != nil || blocked {
		return false, 0, err
	}
	if knows {
		found, err = c.one(talked, func(row) {}, direct, int64(1))
	}
	if err == nil && !found {
		found, err = c.one(sharesGroup, func(row) {}, other, int64(im.Forever), direct, user, int64(im.Forever))
	}
	return found, seq, err
}

// RecordConnections keeps beginnings and ends of connections.
func (s *Store) RecordConnections(ctx context.Context, connections []im.Connection) error {
	return s.write(ctx, "record connections", func(t *tx) error {
		for i := range connections {
			v := &connections[i]
			user, err := t.userKey(v.UserID)
			if err != nil {
				return err
			}
			err = t.exec(putConnection, user, v.OnlineAtMs, v.SessionID, packID(v.DeviceID), v.Platform, v.Transport, v.Remote,
				v.Client, v.UserAgent, v.OfflineAtMs, v.Reason)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Connections returns connections of a user, the newest first.
func (s *Store) Connections(ctx context.Context, q im.ConnectionQuery) (connections []im.Connection, err error) {
	before := q.Before
	if before == (im.ConnectionCursor{}) {
		before.OnlineAtMs = math.MaxInt64
	}
	err = s.read(ctx, "read connections", func(c *conn) error {
		user, err := s.users.key(c, q.UserID)
		if err != nil {
			return err
		}
		return c.each(selectConnections, func(r row) bool {
			v := im.Connection{
				UserID: q.UserID, OnlineAtMs: r.int(0), SessionID: r.text(1), DeviceID: unpackID(r, 2), Platform: r.text(3),
				Transport: r.text(4), Remote: r.text(5), Client: r.text(6), UserAgent: r.text(7), OfflineAtMs: r.int(8), Reason: r.text(9),
			}
			if q.DeviceID == "" || v.DeviceID == q.DeviceID {
				connections = append(connections, v)
			}
			return len(connections) < q.Limit
		}, user, before.OnlineAtMs, before.SessionID)
	})
	return connections, err
}

// LastSeen returns when users were online last, one for each, in the order asked.
func (s *Store) LastSeen(ctx context.Context, userIDs []string) ([]int64, error) {
	seen := make([]int64, len(userIDs))
	err := s.read(ctx, "read when users were seen", func(c *conn) error {
		for i, id := range userIDs {
			user, err := s.users.key(c, id)
			if err != nil {
				return err
			}
			err = c.each(newestConnections, func(r row) bool {
				seen[i] = max(seen[i], r.int(0), r.int(1))
				return true
			}, user, int64(seenAmong))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return seen, err
}

// AddProgress adds rows, which may come twice.
func (s *Store) AddProgress(ctx context.Context, rows []im.Progress) error {
	return s.write(ctx, "add progress", func(t *tx) error {
		for i := range rows {
			user, err := t.userKey(rows[i].UserID)
			if err != nil {
				return err
			}
			if err := t.exec(putProgress, user, rows[i].AtMs, packID(rows[i].DeviceID), rows[i].Written, rows[i].Acked); err != nil {
				return err
			}
		}
		return nil
	})
}

// FirstProgress returns when devices had come so far, one for each key.
func (s *Store) FirstProgress(ctx context.Context, keys []im.ProgressKey) ([]im.ProgressTimes, error) {
	times := make([]im.ProgressTimes, len(keys))
	err := s.read(ctx, "read progress", func(c *conn) error {
		for i, key := range keys {
			user, err := s.users.key(c, key.UserID)
			if err != nil {
				return err
			}
			device := packID(key.DeviceID)
			if _, err := c.one(firstWritten, func(r row) { times[i].WrittenAtMs = r.int(0) }, user, key.FromMs, device, key.Seq); err != nil {
				return err
			}
			if _, err := c.one(firstAcked, func(r row) { times[i].AckedAtMs = r.int(0) }, user, key.FromMs, device, key.Seq); err != nil {
				return err
			}
		}
		return nil
	})
	return times, err
}

// SweepConnections deletes a user's old connections, but never the newest.
func (s *Store) SweepConnections(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return s.sweepRows(ctx, userID, oldConnections, sweepConnections, func(user int64) []any {
		return []any{user, before.UnixMilli(), user, int64(limit)}
	})
}

// SweepProgress deletes old progress of a user's devices.
func (s *Store) SweepProgress(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return s.sweepRows(ctx, userID, oldProgress, sweepProgress, func(user int64) []any {
		return []any{user, before.UnixMilli(), int64(limit)}
	})
}

// sweepRows asks the writer only where there is something to delete.
func (s *Store) sweepRows(ctx context.Context, userID, count, remove string, args func(user int64) []any) (found int, err error) {
	var user int64
	err = s.read(ctx, "look for old rows", func(c *conn) error {
		if user, err = s.users.key(c, userID); err != nil {
			return err
		}
		_, err := c.one(count, func(r row) { found = int(r.int(0)) }, args(user)...)
		return err
	})
	if err != nil || found == 0 {
		return 0, err
	}
	return found, s.write(ctx, "sweep rows", func(t *tx) error { return t.exec(remove, args(user)...) })
}
