package transfer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxConversations and maxMembers bound the conversations that one partition
// remembers.
const (
	maxConversations = 8192
	maxMembers       = 65536 // of all of them
)

// conversation is what the owner of its partition knows of a conversation: the
// store's state at loading, and everything that it has done since.
type conversation struct {
	im.ConversationState
	kind     string // conversation type as a string
	settings *imv1.GroupSettings
	room     *imv1.RoomSettings // of a room, also one that does not exist; nil: it is none

	unprojected bool  // something of this batch has changed a message, and is not projected yet
	newestAtMs  int64 // then: of the newest event

	planned int64   // newest seq that the plan in hand gives
	changed int64   // seq of the newest change since loading
	routes  []route // of events above changed; nil: to be worked out
}

// member returns a user's open stay.
func (c *conversation) member(userID string) (im.Member, bool) {
	for _, m := range c.Members {
		if m.UserID == userID && m.LeftSeq == im.Forever {
			return m, true
		}
	}
	return im.Member{}, false
}

// authorise judges whether a user may do what a command asks, as things stand now.
func (c *conversation) authorise(cmd *imv1.Command, nowMs int64) error {
	if c.room != nil && cmd.ByService {
		return c.openTo("", nowMs)
	}
	if c.room != nil {
		return c.speaks(cmd.UserId, cmd.Joined, nowMs)
	}
	m, ok := c.member(cmd.UserId)
	switch {
	case !c.Exists || !ok:
		return errNoConversation
	case m.Blocked:
		return im.Errorf(im.Forbidden, "the message is refused")
	case m.MutedUntilMs > nowMs, c.settings.GetMuteAll() && rank(m) == 0:
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
		} else if first.PeerId == "" && !makes(first) {
			asked[id] = p.command // one that names the peer, or changes the group or room, can make the conversation
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
		if err := s.catchUp(ctx, c); err != nil {
			return err
		}
		switch {
		case c.Exists, makes(asked[c.ID]):
			s.remember(c)
			if c.room != nil {
				s.rooms.seen(c.ID, c.Head)
			}
		case asked[c.ID].PeerId != "":
			fresh = append(fresh, c)
		} // what is not there is not remembered: it may be made later
	}
	return s.createDirect(ctx, fresh, asked)
}

// makes reports whether a command may make its group or room, or else change it.
func makes(c *imv1.Command) bool { return c.GroupId != "" || c.RoomId != "" }

// catchUp brings the state of a conversation, as it was projected last, up to its
// events: who stored the last ones may have died before it projected them.
func (s *sequencer) catchUp(ctx context.Context, c *conversation) error {
	if err := s.catchUpMessages(ctx, c); err != nil {
		return err
	}
	var effects []*effect
	switch kind, _ := im.ConversationTypeOf(c.ID); kind {
	case im.Room:
		room, made, err := roomOf(&c.ConversationState)
		if err != nil {
			return err
		}
		*c, effects = *room, made
	case im.Group:
		c.settings = &imv1.GroupSettings{}
		if err := c.settings.UnmarshalVT(c.Settings); err != nil {
			return fmt.Errorf("decode the settings of %s: %w", c.ID, err)
		}
		var err error
		if effects, err = c.applyChanges(); err != nil {
			return err
		}
	default:
		var err error
		if effects, err = c.applyChanges(); err != nil {
			return err
		}
	}
	return s.projectEffects(ctx, effects)
}

// applyChanges lets the changes that were loaded take place.
func (c *conversation) applyChanges() (effects []*effect, err error) {
	for i := range c.Changes {
		if slices.Contains(alterations, c.Changes[i].Kind) {
			continue // of messages: catchUpMessages
		}
		made, err := c.effectOf(&c.Changes[i])
		if err != nil {
			return nil, err
		}
		c.adopt(made)
		effects = append(effects, made)
	}
	c.Changes = nil
	return effects, nil
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
	im.CrashPoint(im.CrashConversationMade)
	for _, c := range made {
		c.Exists = true
		s.remember(c)
	}
	return nil
}

func (s *sequencer) remember(c *conversation) {
	s.conversations[c.ID] = c
	s.members += len(c.Members)
}

// forgetConversations drops about half of what is remembered when that is too
// much, between two batches.
func (s *sequencer) forgetConversations() {
	if len(s.conversations) <= maxConversations && s.members <= maxMembers {
		return
	}
	s.members = 0
	kept := 0
	for id, c := range s.conversations {
		if s.members+len(c.Members) > maxMembers/2 || kept >= maxConversations/2 {
			delete(s.conversations, id)
			continue
		}
		s.members += len(c.Members)
		kept++
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
