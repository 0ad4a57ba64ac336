package sqlite

import "github.com/im-transfer/im"

const (
	// Events of others above the mark that fall into one of the user's stays, and that
	// they have not deleted.
	countUnread = `SELECT count(*) FROM (
		SELECT 1 FROM members m CROSS JOIN messages e ON e.conversation = m.conversation
			AND e.seq >= max(m.joined_seq, ?) AND e.seq <= m.left_seq
		WHERE m.user = ? AND m.conversation = ? AND e.flags & 1 AND e.sender <> m.user AND ` + notExpired + `
			AND NOT EXISTS (SELECT 1 FROM deletes d WHERE d.user = m.user AND d.conversation = m.conversation AND d.seq = e.seq)
		LIMIT ?)`
	// Those of them that are recalled. This reads the partial index only.
	countUncounted = `SELECT count(*) FROM members m CROSS JOIN message_states e ON e.conversation = m.conversation
			AND e.message_seq >= max(m.joined_seq, ?) AND e.message_seq <= m.left_seq
		WHERE m.user = ? AND m.conversation = ? AND e.uncounted = 1 AND e.sender <> m.user AND ` + notExpired + `
			AND NOT EXISTS (SELECT 1 FROM deletes d WHERE d.user = m.user AND d.conversation = m.conversation AND d.seq = e.message_seq)`
	// Those that mention the user, or everybody, whose key is 0.
	countMentions = `SELECT count(*) FROM (
		SELECT DISTINCT x.seq FROM mentions x
			CROSS JOIN messages e ON e.conversation = x.conversation AND e.seq = x.seq
			JOIN members m ON m.conversation = x.conversation AND m.user = ? AND x.seq BETWEEN m.joined_seq AND m.left_seq
		WHERE x.conversation = ? AND x.user IN (0, ?) AND x.seq > ? AND e.flags & 1 AND e.sender <> m.user AND ` + notExpired + `
			AND NOT EXISTS (SELECT 1 FROM message_states s WHERE s.conversation = e.conversation AND s.message = e.id AND s.recalled)
			AND NOT EXISTS (SELECT 1 FROM deletes d WHERE d.user = m.user AND d.conversation = m.conversation AND d.seq = e.seq)
		LIMIT ?)`
)

// unread counts what a user has not read. Where some of it is recalled, as many more are
// counted before they are taken off: so it is exact up to the bound.
func (s *Store) unread(c *conn, user, conversation, upto int64) (int, error) {
	count := func(query string, args ...any) (n int64, err error) {
		_, err = c.one(query, func(r row) { n = r.int(0) }, append([]any{upto + 1, user, conversation, s.now().UnixMilli()}, args...)...)
		return n, err
	}
	recalled, err := count(countUncounted)
	if err != nil {
		return 0, err
	}
	all, err := count(countUnread, im.MaxUnread+recalled)
	return int(max(0, all-recalled)), err
}

// mentions counts those that mention the user.
func (s *Store) mentions(c *conn, user, conversation, upto int64) (count int, err error) {
	_, err = c.one(countMentions, func(r row) { count = int(r.int(0)) },
		user, conversation, user, upto, s.now().UnixMilli(), int64(im.MaxUnread))
	return count, err
}
