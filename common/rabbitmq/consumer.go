package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/im-transfer/im"
)

// ErrLost: the broker has closed the consumer's channel or connection; what was not
// acknowledged goes to the next consumer.
var ErrLost = errors.New("the partition was lost")

// Consumer takes the items of one partition in order. One goroutine receives; Ack
// and Close may be called from others.
type Consumer struct {
	queue     *Queue
	partition *partition
	channel   *amqp.Channel
	prefetch  int
	wake      chan struct{} // holds one signal: look again
	drained   chan struct{} // closed when the broker delivers no more
	closing   sync.Once

	mu       sync.Mutex // guards what follows
	ready    fifo[im.Delivery]
	messages fifo[bounds] // not acknowledged
	received uint64       // tag of the item received last from the broker
	handed   uint64       // and of the one handed out last
	acked    uint64
	ended    error // why nothing more is to be had
}

// bounds says which items a message of AMQP held.
type bounds struct {
	last uint64 // tag of its last item
	amqp uint64 // its own
}

func newConsumer(q *Queue, p *partition, channel *amqp.Channel) *Consumer {
	return &Consumer{
		queue: q, partition: p, channel: channel, prefetch: q.config.Prefetch,
		wake: make(chan struct{}, 1), drained: make(chan struct{}),
	}
}

// drain takes what the broker delivers, at most the prefetch, until the channel or
// the exclusive queue is gone. Close waits for its end.
func (c *Consumer) drain(deliveries, owner <-chan amqp.Delivery, closed <-chan *amqp.Error) {
	defer close(c.drained)
	for {
		select {
		case d, ok := <-deliveries:
			if ok {
				c.add(d)
				continue
			}
		case _, ok := <-owner:
			if ok {
				continue // nobody may, but anybody could, publish to it
			}
		}
		break
	}
	reason := ErrLost
	select {
	case why := <-closed:
		if why != nil {
			reason = fmt.Errorf("%w: %w", ErrLost, why)
		}
	default:
	}
	c.end(reason)
	_ = c.channel.Close() // without the exclusive queue it must not go on
}

// end says why nothing more is to be had; only the first reason counts.
func (c *Consumer) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = reason
		c.rouse()
	}
}

// Receive waits for at least one item and returns at most limit that are ready,
// never more than the prefetch unacknowledged. ErrLost or ErrClosed: the partition
// is no longer ours.
func (c *Consumer) Receive(ctx context.Context, limit int) ([]im.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		batch, err := c.take(limit)
		if len(batch) > 0 || err != nil {
			return batch, err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// add unpacks a message. One that is no frame of ours is handed out as it is: who
// receives it can not decode it and puts it aside.
func (c *Consumer) add(d amqp.Delivery) {
	items, err := unpack(d.Body)
	if err != nil {
		items = []im.Delivery{{Body: d.Body}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, item := range items {
		c.received++
		item.Tag = c.received
		c.ready.push(item)
	}
	c.messages.push(bounds{last: c.received, amqp: d.DeliveryTag})
	c.rouse()
}

// take hands out what is ready, nothing if nothing is.
func (c *Consumer) take(limit int) ([]im.Delivery, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	room := c.prefetch - int(c.handed-c.acked) //nolint:gosec // at most the prefetch
	n := min(max(limit, 1), room, c.ready.len())
	if n <= 0 {
		return nil, nil
	}
	batch := make([]im.Delivery, n)
	for i := range batch {
		batch[i] = c.ready.pop()
	}
	c.handed = batch[n-1].Tag
	return batch, nil
}

// Ack acknowledges every item up to a tag; lower ones than before change nothing.
// The broker hears of a message when all its items are acknowledged: when a
// consumer ends before that, all of them come again.
func (c *Consumer) Ack(tag uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended != nil:
		return c.ended
	case tag > c.handed:
		return errors.New("acknowledged an item that was not received")
	case tag <= c.acked:
		return nil
	}
	if c.handed-c.acked >= uint64(c.prefetch) { //nolint:gosec // positive
		c.rouse()
	}
	c.acked = tag
	last := uint64(0)
	for c.messages.len() > 0 && c.messages.at(0).last <= tag {
		last = c.messages.pop().amqp
	}
	if last == 0 {
		return nil
	}
	if err := c.channel.Ack(last, true); err != nil { // under the lock, since acks must not overtake
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// rouse makes a waiting Receive look again. It never blocks.
func (c *Consumer) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close gives the partition up: what is not acknowledged goes to the next consumer,
// in order. It waits for the broker, for a second at most; the next consumer in
// this process waits for as long as it takes. A second call does nothing.
func (c *Consumer) Close() error {
	c.closing.Do(func() {
		c.end(ErrClosed)
		done := make(chan struct{})
		c.queue.work(func() {
			defer close(done)
			_ = c.channel.Close() // it fails when the connection is gone, and the channel with it
			<-c.drained
			<-c.partition.seat
		})
		late := time.NewTimer(closeTimeout)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C:
		}
	})
	return nil
}
