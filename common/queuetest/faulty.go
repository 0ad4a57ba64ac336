package queuetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// Fate is what becomes of one publish through a Faulty queue.
type Fate int

// The fates.
const (
	Deliver Fate = iota // as the queue has it
	Lose                // not delivered, the confirm is an error
	Doubt               // delivered, and yet the confirm is an error
	Delay               // delivered, the confirm held until Release
)

// ErrBroken is what a consumer gets whose partition was broken.
var ErrBroken = errors.New("partition broken by the test")

// Faulty is a queue that fails as it is told: publishes are lost or left in
// doubt, confirms come late, consumers lose their partition. Safe for concurrent
// use.
type Faulty struct {
	queue transfer.Queue
	fate  func(topic string, partition int, items []im.Pack) Fate
	carry int

	mu        sync.Mutex // guards what follows
	held      []func()
	consumers map[*faultyConsumer]struct{}
}

// NewFaulty wraps a queue. fate decides on every publish; nil delivers all.
func NewFaulty(queue transfer.Queue, fate func(topic string, partition int, items []im.Pack) Fate) *Faulty {
	if fate == nil {
		fate = func(string, int, []im.Pack) Fate { return Deliver }
	}
	return &Faulty{queue: queue, fate: fate, consumers: map[*faultyConsumer]struct{}{}}
}

// Carry makes the queue carry so many items as one, as a driver with packs does: an
// ack of some of them is heard when it reaches the last, and until then all of them
// come again to the next consumer. It must be at most the prefetch, and be called
// before anything is consumed.
func (f *Faulty) Carry(items int) { f.carry = items }

// Publish does with the items what their fate is.
func (f *Faulty) Publish(topic string, partition int, items []im.Pack, confirmed func(error)) {
	unsure := im.Retry(im.Unavailable, time.Millisecond, "made to fail by the test")
	switch f.fate(topic, partition, items) {
	case Lose:
		confirmed(unsure)
	case Doubt:
		f.queue.Publish(topic, partition, items, func(error) { confirmed(unsure) })
	case Delay:
		f.queue.Publish(topic, partition, items, func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.held = append(f.held, func() { confirmed(err) })
		})
	default:
		f.queue.Publish(topic, partition, items, confirmed)
	}
}

// Release calls the confirms that are held back, in order, and returns their
// number.
func (f *Faulty) Release() int {
	f.mu.Lock()
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, confirm := range held {
		confirm()
	}
	return len(held)
}

// Backlog is the queue's.
func (f *Faulty) Backlog(topic string, partition int) int { return f.queue.Backlog(topic, partition) }

// Ping is the queue's.
func (f *Faulty) Ping(ctx context.Context) error { return f.queue.Ping(ctx) }

// Consume becomes the partition's consumer until Break.
func (f *Faulty) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	inner, err := f.queue.Consume(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	c := &faultyConsumer{
		Consumer: inner, topic: topic, partition: partition, broken: make(chan struct{}), carry: max(f.carry, 1),
	}
	c.forget = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.consumers, c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.consumers[c] = struct{}{}
	return c, nil
}

// Break takes a partition away from its consumer, as a broker does that closes
// the channel. What was not acknowledged comes again to the next one.
func (f *Faulty) Break(topic string, partition int) error {
	f.mu.Lock()
	var hit []*faultyConsumer
	for c := range f.consumers {
		if c.topic == topic && c.partition == partition {
			hit = append(hit, c)
		}
	}
	f.mu.Unlock()
	var errs []error
	for _, c := range hit {
		c.breaking.Do(func() { close(c.broken) })
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

type faultyConsumer struct {
	transfer.Consumer
	topic     string
	partition int
	breaking  sync.Once
	broken    chan struct{}
	forget    func()
	carry     int

	mu       sync.Mutex // guards what follows
	received int
	lasts    []uint64 // tags of the last ones of what is carried, not acknowledged
}

// Receive fails with ErrBroken once the partition is broken.
func (c *faultyConsumer) Receive(ctx context.Context, limit int) ([]im.Delivery, error) {
	some, err := c.Consumer.Receive(ctx, limit)
	if err != nil && c.isBroken() {
		return nil, ErrBroken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range some {
		if c.received++; c.received%c.carry == 0 {
			c.lasts = append(c.lasts, d.Tag)
		}
	}
	return some, err
}

// Ack fails with ErrBroken once the partition is broken.
func (c *faultyConsumer) Ack(tag uint64) error {
	if c.isBroken() {
		return ErrBroken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	whole := 0
	for whole < len(c.lasts) && c.lasts[whole] <= tag {
		whole++
	}
	if whole == 0 {
		return nil
	}
	tag = c.lasts[whole-1]
	c.lasts = c.lasts[whole:]
	return c.Consumer.Ack(tag)
}

// Close gives the partition up.
func (c *faultyConsumer) Close() error {
	c.forget()
	return c.Consumer.Close()
}

func (c *faultyConsumer) isBroken() bool {
	select {
	case <-c.broken:
		return true
	default:
		return false
	}
}
