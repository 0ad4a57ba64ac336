package rabbitmq

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	askFirst   = 20 * time.Millisecond // between two looks whether the former consumer has gone
	askLongest = 500 * time.Millisecond
)

// Consume becomes a partition's consumer. It waits until the former one has gone,
// and for a broker that is away.
//
// AMQP does not tell a consumer that it is the active one, and an empty queue shows
// nothing. So whoever consumes also holds an exclusive queue, "<queue>.owner",
// through a consumer on the same channel: the broker refuses it to all other
// connections, and deletes it with that channel or connection. It says only whom we
// wait for. One delivery target at a time is what the single active consumer of the
// queue itself ensures, and neither is a fence.
func (q *Queue) Consume(ctx context.Context, topic string, number int) (*Consumer, error) {
	p, err := q.partition(topic, number)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(q.over, func() { cancel(ErrClosed) })()
	select {
	case p.seat <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the consumer of %s: %w", p.queue, context.Cause(ctx))
	}
	return q.occupyWithin(ctx, p)
}

// occupyWithin returns when the context ends, even if the broker does not answer.
// The seat is ours, and is given back when there is no consumer.
func (q *Queue) occupyWithin(ctx context.Context, p *partition) (*Consumer, error) {
	type outcome struct {
		consumer *Consumer
		err      error
	}
	outcomes := make(chan outcome)
	if !q.work(func() {
		c, err := q.occupy(ctx, p)
		if err != nil {
			<-p.seat
		}
		select {
		case outcomes <- outcome{c, err}:
			return
		case <-ctx.Done():
		}
		if err == nil {
			_ = c.Close() // never fails
		}
	}) {
		<-p.seat
		return nil, ErrClosed
	}
	select {
	case o := <-outcomes:
		return o.consumer, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the consumer of %s: %w", p.queue, context.Cause(ctx))
	}
}

// occupy asks until the partition is free.
func (q *Queue) occupy(ctx context.Context, p *partition) (*Consumer, error) {
	for wait := askFirst; ; wait = min(2*wait, askLongest) {
		conn, err := q.consuming.await(ctx, false)
		if err != nil {
			return nil, err
		}
		c, taken, err := q.attach(conn, p)
		if !taken {
			return c, err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the consumer of %s: %w", p.queue, context.Cause(ctx))
		}
	}
}

// attach takes the partition if it is free.
func (q *Queue) attach(conn *amqp.Connection, p *partition) (c *Consumer, taken bool, err error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, false, fmt.Errorf("consume %s: %w", p.queue, err)
	}
	defer func() {
		if err != nil {
			_ = channel.Close() // it has failed already
		}
	}()
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	owner, err := hold(channel, p.queue+".owner")
	switch code(err) {
	case amqp.ResourceLocked, amqp.AccessRefused, amqp.NotFound: // it is held, or about to be deleted
		return nil, true, err
	}
	if err == nil {
		err = channel.Qos(q.config.Prefetch, 0, false)
	}
	var deliveries <-chan amqp.Delivery
	if err == nil {
		deliveries, err = channel.Consume(p.queue, "", false, false, false, false, nil)
	}
	if err != nil {
		return nil, false, fmt.Errorf("consume %s: %w", p.queue, err)
	}
	c = newConsumer(q, p, channel)
	if !q.work(func() { c.drain(deliveries, owner, closed) }) {
		return nil, false, ErrClosed
	}
	return c, false, nil
}

// hold makes an exclusive queue ours as long as the channel lives. Nothing is ever
// published to it.
func hold(channel *amqp.Channel, name string) (<-chan amqp.Delivery, error) {
	if _, err := channel.QueueDeclare(name, false, true, true, false, nil); err != nil {
		return nil, err
	}
	return channel.Consume(name, "", true, true, false, false, nil)
}
