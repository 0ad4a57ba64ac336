package transfer

import (
	"context"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxConversations bounds the conversations that one partition remembers.
const maxConversations = 8192

// conversation is what the owner of its partition knows of a conversation: the
// store's state at loading, and everything that it has done since.
type conversation struct {
	im.ConversationState
	kind    string // conversation type as a string
	planned int64  // newest seq that the plan in hand gives
}

// member returns a user's open stay.
func (c *conversation) member(userID string) (im.Member, bool) {
	for _, m := range c.Members {
		if m.UserID == userID {
			return m, true
		}
	}
	return im.Member{}, false
}

// authorise judges whether a user may do what a command asks, as things stand now.
func (c *conversation) authorise(cmd *imv1.Command, nowMs int64) error {
	m, ok := c.member(cmd.UserId)
	switch {
	case !c.Exists || !ok:
		return im.Errorf(im.NotFound, "no such conversation")
	case m.Blocked:
		return im.Errorf(im.Forbidden, "the message is refused")
	case m.MutedUntilMs > nowMs:
		return im.Errorf(im.Forbidden, "muted")
	}
	return nil
}

// loadConversations fetches the conversations of commands that are not in memory,
// and makes the rows of direct conversations that have none yet but whose users
// exist.
func (s *sequencer) loadConversations(ctx context.Context, commands []*pending) error {
	var missing []string
	asked := map[string]*imv1.Command{}
	for _, p := range commands {
		id := p.command.ConversationId
		if s.conversations[id] != nil {
			continue
		}
		if first := asked[id]; first == nil {
			missing = append(missing, id)
			asked[id] = p.command
		} else if first.PeerId == "" {
			asked[id] = p.command // one that names the peer can make the conversation
		}
	}
	if len(missing) == 0 {
		return nil
	}
	states, err := s.store.Conversations(ctx, missing)
	if err != nil {
		return fmt.Errorf("load conversations: %w", err)
	}
	var fresh []*conversation
	for i := range states {
		c := &conversation{ConversationState: states[i], kind: string(states[i].Type)}
		switch {
		case c.Exists:
			s.conversations[c.ID] = c
		case asked[c.ID].PeerId != "":
			fresh = append(fresh, c)
		} // what is not there is not remembered: it may be made later
	}
	return s.createDirect(ctx, fresh, asked)
}

// createDirect inserts the rows of direct conversations before their first
// message. It is idempotent: two owners write the same rows.
func (s *sequencer) createDirect(ctx context.Context, fresh []*conversation, asked map[string]*imv1.Command) error {
	if len(fresh) == 0 {
		return nil
	}
	var userIDs []string
	for _, c := range fresh {
		userIDs = append(userIDs, asked[c.ID].UserId, asked[c.ID].PeerId)
	}
	users, err := s.store.UsersByID(ctx, userIDs)
	if err != nil {
		return fmt.Errorf("load users: %w", err)
	}
	exists := map[string]bool{}
	for _, user := range users {
		exists[user.ID] = !user.Disabled
	}
	var rows []im.Conversation
	var members []im.Member
	var made []*conversation
	for _, c := range fresh {
		a, b := asked[c.ID].UserId, asked[c.ID].PeerId
		if !exists[a] || !exists[b] {
			continue
		}
		c.Conversation = im.Conversation{
			ID: c.ID, Type: im.Direct, Key: directKey(a, b), CreatedAt: s.server.now().UnixMilli(),
		}
		c.kind, c.Members = string(im.Direct), directMembers(c.ID, a, b)
		rows, members = append(rows, c.Conversation), append(members, c.Members...)
		made = append(made, c)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := s.store.Project(ctx, rows, members); err != nil {
		return fmt.Errorf("create direct conversations: %w", err)
	}
	for _, c := range made {
		c.Exists = true
		s.conversations[c.ID] = c
	}
	return nil
}

// forgetConversations drops about half of what is remembered when that is too
// much, between two batches.
func (s *sequencer) forgetConversations() {
	if len(s.conversations) <= maxConversations {
		return
	}
	for id := range s.conversations {
		if delete(s.conversations, id); len(s.conversations) <= maxConversations/2 {
			return
		}
	}
}

func directKey(a, b string) string {
	if a > b {
		a, b = b, a
	}
	return a + "\x00" + b
}

// directPeer returns the other user of a direct conversation by its key; oneself
// in a self-chat.
func directPeer(key, userID string) string {
	a, b, _ := strings.Cut(key, "\x00")
	if a == userID {
		return b
	}
	return a
}

func directMembers(conversationID, a, b string) []im.Member {
	stay := im.Member{ConversationID: conversationID, UserID: a, JoinedSeq: 1, LeftSeq: im.Forever}
	if a == b {
		return []im.Member{stay}
	}
	other := stay
	other.UserID = b
	return []im.Member{stay, other}
}
