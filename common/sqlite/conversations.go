package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	selectConversation = `SELECT type, key, applied_seq, last_seq, last_at_ms, created_ms, settings
		FROM conversations WHERE conversation = ?`
	selectHead    = "SELECT max(seq) FROM messages WHERE conversation = ?"
	memberColumns = "joined_seq, left_seq, role, muted_until_ms, blocked, seq"
	selectPresent = "SELECT user, " + memberColumns + " FROM members WHERE conversation = ? AND left_seq = ?"
	selectStaysAt = "SELECT user, " + memberColumns + " FROM members WHERE conversation = ? AND joined_seq <= ? AND left_seq >= ?"
	selectChanges = "SELECT " + eventColumns + ` FROM messages e
		WHERE e.conversation = ? AND e.seq > ? AND e.kind <> 1 ORDER BY e.seq`
	selectStays = "SELECT user, " + memberColumns + ` FROM members
		WHERE conversation = ? AND user = ? ORDER BY joined_seq`

	// Settings are those of the highest applied_seq; type, key and creation are
	// the first writer's.
	projectConversation = `INSERT INTO conversations (conversation, type, key, applied_seq, last_seq, last_at_ms, created_ms, settings)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation) DO UPDATE SET
			settings = iif(excluded.applied_seq > applied_seq, coalesce(excluded.settings, settings), settings),
			applied_seq = max(applied_seq, excluded.applied_seq),
			last_seq = max(last_seq, excluded.last_seq),
			last_at_ms = max(last_at_ms, excluded.last_at_ms)
		WHERE excluded.applied_seq > applied_seq OR excluded.last_seq > last_seq OR excluded.last_at_ms > last_at_ms`
	projectMember = `INSERT INTO members (conversation, user, joined_seq, left_seq, role, muted_until_ms, blocked, seq)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation, user, joined_seq) DO UPDATE SET
			left_seq = excluded.left_seq, role = excluded.role, muted_until_ms = excluded.muted_until_ms,
			blocked = excluded.blocked, seq = excluded.seq
		WHERE excluded.seq > seq`
)

// Conversations returns the states of conversations, one for each id, in the
// order asked.
func (s *Store) Conversations(ctx context.Context, ids []string) ([]im.ConversationState, error) {
	states := make([]im.ConversationState, len(ids))
	err := s.snapshot(ctx, "read conversations", func(c *conn) error {
		for i, id := range ids {
			if err := s.loadState(c, id, &states[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return states, err
}

func (s *Store) loadState(c *conn, id string, state *im.ConversationState) error {
	state.ID = id
	key, err := s.conversations.key(c, id)
	if err != nil || key == 0 {
		return err
	}
	state.Exists, err = loadConversation(c, key, &state.Conversation)
	if kind, _ := im.ConversationTypeOf(id); err != nil || !state.Exists && kind == im.Direct {
		return err
	}
	if _, err := c.one(selectHead, func(r row) { state.Head = r.int(0) }, key); err != nil {
		return err
	}
	if state.Head > state.AppliedSeq {
		if state.Changes, err = s.appendEvents(nil, c, id, selectChanges, key, state.AppliedSeq); err != nil {
			return err
		}
	}
	state.Members, err = s.members(c, id, selectPresent, key, int64(im.Forever))
	return err
}

// StaysAt returns the stays that hold an event, ended ones included.
func (s *Store) StaysAt(ctx context.Context, ref im.EventRef) (stays []im.Member, err error) {
	err = s.read(ctx, "read stays at an event", func(c *conn) error {
		key, err := s.conversations.key(c, ref.ConversationID)
		if err != nil {
			return err
		}
		stays, err = s.members(c, ref.ConversationID, selectStaysAt, key, ref.Seq, ref.Seq)
		return err
	})
	return stays, err
}

// loadConversation fills in everything but the id.
func loadConversation(c *conn, key int64, conversation *im.Conversation) (bool, error) {
	return c.one(selectConversation, func(r row) {
		*conversation = im.Conversation{
			ID: conversation.ID, Type: im.ConversationType(r.text(0)), Key: r.text(1), AppliedSeq: r.int(2),
			LastSeq: r.int(3), LastAtMs: r.int(4), CreatedAt: r.int(5), Settings: r.blob(6),
		}
	}, key)
}

// members returns the stays that a query of user and memberColumns finds.
func (s *Store) members(c *conn, conversationID, query string, args ...any) (members []im.Member, err error) {
	var failure error
	err = c.each(query, func(r row) bool {
		var user string
		user, failure = s.users.id(c, r.int(0))
		members = append(members, im.Member{
			ConversationID: conversationID, UserID: user, JoinedSeq: r.int(1), LeftSeq: r.int(2),
			Role: r.text(3), MutedUntilMs: r.int(4), Blocked: r.int(5) != 0, Seq: r.int(6),
		})
		return failure == nil
	}, args...)
	return members, firstOf(err, failure)
}

// Project writes projections, each row only where it is newer than what is
// stored.
func (s *Store) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	return s.write(ctx, "project", func(t *tx) error {
		for i := range conversations {
			if err := t.projectConversation(&conversations[i]); err != nil {
				return err
			}
		}
		for i := range members {
			if err := t.projectMember(&members[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) projectConversation(v *im.Conversation) error {
	key, err := t.conversationKey(v.ID)
	if err != nil {
		return err
	}
	return t.exec(projectConversation, key, string(v.Type), v.Key, v.AppliedSeq, v.LastSeq, v.LastAtMs, v.CreatedAt, v.Settings)
}

func (t *tx) projectMember(m *im.Member) error {
	conversation, err := t.conversationKey(m.ConversationID)
	if err != nil {
		return err
	}
	user, err := t.userKey(m.UserID)
	if err != nil {
		return err
	}
	return t.exec(projectMember, conversation, user, m.JoinedSeq, m.LeftSeq, m.Role, m.MutedUntilMs, m.Blocked, m.Seq)
}
