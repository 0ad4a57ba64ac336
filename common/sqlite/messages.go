package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	selectMessageState = `SELECT message_seq, sender, seq, version, edited_ms, recalled, uncounted, expires_at_ms, body, reactions
		FROM message_states WHERE conversation = ? AND message = ?`
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

// MessageStates returns the states of messages that something has changed.
func (s *Store) MessageStates(ctx context.Context, refs []im.MessageRef) (states []im.MessageState, err error) {
	err = s.read(ctx, "read message states", func(c *conn) error {
		for _, ref := range refs {
			if states, err = s.appendMessageState(states, c, ref); err != nil {
				return err
			}
		}
		return nil
	})
	return states, err
}

func (s *Store) appendMessageState(states []im.MessageState, c *conn, ref im.MessageRef) ([]im.MessageState, error) {
	conversation, err := s.conversations.key(c, ref.ConversationID)
	if err != nil || conversation == 0 {
		return states, err
	}
	state := im.MessageState{ConversationID: ref.ConversationID, MessageID: ref.ID}
	sender := int64(0)
	found, err := c.one(selectMessageState, func(r row) {
		state.MessageSeq, sender, state.Seq, state.Version = r.int(0), r.int(1), r.int(2), int32(r.int(3)) //nolint:gosec // as it was put in
		state.EditedAtMs, state.Recalled, state.Uncounted = r.int(4), r.int(5) != 0, r.int(6) != 0
		state.ExpiresAtMs, state.Body, state.Reactions = r.int(7), r.blob(8), r.blob(9)
	}, conversation, ref.ID)
	if err != nil || !found {
		return states, err
	}
	state.SenderID, err = s.users.id(c, sender)
	return append(states, state), err
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
