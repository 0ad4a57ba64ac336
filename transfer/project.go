package transfer

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// isChange reports whether a command changes who is in its conversation, or how that
// is set: what follows it there is judged once it has taken place. So a plan holds at
// most one change of a conversation, as its last.
func (p *pending) isChange() bool {
	return p.command.Kind == string(im.KindMembership) || isBlock(p.command.Kind)
}

// resolve judges a change and keeps the membership that it becomes.
func (p *pending) resolve(nowMs int64) error {
	if isBlock(p.command.Kind) {
		p.body = p.command.Body
		return p.conversation.judgeBlock(p.command)
	}
	membership, err := p.conversation.resolve(p.command, p.exists, nowMs)
	if err != nil {
		return err
	}
	if p.body, err = membership.MarshalVT(); err != nil {
		return fmt.Errorf("encode a membership: %w", err)
	}
	return nil
}

// workOutEffect finds out what a planned change will do, from the seq that it has now.
func (p *pending) workOutEffect() (err error) {
	if p.isChange() {
		p.effect, err = p.conversation.effectOf(p.event)
	}
	return err
}

// loadUsers finds out which users that a batch wants to bring into groups there are.
func (s *sequencer) loadUsers(ctx context.Context, batch []*pending) error {
	var ids []string
	var asking []*pending
	for _, p := range batch {
		if !p.isChange() || isBlock(p.command.Kind) || p.settled() || p.exists != nil {
			continue
		}
		wanted := &imv1.Membership{}
		if err := wanted.UnmarshalVT(p.command.Body); err != nil {
			continue // it is refused where it is judged
		}
		asks := p.command.RoomId != "" // which restricts any user, and has no members
		switch im.Action(wanted.Action) {
		case im.ActionCreated, im.ActionJoined, im.ActionAccepted:
			asks = p.command.RoomId == ""
		}
		if asks && len(wanted.UserIds)+len(p.command.UserId) > 0 {
			ids, asking = append(append(ids, wanted.UserIds...), p.command.UserId), append(asking, p)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	users, err := s.store.UsersByID(ctx, ids)
	if err != nil {
		return fmt.Errorf("load users: %w", err)
	}
	exists := make(map[string]bool, len(users))
	for _, user := range users {
		exists[user.ID] = !user.Disabled
	}
	for _, p := range asking {
		p.exists = exists
	}
	return nil
}

// project writes what the batch's changes have made of their conversations. It comes
// before their fan-out, and before what is judged by them.
func (s *sequencer) project(ctx context.Context, batch []*pending) error {
	var effects []*effect
	for _, p := range batch {
		if p.stored && p.effect != nil && !p.effect.projected {
			effects = append(effects, p.effect)
		}
	}
	if err := s.projectTargets(ctx); err != nil {
		return err
	}
	if err := s.projectEffects(ctx, effects); err != nil {
		return err
	}
	s.letHintsPass()
	return nil
}

func (s *sequencer) projectEffects(ctx context.Context, effects []*effect) error {
	if len(effects) == 0 {
		return nil
	}
	var conversations []im.Conversation
	var members []im.Member
	for _, made := range effects {
		conversations = append(conversations, made.conversation)
		members = append(members, made.members...)
	}
	if err := s.store.Project(ctx, conversations, members); err != nil {
		return fmt.Errorf("project changes: %w", err)
	}
	im.CrashPoint(im.CrashProjected)
	for _, made := range effects {
		made.projected = true
	}
	return nil
}

// forgetLeft drops the stays that a batch has ended, once it is delivered.
func forgetLeft(batch []*pending) {
	for _, p := range batch {
		if p.effect != nil && p.stored {
			p.conversation.forgetLeft()
		}
	}
}

// doneAlready answers a change that was in force: as a send, without a message_id.
func doneAlready(p *pending) *imv1.Reply {
	return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{
		ClientMsgId: p.command.ClientId, ConversationId: p.command.ConversationId, ConversationSeq: p.conversation.Head,
	}}}
}
