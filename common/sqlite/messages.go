package sqlite

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/im-transfer/im"
)

const (
	selectMessageStates = `SELECT message, message_seq, sender, seq, version, edited_ms, recalled, uncounted, expires_at_ms, body, reactions
		FROM message_states WHERE conversation = ? AND message BETWEEN ? AND ? ORDER BY message LIMIT ?`
	projectMessage = `INSERT INTO message_states (conversation, message, message_seq, sender, seq, version, edited_ms,
			recalled, uncounted, expires_at_ms, body, reactions)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation, message) DO UPDATE SET
			seq = excluded.seq, version = excluded.version, edited_ms = excluded.edited_ms, recalled = excluded.recalled,
			uncounted = excluded.uncounted, body = excluded.body, reactions = excluded.reactions
		WHERE excluded.seq > seq`
)

// EventsByID returns the events with these ids that are stored.
func (s *Store) EventsByID(ctx context.Context, refs []im.MessageRef) (events []im.Event, err error) {
	err = s.read(ctx, "read events by id", func(c *conn) error {
		for _, ref := range refs {
			event, found, err := s.eventByID(c, ref)
			if err != nil {
				return err
			}
			if found {
				events = append(events, event)
			}
		}
		return nil
	})
	return events, err
}

func (s *Store) eventByID(c *conn, ref im.MessageRef) (event im.Event, found bool, err error) {
	var failure error
	_, err = c.one(eventByID, func(r row) {
		conversation := r.text(0)
		found = ref.ConversationID == "" || ref.ConversationID == conversation
		event, failure = s.eventOf(c, conversation, r[1:])
	}, ref.ID)
	return event, found, firstOf(err, failure)
}

// MessageStates returns the states of messages that something has changed. The messages
// of a conversation take one query together: most have no state, and a query costs
// several times what another row does.
func (s *Store) MessageStates(ctx context.Context, refs []im.MessageRef) (states []im.MessageState, err error) {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b im.MessageRef) int {
		return cmp.Or(strings.Compare(a.ConversationID, b.ConversationID), cmp.Compare(a.ID, b.ID))
	})
	refs = slices.Compact(refs)
	err = s.read(ctx, "read message states", func(c *conn) error {
		for rest := refs; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].ConversationID == rest[0].ConversationID {
				n++
			}
			if states, err = s.appendMessageStates(states, c, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	return states, err
}

// appendMessageStates reads states of one conversation, ascending. What lies between
// those that are asked for is passed over; where there is much of it, in several queries,
// each of which begins at one of them.
func (s *Store) appendMessageStates(states []im.MessageState, c *conn, refs []im.MessageRef) ([]im.MessageState, error) {
	conversation, err := s.conversations.key(c, refs[0].ConversationID)
	if err != nil || conversation == 0 {
		return states, err
	}
	for limit := 2*len(refs) + 8; len(refs) > 0; {
		read, last, senders := 0, int64(0), []int64(nil)
		first := len(states)
		err := c.each(selectMessageStates, func(r row) bool {
			read, last = read+1, r.int(0)
			for refs[0].ID < last {
				refs = refs[1:]
			}
			if refs[0].ID == last {
				states, senders = append(states, stateOf(refs[0], r)), append(senders, r.int(2))
			}
			return true
		}, conversation, refs[0].ID, refs[len(refs)-1].ID, int64(limit))
		if err != nil {
			return states, err
		}
		for i, sender := range senders {
			if states[first+i].SenderID, err = s.users.id(c, sender); err != nil {
				return states, err
			}
		}
		if read < limit {
			break
		}
		for len(refs) > 0 && refs[0].ID <= last {
			refs = refs[1:]
		}
	}
	return states, nil
}

func stateOf(ref im.MessageRef, r row) im.MessageState {
	return im.MessageState{
		ConversationID: ref.ConversationID, MessageID: ref.ID, MessageSeq: r.int(1), Seq: r.int(3), Version: int32(r.int(4)), //nolint:gosec // as it was put in
		EditedAtMs: r.int(5), Recalled: r.int(6) != 0, Uncounted: r.int(7) != 0, ExpiresAtMs: r.int(8), Body: r.blob(9), Reactions: r.blob(10),
	}
}

// ProjectMessages writes states of messages, each only where it is newer than what is
// stored.
func (s *Store) ProjectMessages(ctx context.Context, states []im.MessageState) error {
	return s.write(ctx, "project messages", func(t *tx) error {
		for i := range states {
			if err := t.projectMessage(&states[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) projectMessage(m *im.MessageState) error {
	conversation, err := t.conversationKey(m.ConversationID)
	if err != nil {
		return err
	}
	sender, err := t.userKey(m.SenderID)
	if err != nil {
		return err
	}
	return t.exec(projectMessage, conversation, m.MessageID, m.MessageSeq, sender, m.Seq, int64(m.Version), m.EditedAtMs,
		m.Recalled, m.Uncounted, m.ExpiresAtMs, m.Body, m.Reactions)
}
