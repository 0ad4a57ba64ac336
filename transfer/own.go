package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// own watches the live transfers and runs the partitions that are assigned to this
// one. While the registry is unreachable the last assignment stands.
func (s *Server) own(ctx context.Context) error {
	lists, err := s.registry.Watch(ctx, "transfer")
	if err != nil {
		return err
	}
	s.goRun(func() {
		o := &owner{server: s, running: map[string]context.CancelCauseFunc{}}
		defer o.release(func(string) bool { return false })
		for {
			select {
			case list, ok := <-lists:
				if !ok {
					return
				}
				s.transfers.Store(&list)
				o.apply(ctx, list)
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// owner runs partitions. Only its own goroutine touches it.
type owner struct {
	server  *Server
	running map[string]context.CancelCauseFunc
}

// apply takes the partitions that are newly assigned and gives up those that no
// longer are.
func (o *owner) apply(ctx context.Context, servers []im.Server) {
	ids := make([]string, len(servers))
	for i, server := range servers {
		ids[i] = server.ID
	}
	mine := map[string]func(context.Context) error{}
	me := o.server.config.ServerID
	for q, id := range assign(TopicInbox, o.server.config.InboxPartitions, ids) {
		if id == me {
			mine[partitionName(TopicInbox, q)] = func(ctx context.Context) error { return o.server.holdInbox(ctx, q) }
		}
	}
	for p, id := range assign(TopicConversation, o.server.config.ConversationPartitions, ids) {
		if id == me {
			mine[partitionName(TopicConversation, p)] = func(ctx context.Context) error { return o.server.holdConversation(ctx, p) }
		}
	}
	o.release(func(name string) bool { return mine[name] != nil })
	for name, hold := range mine {
		if o.running[name] == nil {
			o.running[name] = o.hold(ctx, name, hold)
		}
	}
}

// release gives up what is not kept, and does not wait for it: another partition
// must not wait for one that is held up by a store that is away. Whoever takes it
// next waits for its consumer to close, we too.
func (o *owner) release(keep func(string) bool) {
	cause := context.Canceled
	if o.server.stranded.Load() {
		cause = errStranded
	}
	for name, cancel := range o.running {
		if !keep(name) {
			cancel(cause)
			delete(o.running, name)
		}
	}
}

// hold runs a partition until it is released. When another owner was seen, or the
// queue closed the consumer, it is taken anew after a pause that grows.
func (o *owner) hold(ctx context.Context, name string, run func(context.Context) error) (cancel context.CancelCauseFunc) {
	ctx, cancel = context.WithCancelCause(ctx)
	o.server.goRun(func() {
		const first, longest = 50 * time.Millisecond, 5 * time.Second
		for wait := first; ; wait = min(2*wait, longest) {
			began := time.Now()
			err := run(ctx)
			if ctx.Err() != nil {
				if err != nil && !errors.Is(err, context.Canceled) && !o.server.stranded.Load() {
					o.server.log.Error("gave up a partition with an error", "partition", name, "error", err)
				}
				return
			}
			if o.server.info.Outbox && errors.Is(err, errForeign) {
				// What is in the outbox and not in the queue comes with the next start
				// only, and the queue's redeliveries would be doubled in the inboxes.
				o.server.fail(fmt.Errorf("lost %s: %w", name, err))
				return
			}
			o.server.complain(o.server.log, "lost a partition; taking it anew", "partition", name, "error", err)
			if time.Since(began) > longest {
				wait = first
			}
			select {
			case <-time.After(wait/2 + rand.N(wait)):
			case <-ctx.Done():
				return
			}
		}
	})
	return cancel
}

func partitionName(topic string, partition int) string {
	return topic + "." + strconv.Itoa(partition)
}

// holdConversation takes a conversation partition and runs its sequencer.
func (s *Server) holdConversation(ctx context.Context, p int) error {
	name := partitionName(TopicConversation, p)
	consumer, err := s.queue.Consume(ctx, TopicConversation, p)
	if err != nil {
		return fmt.Errorf("consume %s: %w", name, err)
	}
	im.CrashPoint(im.CrashConsumerOpened)
	held, err := takeTerm(ctx, s.store, name, s.config.ServerID, p, s.now)
	if err != nil {
		return errors.Join(err, consumer.Close())
	}
	log := s.log.With("partition", name)
	q := &sequencer{
		server: s, store: s.store, log: log, partition: p, term: held,
		conversations: map[string]*conversation{}, recent: newRecents(2048), outbox: s.info.Outbox,
	}
	q.hints = newHints(func(rows []im.Conversation) error {
		bounded, cancel := context.WithTimeout(context.Background(), hintTimeout)
		defer cancel()
		if err := s.store.Project(bounded, rows, nil); err != nil {
			s.complain(log, "write conversation hints", "error", err)
			return err
		}
		return nil
	})
	q.rooms = newRooms(s, p, held.held.Term)
	s.announceRooms(q.rooms, false)
	err = q.run(ctx, consumer)
	s.announceRooms(q.rooms, true)
	q.rooms.close()
	im.CrashPoint(im.CrashSequencerEnded)
	err = errors.Join(err, consumer.Close())
	q.hints.stop() // nobody waits for hints
	return err
}

// holdInbox takes an inbox partition, announces it to the gateways and runs it.
func (s *Server) holdInbox(ctx context.Context, q int) error {
	name := partitionName(TopicInbox, q)
	consumer, err := s.queue.Consume(ctx, TopicInbox, q)
	if err != nil {
		return fmt.Errorf("consume %s: %w", name, err)
	}
	// The ids of an inbox partition only name commits of its own.
	held, err := takeTerm(ctx, s.store, name, s.config.ServerID, q%im.MaxPartitions, s.now)
	if err != nil {
		return errors.Join(err, consumer.Close())
	}
	box := newInbox(s, q, held)
	s.announce(box, false)
	stop := s.sweep(ctx, q)
	err = box.run(ctx, consumer)
	stop()
	return err
}

// announce tells every gateway that a partition is owned here, or no longer.
func (s *Server) announce(box *inbox, released bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if released {
		if s.inboxes[box.partition] == box {
			delete(s.inboxes, box.partition)
		}
	} else {
		s.inboxes[box.partition] = box
	}
	for _, g := range s.gateways {
		g.ownership(&imv1.Ownership{Partition: int32(box.partition), Term: box.term, Released: released}) //nolint:gosec // at most 1,024
	}
}
