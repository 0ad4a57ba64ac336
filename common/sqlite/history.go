package sqlite

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/im-transfer/im"
)

const (
	messagesUp = "SELECT " + eventColumns + ` FROM messages e
		WHERE e.conversation = ? AND e.seq BETWEEN ? AND ? AND e.kind = 1 AND ` + notExpired + ` AND ` + notDeleted + " ORDER BY e.seq LIMIT ?"
	messagesDown = "SELECT " + eventColumns + ` FROM messages e
		WHERE e.conversation = ? AND e.seq BETWEEN ? AND ? AND e.kind = 1 AND ` + notExpired + ` AND ` + notDeleted + " ORDER BY e.seq DESC LIMIT ?"

	// The index of threads has only what is in one.
	threadUp = "SELECT " + eventColumns + ` FROM messages e INDEXED BY messages_of_thread
		WHERE e.conversation = ? AND e.thread_id <> 0 AND e.thread_id = ? AND e.seq BETWEEN ? AND ? AND e.kind = 1 AND ` + notExpired + ` AND ` + notDeleted + `
		ORDER BY e.seq LIMIT ?`
	threadDown = "SELECT " + eventColumns + ` FROM messages e INDEXED BY messages_of_thread
		WHERE e.conversation = ? AND e.thread_id <> 0 AND e.thread_id = ? AND e.seq BETWEEN ? AND ? AND e.kind = 1 AND ` + notExpired + ` AND ` + notDeleted + `
		ORDER BY e.seq DESC LIMIT ?`
	notExpired = "(e.expires_at_ms = 0 OR e.expires_at_ms > ?)"

	notDeleted     = "NOT EXISTS (SELECT 1 FROM deletes d WHERE d.user = ? AND d.conversation = e.conversation AND d.seq = e.seq)"
	marksOfMembers = `SELECT k.id, r.read_upto, r.receipted_upto, r.delivered_upto FROM members m
		JOIN user_keys k ON k.key = m.user
		LEFT JOIN reads r ON r.user = m.user AND r.conversation = m.conversation
		WHERE m.conversation = ? AND m.left_seq = ?`
)

// Stays returns the stays of a user in a conversation, past ones included,
// oldest first.
func (s *Store) Stays(ctx context.Context, userID, conversationID string) (stays []im.Member, err error) {
	err = s.read(ctx, "read stays", func(c *conn) error {
		user, conversation, err := s.readKeys(c, userID, conversationID)
		if err != nil {
			return err
		}
		stays, err = s.members(c, conversationID, selectStays, conversation, user)
		return err
	})
	return stays, err
}

// History returns message events of a range, ascending, and whether there are
// more in the direction of the range.
func (s *Store) History(ctx context.Context, r im.EventRange) (events []im.Event, more bool, err error) {
	err = s.snapshot(ctx, "read history", func(c *conn) error {
		conversation, err := s.conversations.key(c, r.ConversationID)
		if err != nil {
			return err
		}
		events, more, err = s.history(c, conversation, r)
		return err
	})
	return events, more, err
}

// history walks the stays in the direction of the range until it has one event
// more than asked for.
func (s *Store) history(c *conn, conversation int64, r im.EventRange) ([]im.Event, bool, error) {
	viewer, err := s.users.key(c, r.Viewer.UserID)
	if err != nil {
		return nil, false, err
	}
	query, low, high := messagesDown, r.Viewer.ClearedUpto+1, int64(math.MaxInt64)
	first := []any{conversation}
	switch {
	case r.Forward:
		query, low = messagesUp, max(low, r.After+1)
	case r.Before > 0:
		high = r.Before - 1
	}
	if r.ThreadID != 0 {
		query, first = threadDown, append(first, r.ThreadID)
		if r.Forward {
			query = threadUp
		}
	}
	var events []im.Event
	for _, stay := range ordered(r.Stays, r.Forward) {
		missing := r.Limit + 1 - len(events)
		if missing <= 0 {
			break
		}
		events, err = s.appendEvents(events, c, r.ConversationID, query, slices.Concat(first,
			[]any{max(low, stay.JoinedSeq), min(high, stay.LeftSeq), s.now().UnixMilli(), viewer, int64(missing)})...)
		if err != nil {
			return nil, false, err
		}
	}
	more := len(events) > r.Limit
	events = events[:min(r.Limit, len(events))]
	if !r.Forward {
		slices.Reverse(events)
	}
	return events, more, nil
}

// ordered returns the stays in the order in which a range meets them.
func ordered(stays []im.Member, forward bool) []im.Member {
	return slices.SortedFunc(slices.Values(stays), func(a, b im.Member) int {
		if !forward {
			a, b = b, a
		}
		return cmp.Compare(a.JoinedSeq, b.JoinedSeq)
	})
}

// ReadMarksOf returns the marks of all present members of a conversation, zero
// ones included.
func (s *Store) ReadMarksOf(ctx context.Context, conversationID string) (marks []im.ReadMark, err error) {
	err = s.read(ctx, "read marks of members", func(c *conn) error {
		conversation, err := s.conversations.key(c, conversationID)
		if err != nil {
			return err
		}
		return c.each(marksOfMembers, func(r row) bool {
			marks = append(marks, im.ReadMark{
				UserID: r.text(0), ConversationID: conversationID,
				ReadUpto: r.int(1), ReceiptedUpto: r.int(2), DeliveredUpto: r.int(3),
			})
			return true
		}, conversation, int64(im.Forever))
	})
	return marks, err
}
