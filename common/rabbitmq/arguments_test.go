package rabbitmq_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/rabbitmq"
)

func channel(t *testing.T, uri string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestAQueueWithOtherArgumentsIsRefused(t *testing.T) {
	uri := broker(t)
	for name, extra := range map[string]amqp.Table{
		"a delivery limit":           {"x-delivery-limit": int32(5)},
		"a dead-letter exchange":     {"x-dead-letter-exchange": "amq.fanout"},
		"no single active consumer":  {"x-single-active-consumer": false},
		"a length at which it drops": {"x-max-length": int32(5)},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(uri)
			arguments := amqp.Table{"x-queue-type": "quorum", "x-single-active-consumer": true}
			for key, value := range extra {
				arguments[key] = value
			}
			ch := channel(t, uri)
			queue := c.Prefix + topic + ".2"
			if _, err := ch.QueueDeclare(queue, true, false, false, false, arguments); err != nil {
				t.Fatal(err)
			}
			defer ch.QueueDelete(queue, false, false, false) //nolint:errcheck // of a test

			if q, err := rabbitmq.Open(t.Context(), c); !errors.Is(err, rabbitmq.ErrArguments) {
				if err == nil {
					q.Close()
				}
				t.Fatalf("open: %v", err)
			}
		})
	}
}

// What no queue takes is refused; the queue is declared again.
func TestAReturnedMessageIsAFailure(t *testing.T) {
	uri := broker(t)
	c := config(uri)
	q := open(t, c)
	if err := put(t, q, 0, "before"); err != nil {
		t.Fatal(err)
	}
	if _, err := channel(t, uri).QueueDelete(c.Prefix+topic+".0", false, false, false); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	if err := put(t, q, 0, "nowhere"); im.AsError(err).Code != im.Unavailable {
		t.Fatalf("publish to a queue that is gone: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Fatalf("the answer took %s: not from the broker", took)
	}

	eventually(t, "the queue is declared again", func() bool { return put(t, q, 0, "after") == nil })
	if d := take(t, consume(t, q, 0), 1); string(d[0].Body) != "after" {
		t.Fatalf("got %q", d[0].Body)
	}
}

// A consumer that dies with all that it may hold leaves it to the next, in order.
func TestDeathWithAFullPrefetch(t *testing.T) {
	c := config(broker(t))
	q, dying := open(t, c), open(t, c)
	first := consume(t, dying, 0)
	for i := range 30 {
		if err := put(t, q, 0, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	take(t, first, c.Prefetch)

	if err := dying.Close(); err != nil { // cuts the connection
		t.Fatal(err)
	}

	for i, d := range take(t, consume(t, q, 0), c.Prefetch) {
		if string(d.Body) != fmt.Sprint(i) {
			t.Fatalf("item %d is %q", i, d.Body)
		}
	}
}

// With few messages on their way at a time, everything else goes into packs. A pack of
// which not all is acknowledged comes again whole; what follows it is not lost.
func TestPacks(t *testing.T) {
	c := config(broker(t))
	c.Window, c.Prefetch = 20, 100
	const n = 1000
	q := open(t, c)
	answers := make(chan error, n)
	for i := range n {
		q.Publish(topic, 0, []im.Pack{{Body: fmt.Append(nil, i), Ref: im.PackRef{Commit: int64(i), Partition: i % 7}}},
			func(err error) { answers <- err })
	}
	for range n {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	state, err := channel(t, c.URIs[0]).QueueDeclarePassive(c.Prefix+topic+".0", true, false, false, false, nil)
	if err != nil || state.Messages == 0 || state.Messages > n/4 {
		t.Fatalf("%d items are in %d messages, %v", n, state.Messages, err)
	}

	due, again := 0, 0
	for turns := 0; due < n; turns++ {
		consumer := consume(t, q, 0)
		next := -1
		for received := 0; received < 250 && next < n; received++ {
			d := take(t, consumer, 1)[0]
			var i int
			if _, err := fmt.Sscan(string(d.Body), &i); err != nil {
				t.Fatal(err)
			}
			if next < 0 {
				again += due - i
				if i > due {
					t.Fatalf("item %d comes first where %d is due", i, due)
				}
			} else if i != next {
				t.Fatalf("item %d where %d is due", i, next)
			}
			if d.Ref != (im.PackRef{Commit: int64(i), Partition: i % 7}) && i > 0 {
				t.Fatalf("item %d has ref %+v", i, d.Ref)
			}
			if err := consumer.Ack(d.Tag); err != nil {
				t.Fatal(err)
			}
			next = i + 1
			due = max(due, next)
		}
		if err := consumer.Close(); err != nil {
			t.Fatal(err)
		}
		if turns > n/100 {
			t.Fatal("no progress")
		}
	}
	t.Logf("%d messages; %d acknowledged items came again", state.Messages, again)
}

func TestTooMuchIsRefusedAtOnce(t *testing.T) {
	c := config(broker(t))
	c.MaxWaiting = 1000
	q := open(t, c)
	refused := make(chan error, 1)
	q.Publish(topic, 0, []im.Pack{{Body: make([]byte, 1001)}}, func(err error) { refused <- err })
	select {
	case err := <-refused:
		if im.AsError(err).Code != im.Unavailable {
			t.Fatalf("refused with %v", err)
		}
	default:
		t.Fatal("not answered at once")
	}
	if err := put(t, q, 0, "fits"); err != nil {
		t.Fatal(err)
	}
}
