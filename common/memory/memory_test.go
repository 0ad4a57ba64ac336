package memory_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/registrytest"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ transfer.Registry = (*memory.Registry)(nil)
	_ http.Discovery    = (*memory.Registry)(nil)
	_ transfer.Consumer = (*memory.Consumer)(nil)
)

func TestQueueConforms(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queuetest.Opened {
		q := memory.NewQueue(queuetest.Prefetch,
			memory.Topic{Name: transfer.TopicConversation, Partitions: queuetest.Partitions, Bound: queuetest.Bound},
			memory.Topic{Name: transfer.TopicInbox, Partitions: queuetest.Partitions, Bound: queuetest.Bound})
		return queuetest.Opened{Queue: queuetest.Of(q), Close: q.Close}
	})
}

func TestRegistryConforms(t *testing.T) {
	registrytest.Run(t, func(*testing.T) registrytest.Opened {
		return registrytest.Opened{Registry: memory.NewRegistry()}
	})
}

// put publishes n items and returns what was confirmed, which must be at once.
func put(t testing.TB, q *memory.Queue, n int) error {
	t.Helper()
	answered := false
	var answer error
	q.Publish("t", 0, make([]im.Pack, n), func(err error) { answered, answer = true, err })
	if !answered {
		t.Fatal("not confirmed before Publish returned")
	}
	return answer
}

func TestConfirmsWaitWhileAPartitionIsAboveItsBound(t *testing.T) {
	q := memory.NewQueue(100, memory.Topic{Name: "t", Partitions: 1, Bound: 10})
	if err := put(t, q, 10); err != nil {
		t.Fatal(err)
	}
	confirmed := 0
	count := func(err error) {
		if err != nil {
			t.Errorf("confirm: %v", err)
		}
		confirmed++
	}
	for range 2 {
		q.Publish("t", 0, []im.Pack{{}}, count)
	}
	if n := q.Backlog("t", 0); n != 12 || confirmed != 0 {
		t.Fatalf("above the bound: %d items, %d confirms", n, confirmed)
	}
	c, err := q.Consume(t.Context(), "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Receive(t.Context(), 100)
	if err != nil || len(got) != 12 {
		t.Fatalf("received %d, %v", len(got), err)
	}
	for i, want := range []int{0, 2, 2} {
		if err := c.Ack(got[i].Tag); err != nil {
			t.Fatal(err)
		}
		if confirmed != want {
			t.Fatalf("%d confirms with %d items left, want %d", confirmed, q.Backlog("t", 0), want)
		}
	}
	refused := error(nil)
	q.Publish("t", 0, make([]im.Pack, 10), func(err error) { refused = err })
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if im.AsError(refused).Code != im.Unavailable {
		t.Errorf("a confirm that waited when the queue closed: %v", refused)
	}
}

func TestConfirmsWaitWhileAPartitionHoldsTooManyBytes(t *testing.T) {
	q := memory.NewQueue(100, memory.Topic{Name: "t", Partitions: 1, Bound: 100, Bytes: 10})
	confirmed := 0
	for range 3 {
		q.Publish("t", 0, []im.Pack{{Body: make([]byte, 5)}}, func(error) { confirmed++ })
	}
	if confirmed != 2 {
		t.Fatalf("%d of 3 confirmed, with 15 bytes waiting", confirmed)
	}
	c, err := q.Consume(t.Context(), "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Receive(t.Context(), 100)
	if err != nil || len(got) != 3 {
		t.Fatalf("received %d, %v", len(got), err)
	}
	if err := c.Ack(got[0].Tag); err != nil {
		t.Fatal(err)
	}
	if confirmed != 3 {
		t.Errorf("%d of 3 confirmed, with 10 bytes waiting", confirmed)
	}
}

func TestWrongUseIsAnswered(t *testing.T) {
	q := memory.NewQueue(1, memory.Topic{Name: "t", Partitions: 1, Bound: 10})
	for _, partition := range []int{-1, 1} {
		var answer error
		q.Publish("t", partition, nil, func(err error) { answer = err })
		if im.AsError(answer).Code != im.Unavailable {
			t.Fatalf("publish to partition %d: %v", partition, answer)
		}
		if _, err := q.Consume(t.Context(), "t", partition); err == nil {
			t.Fatalf("consumed partition %d", partition)
		}
		if n := q.Backlog("t", partition); n != 0 {
			t.Fatalf("backlog of partition %d is %d", partition, n)
		}
	}
	c, err := q.Consume(t.Context(), "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(1); err == nil {
		t.Fatal("acknowledged what was never received")
	}
}

// An item keeps its outbox reference, and its place while the ring grows and
// turns.
func TestTheRingKeepsItems(t *testing.T) {
	q := memory.NewQueue(50, memory.Topic{Name: "t", Partitions: 1, Bound: 100_000})
	c, err := q.Consume(t.Context(), "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	sent, due := int64(0), int64(0)
	for step := range 400 {
		items := make([]im.Pack, step%97)
		for i := range items {
			sent++
			items[i] = im.Pack{Body: fmt.Append(nil, sent), Ref: im.PackRef{Commit: sent, Partition: 3}}
		}
		q.Publish("t", 0, items, func(err error) {
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		})
		for range 2 {
			if due == sent {
				continue
			}
			got, err := c.Receive(t.Context(), 40)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range got {
				due++
				if !bytes.Equal(d.Body, fmt.Append(nil, due)) || d.Ref != (im.PackRef{Commit: due, Partition: 3}) {
					t.Fatalf("item %d is %q %+v", due, d.Body, d.Ref)
				}
			}
			if err := c.Ack(got[len(got)-1].Tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := int64(q.Backlog("t", 0)); got != sent-due {
		t.Fatalf("backlog %d, want %d", got, sent-due)
	}
}

func TestTheNextConsumerComesOnlyAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memory.NewQueue(1, memory.Topic{Name: "t", Partitions: 1, Bound: 10})
		first, err := q.Consume(t.Context(), "t", 0)
		if err != nil {
			t.Fatal(err)
		}
		taken := make(chan *memory.Consumer, 1)
		go func() {
			second, err := q.Consume(t.Context(), "t", 0)
			if err != nil {
				t.Errorf("consume: %v", err)
			}
			taken <- second
		}()
		synctest.Wait()
		select {
		case <-taken:
			t.Fatal("two consumers at a time")
		default:
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		<-taken
	})
}

func TestCloseFreesWhoWaitsToConsume(t *testing.T) {
	q := memory.NewQueue(1, memory.Topic{Name: "t", Partitions: 1, Bound: 10})
	if _, err := q.Consume(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := q.Consume(t.Context(), "t", 0)
		ended <- err
	}()
	for range 2 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil {
		t.Fatal("consumed a closed queue")
	}
}

func BenchmarkQueue(b *testing.B) {
	q := memory.NewQueue(256, memory.Topic{Name: "t", Partitions: 1, Bound: 1 << 20})
	c, err := q.Consume(b.Context(), "t", 0)
	if err != nil {
		b.Fatal(err)
	}
	one := []im.Pack{{Body: make([]byte, 300)}}
	confirmed := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	b.ReportAllocs()
	go func() {
		for range b.N {
			q.Publish("t", 0, one, confirmed)
		}
	}()
	for got := 0; got < b.N; {
		batch, err := c.Receive(b.Context(), 256)
		if err != nil {
			b.Fatal(err)
		}
		got += len(batch)
		if err := c.Ack(batch[len(batch)-1].Tag); err != nil {
			b.Fatal(err)
		}
	}
}
