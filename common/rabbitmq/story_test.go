package rabbitmq_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/transfer"
)

const topic = transfer.TopicInbox

// patience bounds every wait of these tests.
const patience = time.Minute

// put publishes one item and waits for the answer.
func put(t *testing.T, q *rabbitmq.Queue, partition int, body string) error {
	t.Helper()
	answer := make(chan error, 1)
	q.Publish(topic, partition, []im.Pack{{Body: []byte(body)}}, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		t.Fatal("not answered")
		return nil
	}
}

func consume(t *testing.T, q *rabbitmq.Queue, partition int) *rabbitmq.Consumer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := q.Consume(ctx, topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func take(t *testing.T, c *rabbitmq.Consumer, n int) []im.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []im.Delivery
	for len(all) < n {
		some, err := c.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("receive item %d of %d: %v", len(all)+1, n, err)
		}
		all = append(all, some...)
	}
	return all
}

// eventually asks again until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
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

// stream publishes numbered items to a partition, a bounded number of them
// unanswered, until it is stopped, and notes which ones are confirmed.
type stream struct {
	room chan struct{}
	stop chan struct{}
	done sync.WaitGroup

	mu        sync.Mutex
	sent      int
	confirmed map[int]bool
	refused   int
	slowest   time.Duration // from a publish to its answer
}

// The time between two items of a stream. As fast as it can a stream keeps all
// processors busy, with nothing but itself.
const (
	asFastAsItCan = 0
	steadily      = 500 * time.Microsecond
)

func startStream(q *rabbitmq.Queue, partition int, every time.Duration) *stream {
	s := &stream{room: make(chan struct{}, 500), stop: make(chan struct{}), confirmed: map[int]bool{}}
	s.done.Go(func() {
		pace := time.NewTicker(max(every, time.Nanosecond))
		defer pace.Stop()
		for i := 0; ; i++ {
			if every > 0 {
				<-pace.C
			}
			select {
			case s.room <- struct{}{}:
			case <-s.stop:
				return
			}
			select {
			case <-s.stop:
				return
			default:
			}
			s.mu.Lock()
			s.sent++
			s.mu.Unlock()
			began := time.Now()
			s.done.Add(1)
			q.Publish(topic, partition, []im.Pack{{Body: fmt.Append(nil, i)}}, func(err error) { s.answer(i, err, time.Since(began)) })
		}
	})
	return s
}

func (s *stream) answer(i int, err error, took time.Duration) {
	defer s.done.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, took)
	if err == nil {
		s.confirmed[i] = true
	} else {
		s.refused++
	}
	<-s.room
}

func (s *stream) confirms() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.confirmed)
}

// grows waits until n more items are confirmed.
func (s *stream) grows(t *testing.T, n int) {
	t.Helper()
	goal := s.confirms() + n
	eventually(t, "publishing goes on", func() bool { return s.confirms() >= goal })
}

// end stops publishing and waits for the answers.
func (s *stream) end() {
	close(s.stop)
	s.done.Wait()
}

// judge consumes everything: repeats dropped, the items come in order, and none is
// missing that was confirmed.
func (s *stream) judge(t *testing.T, q *rabbitmq.Queue, partition int) {
	t.Helper()
	last := -1
	for _, c := range s.confirmedInOrder() {
		last = max(last, c)
	}
	consumer := consume(t, q, partition)
	defer consumer.Close()
	seen := map[int]bool{}
	highest, repeats := -1, 0
	for highest < last {
		batch := take(t, consumer, 1)
		var i int
		if _, err := fmt.Sscan(string(batch[0].Body), &i); err != nil {
			t.Fatalf("item %q: %v", batch[0].Body, err)
		}
		switch {
		case seen[i]:
			repeats++
		case i < highest:
			t.Fatalf("partition %d: item %d comes after %d", partition, i, highest)
		}
		seen[i], highest = true, max(highest, i)
		if err := consumer.Ack(batch[0].Tag); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.confirmed {
		if !seen[i] {
			t.Fatalf("partition %d: item %d was confirmed and is lost", partition, i)
		}
	}
	t.Logf("partition %d: %d sent, %d confirmed, %d refused, %d came twice, slowest answer %s",
		partition, s.sent, len(s.confirmed), s.refused, repeats, s.slowest.Round(time.Millisecond))
}

func (s *stream) confirmedInOrder() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int
	for i := range s.confirmed {
		all = append(all, i)
	}
	return all
}
