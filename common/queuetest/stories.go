package queuetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

func ordered(t *testing.T, o Opened) {
	for i := range 100 {
		publish(t, o.Queue, transfer.TopicConversation, 0, numbered(i*3, i*3+2)...)
	}
	consumer := consume(t, o.Queue, transfer.TopicConversation, 0)
	for i := range 100 {
		got := receive(t, consumer, 3)
		expect(t, got, numbered(i*3, i*3+2)...)
		ack(t, consumer, got[2])
	}
	nothing(t, consumer)
}

func separate(t *testing.T, o Opened) {
	for _, topic := range []string{transfer.TopicConversation, transfer.TopicInbox} {
		for partition := range Partitions {
			publish(t, o.Queue, topic, partition, topic+numbered(partition, partition)[0])
		}
	}
	for _, topic := range []string{transfer.TopicConversation, transfer.TopicInbox} {
		for partition := range Partitions {
			consumer := consume(t, o.Queue, topic, partition)
			expect(t, receive(t, consumer, 1), topic+numbered(partition, partition)[0])
			nothing(t, consumer)
			shut(t, consumer)
		}
	}
}

func publishNothing(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicInbox, 0)
	nothing(t, consume(t, o.Queue, transfer.TopicInbox, 0))
}

func woken(t *testing.T, o Opened) {
	consumer := consume(t, o.Queue, transfer.TopicInbox, 1)
	for i := range 20 {
		body := numbered(i, i)[0]
		got := make(chan []im.Delivery, 1)
		go func() {
			some, _ := consumer.Receive(t.Context(), 10)
			got <- some
		}()
		publish(t, o.Queue, transfer.TopicInbox, 1, body)
		select {
		case some := <-got:
			expect(t, some, body)
			ack(t, consumer, some[0])
		case <-time.After(patience):
			t.Fatal("the receiver still waits")
		}
	}
}

func limited(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicInbox, 0, numbered(1, 5)...)
	consumer := consume(t, o.Queue, transfer.TopicInbox, 0)
	for want := 1; want <= 5; want += 2 {
		some, err := consumer.Receive(t.Context(), 2)
		if err != nil || len(some) > 2 {
			t.Fatalf("asked for 2, got %d, %v", len(some), err)
		}
		if len(some) == 1 && want < 5 { // it need not wait until both are ready
			some = append(some, receive(t, consumer, 1)...)
		}
		expect(t, some, numbered(want, min(5, want+1))...)
	}
}

func prefetched(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicConversation, 3, numbered(1, 3*Prefetch)...)
	consumer := consume(t, o.Queue, transfer.TopicConversation, 3)
	got := receive(t, consumer, Prefetch)
	nothing(t, consumer)
	ack(t, consumer, got[1])
	expect(t, receive(t, consumer, 2), numbered(Prefetch+1, Prefetch+2)...)
	nothing(t, consumer)
	// A receiver that already waits is woken by the ack.
	more := make(chan int, 1)
	go func() {
		some, _ := consumer.Receive(t.Context(), 3*Prefetch)
		more <- len(some)
	}()
	ack(t, consumer, got[Prefetch-1])
	select {
	case n := <-more:
		if n < 1 || n > Prefetch-2 {
			t.Fatalf("got %d items where %d fit", n, Prefetch-2)
		}
	case <-time.After(patience):
		t.Fatal("the receiver still waits at the prefetch")
	}
}

func cumulative(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicInbox, 2, numbered(1, 6)...)
	first := consume(t, o.Queue, transfer.TopicInbox, 2)
	got := receive(t, first, 5)
	ack(t, first, got[3])
	shut(t, first)
	second := consume(t, o.another(), transfer.TopicInbox, 2)
	expect(t, receiveAfter(t, o, second, 4, 2), numbered(5, 6)...)
}

func handOver(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicInbox, 0, numbered(1, 10)...)
	for turn := range 10 {
		consumer := consume(t, o.another(), transfer.TopicInbox, 0)
		ready := min(Prefetch, 10-turn)
		got := receiveAfter(t, o, consumer, turn, ready)
		expect(t, got, numbered(turn+1, turn+ready)...)
		ack(t, consumer, got[0])
		shut(t, consumer)
	}
	nothing(t, consume(t, o.Queue, transfer.TopicInbox, 0))
}

func consumeCancelled(t *testing.T, o Opened) {
	first := consume(t, o.Queue, transfer.TopicInbox, 0)
	ctx, cancel := context.WithTimeout(t.Context(), pause)
	defer cancel()
	if _, err := o.another().Consume(ctx, transfer.TopicInbox, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("consume beside another: %v", err)
	}
	publish(t, o.Queue, transfer.TopicInbox, 0, "still mine")
	expect(t, receive(t, first, 1), "still mine")
	shut(t, first)
	// Who gave up waiting has not taken the partition later on.
	expect(t, receive(t, consume(t, o.another(), transfer.TopicInbox, 0), 1), "still mine")
}

func closedConsumer(t *testing.T, o Opened) {
	publish(t, o.Queue, transfer.TopicInbox, 0, numbered(1, 2)...)
	first := consume(t, o.Queue, transfer.TopicInbox, 0)
	got := receive(t, first, 1)
	shut(t, first)
	shut(t, first)
	if _, err := first.Receive(t.Context(), 1); err == nil {
		t.Fatal("a closed consumer received")
	}
	if err := first.Ack(got[0].Tag); err == nil {
		t.Fatal("a closed consumer acknowledged")
	}
	expect(t, receive(t, consume(t, o.Queue, transfer.TopicInbox, 0), 2), numbered(1, 2)...)
}

func backlog(t *testing.T, o Opened) {
	if n := o.Queue.Backlog(transfer.TopicConversation, 0); n != 0 {
		t.Fatalf("an empty partition has a backlog of %d", n)
	}
	publish(t, o.Queue, transfer.TopicConversation, 0, numbered(1, 200)...)
	eventually(t, "the backlog rises", func() bool { return o.Queue.Backlog(transfer.TopicConversation, 0) > 0 })
	consumer := consume(t, o.Queue, transfer.TopicConversation, 0)
	for range 200 {
		ack(t, consumer, receive(t, consumer, 1)[0])
	}
	eventually(t, "the backlog falls", func() bool { return o.Queue.Backlog(transfer.TopicConversation, 0) == 0 })
}

func closedQueue(t *testing.T, o Opened) {
	consumer := consume(t, o.Queue, transfer.TopicInbox, 0)
	ended := make(chan error, 1)
	go func() {
		_, err := consumer.Receive(t.Context(), 1)
		ended <- err
	}()
	if err := o.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("receive from a closed queue: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the receiver still waits")
	}
	confirmed := make(chan error, 1)
	o.Queue.Publish(transfer.TopicInbox, 0, packs(0, "late"), func(err error) { confirmed <- err })
	select {
	case err := <-confirmed:
		if e := im.AsError(err); err == nil || e.Code != im.Unavailable {
			t.Fatalf("publish to a closed queue: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("publish to a closed queue: not confirmed")
	}
	if _, err := o.Queue.Consume(t.Context(), transfer.TopicInbox, 1); err == nil {
		t.Fatal("a closed queue gave a consumer")
	}
}

// nothing looks for a while whether an item comes that must not.
func nothing(t *testing.T, consumer transfer.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pause)
	defer cancel()
	some, err := consumer.Receive(ctx, 1)
	if len(some) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		var bodies []string
		for _, d := range some {
			bodies = append(bodies, string(d.Body))
		}
		t.Fatalf("expected nothing, got %q, %v", strings.Join(bodies, " "), err)
	}
}

// eventually asks again until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so: %s", what)
		}
	}
}
