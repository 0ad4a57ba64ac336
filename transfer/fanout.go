package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// packs makes the queue items of events: for each inbox partition concerned one
// pack with an envelope per event. Its ref is the first event's id, so the same
// events make the same refs.
func (s *sequencer) packs(events []*pending) ([]im.Pack, error) {
	var order []int
	byPartition := map[int]*imv1.InboxPack{}
	commit := int64(0)
	for _, p := range events {
		if commit == 0 {
			commit = p.event.ID
		}
		routes, err := p.routes(s.server.config.InboxPartitions)
		if err != nil {
			return nil, err
		}
		what := &imv1.InboxEnvelope_Event{Event: envelopeEvent(p.event, p.conversation.kind)}
		for _, to := range routes {
			pack := byPartition[to.partition]
			if pack == nil {
				pack = &imv1.InboxPack{}
				byPartition[to.partition] = pack
				order = append(order, to.partition)
			}
			pack.Envelopes = append(pack.Envelopes, &imv1.InboxEnvelope{What: what, UserIds: to.userIDs})
		}
	}
	packs := make([]im.Pack, 0, len(order))
	for _, q := range order {
		body, err := byPartition[q].MarshalVT()
		if err != nil {
			return nil, fmt.Errorf("encode an inbox pack: %w", err)
		}
		pack := im.Pack{Partition: q, Body: body, B3: s.server.firstTrace(byPartition[q].Envelopes)}
		if s.outbox {
			pack.Ref = im.PackRef{Commit: commit, Partition: q}
		}
		packs = append(packs, pack)
	}
	return packs, nil
}

func envelopeEvent(e *im.Event, conversationType string) *imv1.Event {
	return &imv1.Event{
		Id: e.ID, ConversationId: e.ConversationID, Seq: e.Seq, Kind: string(e.Kind),
		ConversationType: conversationType,
		SenderId:         e.SenderID, DeviceId: e.DeviceID, ClientId: e.ClientID, AtMs: e.AtMs,
		TargetId: e.TargetID, ThreadId: e.ThreadID, ExpiresAtMs: e.ExpiresAtMs, Counted: e.Counted,
		NoPush: e.Flags&im.FlagNoPush != 0, Late: e.Flags&im.FlagLate != 0, Body: e.Body, B3: e.B3, AcceptedAtMs: e.AcceptedAtMs,
	}
}

// deliver publishes a batch's events to the inboxes and waits for the queue's
// confirms: only then is a sender acknowledged.
func (s *sequencer) deliver(ctx context.Context, batch []*pending) error {
	if s.unsent == nil {
		var events []*pending
		for _, p := range batch {
			if p.fanout {
				events = append(events, p)
			}
		}
		if err := s.loadStays(ctx, events); err != nil {
			return err
		}
		packs, err := s.packs(events)
		if err != nil {
			return err
		}
		s.unsent, s.kept = &publication{packs: append(s.kept, packs...)}, nil
	}
	if err := s.server.publishPacks(ctx, s.unsent); err != nil {
		return err
	}
	s.unsent = nil
	for _, p := range batch {
		p.fanout = false
	}
	return nil
}

// publication is packs on their way into the queue.
type publication struct {
	packs  []im.Pack // not confirmed, in order
	handed *outcome  // of packs, which the queue has; nil: it has been given none
}

// outcome gathers the queue's confirms.
type outcome struct {
	sync.Mutex
	left int
	errs []error
	all  chan struct{}
}

// publishPacks publishes packs to their inbox partitions and waits. After an error
// it is called again: what the queue has refused is published again, what it has
// not answered yet is only waited for, since a pack that is in twice can be
// delivered twice where the inbox has no event index.
func (s *Server) publishPacks(ctx context.Context, p *publication) error {
	if len(p.packs) == 0 {
		return nil
	}
	if p.handed == nil {
		p.handed = s.handOver(p.packs)
	}
	select {
	case <-p.handed.all:
	case <-ctx.Done():
		return fmt.Errorf("wait for the queue's confirms: %w", ctx.Err())
	}
	var refused []im.Pack
	for i, err := range p.handed.errs {
		if err != nil {
			refused = append(refused, p.packs[i])
		}
	}
	err := errors.Join(p.handed.errs...)
	p.packs, p.handed = refused, nil
	return err
}

func (s *Server) handOver(packs []im.Pack) *outcome {
	o := &outcome{left: len(packs), errs: make([]error, len(packs)), all: make(chan struct{})}
	for i := range packs {
		s.queue.Publish(TopicInbox, packs[i].Partition, packs[i:i+1], func(err error) {
			o.Lock()
			defer o.Unlock()
			o.errs[i] = err
			if o.left--; o.left == 0 {
				close(o.all)
			}
		})
		im.CrashPoint(im.CrashPackHanded)
	}
	return o
}

// replayPacks publishes what a former process committed to the store's outbox and
// did not bring into the inboxes. It does not wait for confirms: the packs are
// durable where they are, and nobody consumes yet.
func (s *Server) replayPacks(ctx context.Context) error {
	packs, err := s.store.PendingPacks(ctx)
	if err != nil {
		return fmt.Errorf("read pending packs: %w", err)
	}
	for i := range packs {
		s.republish(packs[i : i+1])
		im.CrashPoint(im.CrashPackReplayed)
	}
	if len(packs) > 0 {
		s.log.Info("replaying what the last process had not brought into the inboxes", "packs", len(packs))
	}
	return nil
}

// republish hands a pack that the store's outbox keeps to the queue. A queue that
// refuses has been closed with the process; the outbox has the pack at the next
// start.
func (s *Server) republish(pack []im.Pack) {
	s.queue.Publish(TopicInbox, pack[0].Partition, pack, func(err error) {
		if err != nil {
			s.log.Info("a pack stays in the outbox", "partition", pack[0].Partition, "error", err)
		}
	})
}

// hints writes what a conversation's row says of its newest event lazily: at most
// once a second for a conversation, at the latest after hintEvents events.
// Everybody who needs to be exact looks at messages above it.
type hints struct {
	mu    sync.Mutex
	rows  map[string]im.Conversation
	count int
	timer *time.Timer
	write func([]im.Conversation) error
	done  bool
	busy  sync.WaitGroup // an armed timer, and the write that it starts
}

const (
	hintEvery   = time.Second
	hintEvents  = 1000
	hintTimeout = 2 * time.Second // of one write
)

func newHints(write func([]im.Conversation) error) *hints {
	return &hints{rows: map[string]im.Conversation{}, write: write}
}

// moved notes a conversation's newest event. Plain messages project nothing, so
// all up to it is applied.
func (h *hints) moved(id string, seq, atMs int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.rows[id] = im.Conversation{ID: id, AppliedSeq: seq, LastSeq: seq, LastAtMs: atMs}
	h.count++
	switch {
	case h.timer == nil:
		h.busy.Add(1)
		h.timer = time.AfterFunc(hintEvery, func() { defer h.busy.Done(); h.flush() })
	case h.count == hintEvents && h.timer.Stop(): // else it fires just now
		h.timer.Reset(0)
	}
}

func (h *hints) flush() {
	h.mu.Lock()
	rows := make([]im.Conversation, 0, len(h.rows))
	for _, row := range h.rows {
		rows = append(rows, row)
	}
	clear(h.rows)
	h.count, h.timer = 0, nil
	h.mu.Unlock()
	im.CrashPoint(im.CrashBeforeHints)
	if err := h.write(rows); err == nil {
		return
	}
	for _, row := range rows { // once more with the next ones, unless newer
		h.mu.Lock()
		_, newer := h.rows[row.ID]
		h.mu.Unlock()
		if !newer {
			h.moved(row.ID, row.LastSeq, row.LastAtMs)
		}
	}
}

// stop writes what is left and takes nothing more.
func (h *hints) stop() {
	h.mu.Lock()
	h.done = true
	pending := h.timer != nil && h.timer.Stop()
	h.mu.Unlock()
	if pending {
		h.flush()
		h.busy.Done()
	}
	h.busy.Wait()
}
