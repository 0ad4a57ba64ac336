package transfer

import (
	"context"
	"fmt"
	"slices"

	"github.com/im-transfer/im"
)

// take lets a change of a message that is stored take place.
func (p *pending) take() error {
	state, err := altered(&p.target.message, p.target.state, p.event)
	if err != nil {
		return err
	}
	p.target.state, p.target.dirty, p.conversation.unprojected = state, true, true
	return nil
}

// projectTargets writes what the batch has made of messages: before the fan-out, so that
// who reads a message once its change is known reads it changed.
func (s *sequencer) projectTargets(ctx context.Context) error {
	var states []im.MessageState
	for _, t := range s.targets {
		if t.dirty {
			states = append(states, t.state)
		}
	}
	if len(states) == 0 {
		return nil
	}
	if err := s.store.ProjectMessages(ctx, states); err != nil {
		return fmt.Errorf("project messages: %w", err)
	}
	for _, t := range s.targets {
		t.dirty = false
	}
	return nil
}

// letHintsPass tells the hints of conversations how far they are now that nothing of
// them waits to be projected.
func (s *sequencer) letHintsPass() {
	for _, t := range s.targets {
		if c := s.conversations[t.message.ConversationID]; c != nil && c.unprojected {
			c.unprojected = false
			s.hints.moved(c.ID, c.Head, c.newestAtMs)
		}
	}
}

// catchUpMessages works out what events above a conversation's applied_seq have made of
// its messages, in case whoever stored them died before that was written.
func (s *sequencer) catchUpMessages(ctx context.Context, c *conversation) error {
	var changes []im.Event
	var refs []im.MessageRef
	for _, e := range c.Changes {
		if slices.Contains(alterations, e.Kind) {
			changes = append(changes, e)
			if ref := (im.MessageRef{ConversationID: c.ID, ID: e.TargetID}); !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	if len(refs) == 0 {
		return nil
	}
	messages, err := s.store.EventsByID(ctx, refs)
	if err != nil {
		return fmt.Errorf("look up changed messages: %w", err)
	}
	stored, err := s.store.MessageStates(ctx, refs)
	if err != nil {
		return fmt.Errorf("load message states: %w", err)
	}
	states, err := replay(messages, stored, changes)
	if err != nil || len(states) == 0 {
		return err
	}
	if err := s.store.ProjectMessages(ctx, states); err != nil {
		return fmt.Errorf("project messages: %w", err)
	}
	return nil
}

// replay returns the states of messages that changes, in order, have risen above what is
// stored.
func replay(messages []im.Event, stored []im.MessageState, changes []im.Event) ([]im.MessageState, error) {
	byID := make(map[int64]*im.Event, len(messages))
	states := make(map[int64]im.MessageState, len(messages))
	for i := range messages {
		byID[messages[i].ID], states[messages[i].ID] = &messages[i], im.StateOf(&messages[i])
	}
	for _, state := range stored {
		states[state.MessageID] = state
	}
	risen := map[int64]bool{}
	for i := range changes {
		e := &changes[i]
		message := byID[e.TargetID]
		if message == nil || e.Seq <= states[e.TargetID].Seq {
			continue
		}
		state, err := altered(message, states[e.TargetID], e)
		if err != nil {
			return nil, err
		}
		states[e.TargetID], risen[e.TargetID] = state, true
	}
	all := make([]im.MessageState, 0, len(risen))
	for id := range risen {
		all = append(all, states[id])
	}
	return all, nil
}
