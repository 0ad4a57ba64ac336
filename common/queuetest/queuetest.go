// Package queuetest is the conformance suite that every driver of the queue
// passes, and a wrapper that makes a queue fail in the ways that a healthy one
// never shows.
package queuetest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// What the suite asks a driver to open. The topics are those of package transfer.
const (
	Partitions = 4    // of each topic
	Prefetch   = 8    // unacknowledged items of a consumer
	Bound      = 5000 // items that a partition must take without refusing
)

// patience bounds every wait of the suite; pause is how long it looks for
// something that must not happen.
const (
	patience = 20 * time.Second
	pause    = 50 * time.Millisecond
)

// Opened is an empty queue under test. Another returns the same queue as another
// process sees it; nil, where it lives within one process. Packs says that the
// driver carries several items as one: with an item that was not acknowledged those
// before it that were may come again.
type Opened struct {
	Queue   transfer.Queue
	Another func() transfer.Queue
	Close   func() error // of Queue
	Packs   bool
}

func (o Opened) another() transfer.Queue {
	if o.Another == nil {
		return o.Queue
	}
	return o.Another()
}

// Run runs the suite; open is called once for each test, which cleans up by
// itself what is still open.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for _, story := range []struct {
		name string
		tell func(t *testing.T, o Opened)
	}{
		{"items come in the order published", ordered},
		{"partitions and topics do not mix", separate},
		{"nothing to publish is confirmed", publishNothing},
		{"a waiting receiver is woken", woken},
		{"receive returns no more than asked", limited},
		{"the prefetch bounds what is unacknowledged", prefetched},
		{"an ack covers what came before it", cumulative},
		{"unacknowledged items come again in order", handOver},
		{"a consumer waits until the former has closed", waitsForFormer},
		{"waiting to consume ends with its context", consumeCancelled},
		{"a consumer that has closed takes nothing", closedConsumer},
		{"the backlog rises and falls", backlog},
		{"a closed queue refuses", closedQueue},
		{"publishers keep their order through hand-overs", concurrent},
	} {
		t.Run(story.name, func(t *testing.T) {
			o := open(t)
			t.Cleanup(func() {
				if err := o.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			story.tell(t, o)
		})
	}
}

// Driver is a transfer.Queue but for its own type of consumer, since a driver does
// not import package transfer.
type Driver[C transfer.Consumer] interface {
	Publish(topic string, partition int, items []im.Pack, confirmed func(error))
	Backlog(topic string, partition int) int
	Ping(ctx context.Context) error
	Consume(ctx context.Context, topic string, partition int) (C, error)
}

// Of makes a driver a transfer.Queue.
func Of[C transfer.Consumer](driver Driver[C]) transfer.Queue { return queue[C]{driver} }

type queue[C transfer.Consumer] struct{ Driver[C] }

func (q queue[C]) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	consumer, err := q.Driver.Consume(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	return consumer, nil
}

// publish publishes bodies in one call and waits for the confirm.
func publish(t *testing.T, q transfer.Queue, topic string, partition int, bodies ...string) {
	t.Helper()
	confirmed := make(chan error, 1)
	q.Publish(topic, partition, packs(partition, bodies...), func(err error) { confirmed <- err })
	select {
	case err := <-confirmed:
		if err != nil {
			t.Fatalf("publish to %s.%d: %v", topic, partition, err)
		}
	case <-time.After(patience):
		t.Fatalf("publish to %s.%d: not confirmed", topic, partition)
	}
}

func packs(partition int, bodies ...string) []im.Pack {
	items := make([]im.Pack, len(bodies))
	for i, body := range bodies {
		items[i] = im.Pack{Partition: partition, Body: []byte(body)}
	}
	return items
}

func consume(t *testing.T, q transfer.Queue, topic string, partition int) transfer.Consumer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	consumer, err := q.Consume(ctx, topic, partition)
	if err != nil {
		t.Fatalf("consume %s.%d: %v", topic, partition, err)
	}
	return consumer
}

// receive takes exactly n items, in as many calls as it needs, acknowledging none.
func receive(t *testing.T, consumer transfer.Consumer, n int) []im.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []im.Delivery
	for len(all) < n {
		some, err := consumer.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("receive item %d of %d: %v", len(all)+1, n, err)
		}
		all = append(all, some...)
	}
	return all
}

// receiveAfter takes exactly n items of a new consumer; where the driver packs,
// numbered ones up to that were acknowledged before may come first, in order.
func receiveAfter(t *testing.T, o Opened, consumer transfer.Consumer, upto, n int) []im.Delivery {
	t.Helper()
	for before := 0; ; {
		d := receive(t, consumer, 1)[0]
		number, err := strconv.Atoi(string(d.Body))
		switch {
		case err != nil:
			t.Fatalf("body %q: %v", d.Body, err)
		case number > upto:
			return append([]im.Delivery{d}, receive(t, consumer, n-1)...)
		case !o.Packs || number <= before:
			t.Fatalf("item %d came again behind %d, which was acknowledged", number, before)
		}
		before = number
		ack(t, consumer, d)
	}
}

func ack(t *testing.T, consumer transfer.Consumer, d im.Delivery) {
	t.Helper()
	if err := consumer.Ack(d.Tag); err != nil {
		t.Fatalf("ack: %v", err)
	}
}

func shut(t *testing.T, consumer transfer.Consumer) {
	t.Helper()
	if err := consumer.Close(); err != nil {
		t.Fatalf("close the consumer: %v", err)
	}
}

// numbered returns the bodies "from" to "to", inclusive.
func numbered(from, to int) []string {
	var bodies []string
	for i := from; i <= to; i++ {
		bodies = append(bodies, fmt.Sprint(i))
	}
	return bodies
}

func expect(t *testing.T, got []im.Delivery, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d items, want %d", len(got), len(want))
	}
	for i, d := range got {
		if string(d.Body) != want[i] {
			t.Fatalf("item %d is %q, want %q", i, d.Body, want[i])
		}
		if i > 0 && d.Tag <= got[i-1].Tag {
			t.Fatalf("item %d has tag %d after %d", i, d.Tag, got[i-1].Tag)
		}
	}
}
