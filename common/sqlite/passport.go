package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	blockAtOr  = "SELECT first_seq, n, at_ms FROM inbox WHERE user = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1"
	blocksFrom = "SELECT first_seq, n, entries FROM inbox WHERE user = ? AND first_seq >= ? ORDER BY first_seq"

	// clockSlack is how much earlier than its event a block may say it is: their times are
	// of two machines.
	clockSlack = 60_000
)

// FindDeliveries returns where an event stands in users' inboxes; those in whose newest
// 10,000 entries from its time on it is not are left out. There is no index on events:
// blocks are in the order of their times, near enough to find where to begin.
func (s *Store) FindDeliveries(ctx context.Context, event *im.Event, userIDs []string) (found []im.EntryKey, err error) {
	err = s.read(ctx, "find deliveries", func(c *conn) error {
		for _, id := range userIDs {
			user, err := s.users.key(c, id)
			if err != nil {
				return err
			}
			from, err := firstSince(c, user, event.AtMs-clockSlack)
			if err != nil {
				return err
			}
			seq, err := findEntry(c, user, from, im.EventIDOf(event.ID))
			if err != nil {
				return err
			}
			if seq > 0 {
				found = append(found, im.EntryKey{UserID: id, EventID: im.EventIDOf(event.ID), Seq: seq})
			}
		}
		return nil
	})
	return found, err
}

// firstSince returns a seq at or before a user's first block since a time: by halves.
func firstSince(c *conn, user, atMs int64) (int64, error) {
	var head im.InboxHead
	if err := loadHead(c, user, &head); err != nil {
		return 0, err
	}
	low, high := head.Floor+1, head.Head+1 // the block is in [low, high)
	for low < high {
		middle, next := low+(high-low)/2, int64(0)
		older := false
		found, err := c.one(blockAtOr, func(r row) {
			older, next = r.int(2) < atMs, r.int(0)+r.int(1)
		}, user, middle)
		switch {
		case err != nil:
			return 0, err
		case found && older:
			low = max(next, middle+1)
		default:
			high = middle
		}
	}
	return low, nil
}

// findEntry searches blocks from one on for an event.
func findEntry(c *conn, user, from int64, id im.EventID) (seq int64, err error) {
	var failure error
	searched := int64(0)
	err = c.each(blocksFrom, func(r row) bool {
		reader := entryReader{rest: r.blob(2)}
		for i := range r.int(1) {
			entry, _, err := reader.next()
			if err != nil {
				failure = err
				return false
			}
			if entry.EventID == id {
				seq = r.int(0) + i
				return false
			}
		}
		searched += r.int(1)
		return searched < searchedEntries
	}, user, from)
	return seq, firstOf(err, failure)
}
