package transfer_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/storetest"
	"github.com/im-transfer/im/transfer"
)

// faults is what goes wrong with the next writes and publishes of all owners. It is
// a storetest.Plan.
type faults struct {
	mu    sync.Mutex
	wrong map[string][]storetest.Fault // by write
	slows map[string][]time.Duration   // by leg and write
	fates map[string][]queuetest.Fate  // by topic
}

func newFaults() *faults {
	f := &faults{}
	f.clear()
	return f
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong, f.slows, f.fates = map[string][]storetest.Fault{}, map[string][]time.Duration{}, map[string][]queuetest.Fate{}
}

func times[V any](value V, n int) (all []V) {
	for range n {
		all = append(all, value)
	}
	return all
}

func (f *faults) fail(write string, fault storetest.Fault, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong[write] = times(fault, n)
}

func (f *faults) slow(legAndWrite string, by time.Duration, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slows[legAndWrite] = times(by, n)
}

func (f *faults) misfate(topic string, fate queuetest.Fate, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fates[topic] = times(fate, n)
}

// next takes the first of a list.
func next[V any](of map[string][]V, key string) (value V) {
	if list := of[key]; len(list) > 0 {
		value, of[key] = list[0], list[1:]
	}
	return value
}

// Fault is what goes wrong with a write.
func (f *faults) Fault(write string, _ int) storetest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return next(f.wrong, write)
}

// Slow is how much longer a write takes.
func (f *faults) Slow(legAndWrite string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return next(f.slows, legAndWrite)
}

// Fate is what becomes of a publish.
func (f *faults) Fate(topic string) queuetest.Fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return next(f.fates, topic)
}

// The legs of a write's way: an owner that is killed or paused is so on the first;
// what is on the second arrives all the same.
const (
	inTheOwner = "in the owner: "
	onTheWire  = "on the wire: "
)

// late is a leg of the way to a store. A write takes a millisecond on it, so that
// batches form, or as long as faults say. Who has waited too long does not know what
// became of it.
type late struct {
	transfer.Store
	leg      string
	abandons bool // who has waited too long has written nothing: a store of the same process
	faults   *faults
	going    *sync.WaitGroup
}

func (l *late) write(ctx context.Context, name string, do func(context.Context) error) error {
	wait := time.Millisecond + l.faults.Slow(l.leg+name)
	if l.abandons {
		select {
		case <-time.After(wait):
			return do(context.WithoutCancel(ctx))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	done := make(chan error, 1)
	l.going.Go(func() {
		<-time.After(wait)
		done <- do(context.WithoutCancel(ctx))
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer in time: %w: %w", im.ErrUnknown, ctx.Err())
	}
}

// InsertEvents is the store's, later.
func (l *late) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	return l.write(ctx, "InsertEvents", func(ctx context.Context) error { return l.Store.InsertEvents(ctx, events, packs) })
}

// CommitInbox is the store's, later.
func (l *late) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	kept := storetest.CloneCommit(commit)
	return l.write(ctx, "CommitInbox", func(ctx context.Context) error { return l.Store.CommitInbox(ctx, kept) })
}

// InsertTerm is the store's, later.
func (l *late) InsertTerm(ctx context.Context, term im.Term) error {
	return l.write(ctx, "InsertTerm", func(ctx context.Context) error { return l.Store.InsertTerm(ctx, term) })
}

// Project is the store's, later.
func (l *late) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	return l.write(ctx, "Project", func(ctx context.Context) error { return l.Store.Project(ctx, conversations, members) })
}

// modelQueue is one owner's way to the queue: in order, and not while the owner is
// paused.
type modelQueue struct {
	*queuetest.Faulty

	mu     sync.Mutex
	dead   bool
	paused bool
	held   []func()
	back   chan struct{} // closed when it is not paused
}

func newModelQueue(queue *memory.Queue, f *faults, embedded bool) *modelQueue {
	q := &modelQueue{back: make(chan struct{})}
	close(q.back)
	q.Faulty = queuetest.NewFaulty(queuetest.Of(queue), func(topic string, _ int, _ []im.Pack) queuetest.Fate {
		if q.dead {
			return queuetest.Lose
		}
		return f.Fate(topic)
	})
	if !embedded {
		q.Carry(3)
	}
	return q
}

// Publish is the queue's, when the owner goes on.
func (q *modelQueue) Publish(topic string, partition int, items []im.Pack, confirmed func(error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	publish := func() { q.Faulty.Publish(topic, partition, items, confirmed) }
	if q.paused && !q.dead {
		q.held = append(q.held, publish)
		return
	}
	publish()
}

// Consume is the queue's, when the owner goes on.
func (q *modelQueue) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	for {
		q.mu.Lock()
		back, dead := q.back, q.dead
		q.mu.Unlock()
		select {
		case <-back:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if dead {
			return nil, storetest.ErrAway
		}
		consumer, err := q.Faulty.Consume(ctx, topic, partition)
		q.mu.Lock()
		paused := q.paused || q.dead
		q.mu.Unlock()
		if err != nil || !paused {
			return consumer, err
		}
		if err := consumer.Close(); err != nil { // it came to wait before the pause
			return nil, err
		}
	}
}

func (q *modelQueue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused, q.back = true, make(chan struct{})
}

func (q *modelQueue) letGo() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, publish := range q.held {
		publish()
	}
	q.held, q.paused = nil, false
	close(q.back)
}

func (q *modelQueue) die() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = true
}

// breakAll takes all partitions away from the owner.
func (q *modelQueue) breakAll() error {
	for partition := range modelPartitions {
		for _, topic := range []string{transfer.TopicConversation, transfer.TopicInbox} {
			if err := q.Break(topic, partition); err != nil {
				return err
			}
		}
	}
	return nil
}

// modelView is the registry as one owner sees it.
type modelView struct{ lists chan []im.Server }

func newModelView() *modelView { return &modelView{lists: make(chan []im.Server, 1)} }

// tell replaces what was not taken yet.
func (v *modelView) tell(list []im.Server) {
	select {
	case <-v.lists:
	default:
	}
	v.lists <- list
}

// Register does nothing: the system tells who lives.
func (v *modelView) Register(context.Context, im.Server) error { return nil }

// Deregister does nothing.
func (v *modelView) Deregister(context.Context, string) error { return nil }

// Watch is what the system tells.
func (v *modelView) Watch(context.Context, string) (<-chan []im.Server, error) { return v.lists, nil }
