package transfer

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// passed is how far a partition has seen each conversation's events, so that one that
// a queue has passed by is noticed. What is behind an event in the store and not in
// the partition is put before it; when the queue brings it after all, it is a repeat.
// It forgets the conversations that are quiet. The goroutine that receives owns it.
type passed struct {
	recent, older map[string]int64 // newest seq, by conversation
}

const (
	maxPassed = 4096 // conversations of each of the two maps
	// maxHole bounds the events between two that a queue can have passed by, which it
	// held for one consumer at a time. A greater distance is that of a conversation
	// whose old event came again after it was forgotten.
	maxHole = 1024
)

func newPassed() *passed { return &passed{recent: map[string]int64{}} }

func (p *passed) seq(conversationID string) (seq int64, known bool) {
	if seq, known = p.recent[conversationID]; !known {
		seq, known = p.older[conversationID]
	}
	return seq, known
}

func (p *passed) note(conversationID string, seq int64) {
	if _, known := p.recent[conversationID]; !known && len(p.recent) == maxPassed {
		p.older, p.recent = p.recent, make(map[string]int64, maxPassed)
	}
	p.recent[conversationID] = seq
}

// meet takes what a batch shows of conversations that were not known: a new owner
// begins with the least that it gets of each.
func (p *passed) meet(envelopes []*imv1.InboxEnvelope) {
	least := map[string]int64{}
	for _, envelope := range envelopes {
		e := envelope.GetEvent()
		if e == nil {
			continue
		}
		if _, known := p.seq(e.ConversationId); known {
			continue
		}
		if seq, met := least[e.ConversationId]; !met || e.Seq < seq {
			least[e.ConversationId] = e.Seq
		}
	}
	for id, seq := range least {
		p.note(id, seq-1)
	}
}

// heal puts before each event of a batch those of its conversation that should have
// come before it and have not. Where there is an outbox the queue is in the process
// and passes nothing by.
func (b *inbox) heal(ctx context.Context, envelopes []*imv1.InboxEnvelope) ([]*imv1.InboxEnvelope, error) {
	if b.outbox {
		return envelopes, nil
	}
	b.passed.meet(envelopes)
	whole := make([]*imv1.InboxEnvelope, 0, len(envelopes))
	for _, envelope := range envelopes {
		if e := envelope.GetEvent(); e != nil {
			after, known := b.passed.seq(e.ConversationId)
			if hole := e.Seq - after - 1; known && 0 < hole && hole <= maxHole {
				missing, err := b.missing(ctx, e.ConversationId, after, e.Seq)
				if err != nil {
					return nil, err
				}
				whole = append(whole, missing...)
			}
			b.passed.note(e.ConversationId, max(after, e.Seq))
		}
		whole = append(whole, envelope)
	}
	return whole, nil
}

// missing returns envelopes of a conversation's events between two seqs, for those in
// this partition whom they concern: where nobody is, there was nothing to come. What a
// try has found stays found, so that a long hole is closed by several, if need be.
func (b *inbox) missing(ctx context.Context, conversationID string, after, before int64) (envelopes []*imv1.InboxEnvelope, err error) {
	var found *hole
	err = b.server.retry(ctx, b.log, func(ctx context.Context) error {
		if found == nil {
			states, err := b.store.Conversations(ctx, []string{conversationID})
			if err != nil {
				return fmt.Errorf("load a conversation with a hole: %w", err)
			}
			events, err := b.store.EventsAfter(ctx, conversationID, after, int(before-after-1))
			if err != nil {
				return fmt.Errorf("read what a hole hides: %w", err)
			}
			found = &hole{conversation: &conversation{ConversationState: states[0], kind: string(states[0].Type)}, events: events}
			if states[0].Type == im.Group {
				found.conversation.settings = &imv1.GroupSettings{}
				if err := found.conversation.settings.UnmarshalVT(states[0].Settings); err != nil {
					return fmt.Errorf("decode the settings of %s: %w", conversationID, err)
				}
			}
		}
		return b.address(ctx, found)
	})
	if err != nil {
		return nil, err
	}
	if len(found.envelopes) > 0 {
		b.log.Warn("the queue has passed events by; they were taken from the store",
			"conversation", conversationID, "after", after, "before", before, "events", len(found.envelopes))
	}
	return found.envelopes, nil
}

// hole is the events of a conversation that are missing, and what they have become.
type hole struct {
	conversation *conversation
	events       []im.Event // not addressed yet
	envelopes    []*imv1.InboxEnvelope
	last         *im.Event   // addressed last
	stays        []im.Member // of a group, that hold it
}

// address makes the envelopes of events for their recipients in this partition. What
// may have been swept from their inboxes stays out.
func (b *inbox) address(ctx context.Context, h *hole) error {
	for ; len(h.events) > 0; h.events = h.events[1:] {
		e := &h.events[0]
		if !b.server.young(e) {
			continue
		}
		p := &pending{conversation: h.conversation, event: e}
		if h.conversation.Type == im.Group { // whose members then need not be its members now
			if err := b.staysAt(ctx, h, e); err != nil {
				return err
			}
			p.stays = h.stays
		}
		if err := b.findTarget(ctx, p); err != nil {
			return err
		}
		routes, err := p.routes(b.server.config.InboxPartitions)
		if err != nil {
			return err
		}
		for _, to := range routes {
			if to.partition == b.partition {
				what := &imv1.InboxEnvelope_Event{Event: envelopeEvent(e, h.conversation.kind)}
				h.envelopes = append(h.envelopes, &imv1.InboxEnvelope{What: what, UserIds: to.userIDs})
			}
		}
	}
	return nil
}

// findTarget looks up the message that an event changes: it concerns those who see that.
func (b *inbox) findTarget(ctx context.Context, p *pending) error {
	if p.event.TargetID == 0 {
		return nil
	}
	events, err := b.store.EventsByID(ctx, []im.MessageRef{{ConversationID: p.event.ConversationID, ID: p.event.TargetID}})
	if err != nil {
		return fmt.Errorf("look up a changed message: %w", err)
	}
	if len(events) == 0 {
		return nil
	}
	p.target = &target{message: events[0]}
	if p.conversation.allSee(p.target) && p.stays == nil {
		return nil
	}
	stays, err := b.store.StaysAt(ctx, im.EventRef{ConversationID: events[0].ConversationID, Seq: events[0].Seq})
	if err != nil {
		return fmt.Errorf("load the members at a message: %w", err)
	}
	p.target.seenBy = map[string]bool{}
	for _, m := range stays {
		p.target.seenBy[m.UserID] = true
	}
	return nil
}

// staysAt finds out who were members at an event: those of the one right before it,
// unless one of the two is a change.
func (b *inbox) staysAt(ctx context.Context, h *hole, e *im.Event) (err error) {
	same := h.last != nil && h.last.Seq == e.Seq-1 && h.last.Kind == im.KindMessage && e.Kind == im.KindMessage
	if !same {
		if h.stays, err = b.store.StaysAt(ctx, im.EventRef{ConversationID: e.ConversationID, Seq: e.Seq}); err != nil {
			return fmt.Errorf("load the members at an event: %w", err)
		}
	}
	h.last = e
	return nil
}
