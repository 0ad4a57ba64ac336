package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
)

// readBackTries bounds how often a conflict that the majority does not show yet is
// read back before the step is tried as a whole again.
const readBackTries = 6

// insert writes planned events, or finds out why that did not work. What is not
// settled then needs another plan: after a repeat was found the tail is renumbered.
func (s *sequencer) insert(ctx context.Context, planned []*pending) error {
	events := make([]im.Event, len(planned))
	for i, p := range planned {
		events[i] = *p.event
		if err := p.workOutEffect(); err != nil {
			return err
		}
	}
	var packs []im.Pack
	if s.outbox {
		var err error
		if packs, err = s.packs(planned); err != nil {
			return err
		}
	}
	im.CrashPoint(im.CrashBeforeInsert)
	err := s.store.InsertEvents(ctx, events, packs)
	switch {
	case err == nil:
		im.CrashPoint(im.CrashInserted)
		for _, p := range planned {
			if err := s.inserted(p); err != nil {
				return err
			}
		}
		s.kept = append(s.kept, packs...)
		return nil
	case errors.Is(err, im.ErrDuplicate), errors.Is(err, im.ErrUnknown):
		return errors.Join(s.readBack(ctx, planned, err), s.keepFound(planned))
	default:
		return fmt.Errorf("insert events: %w", err)
	}
}

// keepFound makes the packs anew of those planned events that were found to be stored:
// with an outbox they were stored together, and their packs with them.
func (s *sequencer) keepFound(planned []*pending) error {
	if !s.outbox {
		return nil
	}
	var found []*pending
	for _, p := range planned {
		if p.stored && !p.repeat {
			found = append(found, p)
		}
	}
	packs, err := s.packs(found)
	s.kept = append(s.kept, packs...)
	return err
}

// inserted notes that a planned event is in the store.
func (s *sequencer) inserted(p *pending) error {
	p.stored, p.fanout = true, !s.outbox
	s.recent.put(p.key, p.event)
	c := p.conversation
	c.Head = max(c.Head, p.event.Seq)
	if c.room != nil {
		s.spoken = append(s.spoken, p.event)
	}
	if p.target != nil {
		if err := p.take(); err != nil {
			return err
		}
	}
	switch {
	case p.effect != nil:
		c.adopt(p.effect) // its conversation's row says that it is applied only when it is projected
		s.members += len(p.effect.members)
	case c.unprojected:
		c.newestAtMs = p.event.AtMs
	default:
		s.hints.moved(c.ID, p.event.Seq, p.event.AtMs)
	}
	return nil
}

// readBack finds out, after a conflict or an unknown outcome, what is stored.
//
//   - our own id under our key: done;
//   - another id under our key: a repeat, answered from the stored row;
//   - another's row at our seq: another owner, stand down;
//   - nothing: sent again as it is. After a conflict that nothing explains, the
//     majority does not show it yet: read again.
func (s *sequencer) readBack(ctx context.Context, planned []*pending, cause error) error {
	keys := make([]im.ClientKey, len(planned))
	refs := make([]im.EventRef, len(planned))
	for i, p := range planned {
		keys[i], refs[i] = p.key, im.EventRef{ConversationID: p.event.ConversationID, Seq: p.event.Seq}
	}
	wait := 5 * time.Millisecond
	for range readBackTries {
		byKey, err := s.store.EventsByKey(ctx, keys)
		if err != nil {
			return fmt.Errorf("read back by key: %w", err)
		}
		at, err := s.store.EventsAt(ctx, refs)
		if err != nil {
			return fmt.Errorf("read back by seq: %w", err)
		}
		explained, err := s.reconcile(planned, byKey, at)
		if err != nil || explained {
			return err
		}
		if errors.Is(cause, im.ErrUnknown) { // exactly the same again, at the next try
			return fmt.Errorf("insert events: %w", cause)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
	return errors.New("a conflict that the store does not show")
}

// reconcile settles what the store shows. explained: a conflict was found that
// makes another plan worth trying.
func (s *sequencer) reconcile(planned []*pending, byKey, at []im.Event) (explained bool, err error) {
	stored := make(map[im.ClientKey]im.Event, len(byKey))
	for _, e := range byKey {
		stored[e.Key()] = e
	}
	ours := make(map[int64]bool, len(planned))
	for _, p := range planned {
		ours[p.event.ID] = true
	}
	for _, e := range at {
		if _, repeat := stored[e.Key()]; !ours[e.ID] && !repeat {
			return false, fmt.Errorf("event %d of %s: %w", e.Seq, e.ConversationID, errForeign)
		}
	}
	for _, p := range planned {
		e, ok := stored[p.key]
		switch {
		case !ok:
		case e.ID == p.event.ID:
			explained = true
			p.event = &e // its seq may have been numbered again since
			if err := p.workOutEffect(); err != nil {
				return false, err
			}
			if err := s.inserted(p); err != nil {
				return false, err
			}
		default:
			explained = true
			p.settle(e)
			p.fanout = p.stored && s.fansOutAgain(&e)
			if c := s.conversations[e.ConversationID]; e.Seq > c.Head {
				return false, fmt.Errorf("event %d of %s is above our head %d: %w", e.Seq, c.ID, c.Head, errForeign)
			}
		}
	}
	return explained, nil
}

// fansOutAgain reports whether a repeat goes to the inboxes again, for its first
// owner may have died before it did. Where there is an outbox, that knows. What is
// older than half the retention has long been there, and may have been deleted, so
// that nothing would show that it is a repeat.
func (s *sequencer) fansOutAgain(e *im.Event) bool { return !s.outbox && s.server.young(e) }

// young reports whether an event's entries can not have been swept from the inboxes.
func (s *Server) young(e *im.Event) bool {
	retention := s.config.Retention
	return retention <= 0 || s.now().Sub(time.UnixMilli(e.AtMs)) <= retention/2
}

// recents remembers the newest events of a partition by client key, so that most
// repeats and predecessors need no query. It is a ring over a map.
type recents struct {
	events map[im.ClientKey]recentEvent
	ring   []im.ClientKey
	next   int
}

// recentEvent is what an answer needs of an event beside its key.
type recentEvent struct {
	id, seq, atMs int64
	hash          uint64
}

func newRecents(size int) *recents {
	return &recents{events: make(map[im.ClientKey]recentEvent, 64), ring: make([]im.ClientKey, size)}
}

// get returns the event of a key, for an answer: without content.
func (r *recents) get(key im.ClientKey) (im.Event, bool) {
	e, ok := r.events[key]
	return im.Event{
		ConversationID: key.ConversationID, SenderID: key.SenderID, DeviceID: key.DeviceID, ClientID: key.ClientID,
		ID: e.id, Seq: e.seq, AtMs: e.atMs, Hash: e.hash,
	}, ok
}

func (r *recents) put(key im.ClientKey, event *im.Event) {
	if old := r.ring[r.next]; old.ClientID != "" {
		delete(r.events, old)
	}
	r.ring[r.next] = key
	r.next = (r.next + 1) % len(r.ring)
	r.events[key] = recentEvent{id: event.ID, seq: event.Seq, atMs: event.AtMs, hash: event.Hash}
}
