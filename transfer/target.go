package transfer

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// target is a message that commands of the batch in hand want to change, or name.
type target struct {
	message im.Event // without an id: there is none
	changes bool     // it is to be changed: its state is loaded
	state   im.MessageState
	dirty   bool            // the state has risen above what is stored
	seenBy  map[string]bool // who was there; nil: nobody has asked
	public  bool            // whoever is asked about may see it
}

// sees reports whether a member of the conversation, as it is now, may see a message of
// it. Who came later sees it where the group shows what was before, or if they were there
// at the time, have left, and come back.
func (c *conversation) sees(m im.Member, t *target) bool {
	return m.JoinedSeq <= t.message.Seq || c.room != nil || c.settings.GetHistory() == im.HistoryAll || t.seenBy[m.UserID]
}

// allSee reports whether every member sees a message without anybody being asked.
func (c *conversation) allSee(t *target) bool {
	if c.room != nil || c.settings.GetHistory() == im.HistoryAll {
		return true
	}
	for i := range c.Members {
		if c.Members[i].JoinedSeq > t.message.Seq {
			return false
		}
	}
	return true
}

// shown reports whether a target is a message of a conversation that a user sees now.
func (p *pending) shown(t *target) bool {
	if t == nil || t.message.Kind != im.KindMessage || t.message.ConversationID != p.conversation.ID {
		return false
	}
	m, ok := p.conversation.member(p.command.UserId)
	return (ok || p.conversation.room != nil) && !t.message.Expired(p.command.AcceptedAtMs) && p.conversation.sees(m, t)
}

// refersTo are the messages that a command changes or names; 0 where it does not.
func refersTo(c *imv1.Command) [4]int64 {
	return [4]int64{c.TargetId, c.ReplyTo, c.ThreadId, c.ForwardedFrom}
}

// forwarded is the place in refersTo of what may be a message of any conversation.
const forwarded = 3

// refOf is the nth of those messages, as it is meant: one of the command's conversation,
// whatever others in the batch mean by its id, or one of any.
func refOf(c *imv1.Command, n int) im.MessageRef {
	ref := im.MessageRef{ConversationID: c.ConversationId, ID: refersTo(c)[n]}
	if n == forwarded {
		ref.ConversationID = ""
	}
	return ref
}

// loadTargets looks up the messages that a batch changes or names, all at once. Most
// batches name none.
func (s *sequencer) loadTargets(ctx context.Context, batch []*pending) error {
	var refs []im.MessageRef
	for _, p := range batch {
		c := p.command
		if c.TargetId|c.ReplyTo|c.ThreadId|c.ForwardedFrom == 0 || p.conversation == nil {
			continue
		}
		for i, id := range refersTo(c) {
			if id == 0 {
				continue
			}
			ref := refOf(c, i)
			t := s.targets[ref]
			if t == nil {
				t = &target{}
				refs = append(refs, ref)
				s.setTarget(ref, t)
			}
			if i == 0 {
				p.target, t.changes = t, true
			}
		}
	}
	if len(refs) > 0 {
		if err := s.findTargets(ctx, refs); err != nil {
			clear(s.targets) // all of it again
			return err
		}
	}
	return s.loadWitnesses(ctx, batch)
}

func (s *sequencer) setTarget(ref im.MessageRef, t *target) {
	if s.targets == nil {
		s.targets = map[im.MessageRef]*target{}
	}
	s.targets[ref] = t
}

func (s *sequencer) findTargets(ctx context.Context, refs []im.MessageRef) error {
	events, err := s.store.EventsByID(ctx, refs)
	if err != nil {
		return fmt.Errorf("look up messages: %w", err)
	}
	var changing []im.MessageRef
	for _, e := range events {
		for _, ref := range []im.MessageRef{e.Ref(), {ID: e.ID}} {
			t := s.targets[ref]
			if t == nil || t.message.ID != 0 {
				continue
			}
			t.message, t.state = e, im.StateOf(&e)
			if t.changes {
				changing = append(changing, ref)
			}
		}
	}
	if len(changing) == 0 {
		return nil
	}
	states, err := s.store.MessageStates(ctx, changing)
	if err != nil {
		return fmt.Errorf("load message states: %w", err)
	}
	for _, state := range states {
		s.targets[im.MessageRef{ConversationID: state.ConversationID, ID: state.MessageID}].state = state
	}
	return nil
}

// loadWitnesses finds out who was there at messages that not everybody has seen, and at
// those of other conversations.
func (s *sequencer) loadWitnesses(ctx context.Context, batch []*pending) error {
	if len(s.targets) == 0 {
		return nil
	}
	for _, p := range batch {
		if p.conversation == nil || p.settled() && !p.alters() {
			continue
		}
		for i := range refersTo(p.command) {
			t := s.targets[refOf(p.command, i)]
			if t == nil || t.message.ID == 0 || t.seenBy != nil {
				continue
			}
			elsewhere := t.message.ConversationID != p.command.ConversationId
			if !elsewhere && p.conversation.allSee(t) {
				continue
			}
			if err := s.askWitnesses(ctx, t, i == forwarded); err != nil {
				return err
			}
		}
	}
	return nil
}

// askWitnesses asks who was there at a message. What was said in rooms anybody can have
// heard; of another conversation, that shows what was before, all members can.
func (s *sequencer) askWitnesses(ctx context.Context, t *target, elsewhere bool) error {
	at := im.EventRef{ConversationID: t.message.ConversationID, Seq: t.message.Seq}
	t.public = im.IsRoom(at.ConversationID)
	stays, err := s.store.StaysAt(ctx, at)
	if err != nil {
		return fmt.Errorf("load the members at a message: %w", err)
	}
	seenBy := make(map[string]bool, len(stays))
	for _, m := range stays {
		seenBy[m.UserID] = true
	}
	if kind, _ := im.ConversationTypeOf(at.ConversationID); elsewhere && kind == im.Group {
		states, err := s.store.Conversations(ctx, []string{at.ConversationID})
		if err != nil {
			return fmt.Errorf("load the conversation of a message: %w", err)
		}
		var settings imv1.GroupSettings
		if err := settings.UnmarshalVT(states[0].Settings); err != nil {
			return fmt.Errorf("decode the settings of %s: %w", at.ConversationID, err)
		}
		if settings.History == im.HistoryAll {
			for _, m := range states[0].Members {
				seenBy[m.UserID] = true
			}
		}
	}
	t.seenBy = seenBy
	return nil
}
