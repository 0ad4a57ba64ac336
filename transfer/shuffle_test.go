package transfer_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	"github.com/im-transfer/im/transfer"
)

// shuffled is a queue that promises its publishers no order: of what is published to
// the inboxes and not confirmed yet it takes any, and refuses some of it, before or
// after it is in. One goroutine, deal, does that.
type shuffled struct {
	transfer.Queue
	dice *rand.Rand

	mu   sync.Mutex // guards what follows
	open []func()
	wake chan struct{} // holds one signal: something is open
	most int           // open at once
}

// Publish leaves what is for the inboxes to deal.
func (s *shuffled) Publish(topic string, partition int, items []im.Pack, confirmed func(error)) {
	if topic != transfer.TopicInbox {
		s.Queue.Publish(topic, partition, items, confirmed)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unsure := im.Retry(im.Unavailable, time.Millisecond, "made to fail by the test")
	fate := s.dice.IntN(10)
	s.open = append(s.open, func() {
		switch fate {
		case 0:
			confirmed(unsure)
		case 1:
			s.Queue.Publish(topic, partition, items, func(error) { confirmed(unsure) })
		default:
			s.Queue.Publish(topic, partition, items, confirmed)
		}
	})
	s.most = max(s.most, len(s.open))
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// slow is how long a publish is open: long enough for a publisher that does not wait
// for its confirm to have the next one open too.
const slow = 3 * time.Millisecond

// deal takes what is open, the newest first, until done is closed.
func (s *shuffled) deal(done <-chan struct{}) {
	for {
		select {
		case <-s.wake:
		case <-done:
			return
		}
		select {
		case <-time.After(slow):
		case <-done:
			return
		}
		for take := s.last(); take != nil; take = s.last() {
			take()
		}
	}
}

func (s *shuffled) last() (take func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.open); n > 0 {
		take, s.open = s.open[n-1], s.open[:n-1]
	}
	return take
}

// The order of a conversation in the inboxes does not rest on that of a channel: of
// its events nothing is published before what precedes it is confirmed.
func TestTheInboxesNeedNoOrderOfAChannel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			done := make(chan struct{})
			var dealing sync.WaitGroup
			t.Cleanup(func() { close(done); dealing.Wait() }) // after the server has stopped
			q := &shuffled{dice: rand.New(rand.NewPCG(seed, seed)), wake: make(chan struct{}, 1)}
			w := start(t, func(c *transfer.Config, w *world) {
				c.Prefetch = 2 // small batches, so that there are many
				w.store = storetest.WithoutOutbox(w.db)
				q.Queue, w.queue = w.queue, q
				dealing.Go(func() { q.deal(done) })
			})
			sendThroughChaos(t, w)
			if q.most < 2 {
				t.Error("never were two publishes open at once, so that nothing was shuffled")
			}
		})
	}
}
