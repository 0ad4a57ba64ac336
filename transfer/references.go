package transfer

import (
	"slices"

	"github.com/im-transfer/im"
)

// alter judges a change of a message by what the changes before it, those in this batch
// too, have made of it.
func (s *sequencer) alter(p *pending, nowMs int64) error {
	by, err := p.conversation.alterer(p, nowMs)
	if err != nil {
		return err
	}
	t := p.target
	if !p.shown(t) {
		return errNoMessage
	}
	state, changed := s.views[t]
	if !changed {
		state = t.state
	}
	a := alteration{command: p.command, by: by, message: &t.message, state: state, within: s.server.policy.Load().RecallWithin}
	if p.body, err = a.judge(); err != nil {
		return err
	}
	if im.Kind(p.command.Kind) == im.KindEdit {
		if p.command.ThreadId != t.message.ThreadID {
			return im.Errorf(im.Invalid, "an edited message stays in its thread")
		}
		if err := s.refers(p); err != nil {
			return err
		}
	}
	if state, err = altered(&t.message, state, &im.Event{Kind: im.Kind(p.command.Kind), Body: p.body}); err != nil {
		return err
	}
	if s.views == nil {
		s.views = map[*target]im.MessageState{}
	}
	s.views[t] = state
	return nil
}

// alterer judges whether somebody may change messages of a conversation at all. To take
// something back is allowed also to who may not say anything.
func (c *conversation) alterer(p *pending, nowMs int64) (by im.Member, err error) {
	recalls := im.Kind(p.command.Kind) == im.KindRecall
	if c.room != nil {
		by = im.Member{UserID: p.command.UserId}
		if c.room.OwnerId != "" && c.room.OwnerId == p.command.UserId {
			by.Role = string(im.RoleOwner)
		}
		if recalls {
			return by, c.openTo(p.command.UserId, nowMs)
		}
		return by, c.speaks(p.command.UserId, true, nowMs)
	}
	by, ok := c.member(p.command.UserId)
	switch {
	case !c.Exists || !ok:
		return by, errNoMessage
	case recalls:
		return by, nil
	}
	return by, c.authorise(p.command, nowMs)
}

// refers judges the messages that a content names, and whom it mentions.
func (s *sequencer) refers(p *pending) error {
	c := p.command
	if len(c.Mentions) > 0 {
		if err := p.mentions(); err != nil {
			return err
		}
	}
	if c.ReplyTo|c.ThreadId|c.ForwardedFrom == 0 {
		return nil
	}
	if c.ReplyTo != 0 && !p.shown(s.targets[refOf(c, 1)]) {
		return im.Errorf(im.NotFound, "reply_to is no message of the conversation")
	}
	if c.ThreadId != 0 {
		switch root := s.targets[refOf(c, 2)]; {
		case !p.shown(root):
			return im.Errorf(im.NotFound, "thread_id is no message of the conversation")
		case root.message.ThreadID != 0:
			return im.Errorf(im.Invalid, "thread_id names a message that is in a thread itself")
		}
	}
	if c.ForwardedFrom != 0 && !p.seesElsewhere(s.targets[refOf(c, forwarded)]) {
		return im.Errorf(im.NotFound, "forwarded_from is no message that you see")
	}
	return nil
}

// seesElsewhere reports whether the sender sees a message of any conversation.
func (p *pending) seesElsewhere(t *target) bool {
	if t == nil || t.message.Kind != im.KindMessage || t.message.Expired(p.command.AcceptedAtMs) {
		return false
	}
	return p.shown(t) || t.public || t.seenBy[p.command.UserId]
}

// mentions judges whom a message in a group mentions: its members; all of them only who
// stands above them. Elsewhere those who are no members are mentioned to nobody.
func (p *pending) mentions() error {
	if p.conversation.Type != im.Group {
		p.command.Mentions = slices.DeleteFunc(p.command.Mentions, func(id string) bool {
			_, ok := p.conversation.member(id)
			return !ok
		})
		return nil
	}
	for _, id := range p.command.Mentions {
		if id == im.MentionAll {
			if m, _ := p.conversation.member(p.command.UserId); rank(m) == 0 {
				return im.Errorf(im.Forbidden, "all are mentioned by the owner and the admins")
			}
			continue
		}
		if _, ok := p.conversation.member(id); !ok {
			return im.Errorf(im.Invalid, "mentions are members of the group")
		}
	}
	return nil
}
