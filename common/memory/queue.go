// Package memory is the in-process queue and registry: what `im all` runs on
// unless it is told otherwise. Nothing in it outlives the process; the store's
// outbox makes up for that.
package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/im-transfer/im"
)

// ErrClosed: the queue, or the consumer, has been closed.
var ErrClosed = errors.New("closed")

// retryAfter is what a refused publisher is asked to wait.
const retryAfter = time.Second

// Topic is one topic of a queue.
type Topic struct {
	Name       string
	Partitions int // numbered from 0
	Bound      int // items not yet acknowledged in one partition above which confirms wait; at least 1
	Bytes      int // of the same; 0 = as many as the items have
}

// Queue is an ordered, partitioned log in memory with one consumer at a time per
// partition. It has no goroutine of its own: a publisher wakes the consumer and
// confirms on its own stack. All methods are safe for concurrent use.
type Queue struct {
	topics  map[string][]*partition // fixed by NewQueue
	closing sync.Once
	done    chan struct{}
}

// NewQueue returns an empty queue whose consumers hold at most prefetch items
// unacknowledged.
func NewQueue(prefetch int, topics ...Topic) *Queue {
	q := &Queue{topics: make(map[string][]*partition, len(topics)), done: make(chan struct{})}
	for _, topic := range topics {
		partitions := make([]*partition, topic.Partitions)
		for i := range partitions {
			partitions[i] = &partition{bound: max(1, topic.Bound), bytesBound: cmp.Or(topic.Bytes, math.MaxInt), prefetch: max(1, prefetch)}
		}
		q.topics[topic.Name] = partitions
	}
	return q
}

// Publish appends items to a partition, all or none. It calls confirmed before it
// returns, unless that brings the partition above its bound: then only when it has
// fallen back to it, so that whoever waits for the confirm is held up, and nothing
// is refused that a store already counts on. A closed queue refuses with
// im.Unavailable. The queue keeps the bodies until they are acknowledged; nobody
// may change them.
func (q *Queue) Publish(topic string, number int, items []im.Pack, confirmed func(error)) {
	p, err := q.partition(topic, number)
	later := false
	if err == nil {
		later, err = p.append(items, confirmed)
	}
	if !later {
		confirmed(refusal(err))
	}
}

func refusal(err error) error {
	if err == nil {
		return nil
	}
	return im.Retry(im.Unavailable, retryAfter, err.Error())
}

// Backlog is how many items of a partition are not acknowledged yet.
func (q *Queue) Backlog(topic string, number int) int {
	p, err := q.partition(topic, number)
	if err != nil {
		return 0
	}
	return p.backlog()
}

// Ping returns nil: the queue is in this process.
func (q *Queue) Ping(context.Context) error { return nil }

// Consume becomes a partition's consumer. It waits until the former one has been
// closed.
func (q *Queue) Consume(ctx context.Context, topic string, number int) (*Consumer, error) {
	p, err := q.partition(topic, number)
	if err != nil {
		return nil, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("wait for the consumer of %s.%d: %w", topic, number, err)
		}
		consumer, occupied, err := p.consume()
		if err != nil || consumer != nil {
			return consumer, err
		}
		select {
		case <-occupied:
		case <-q.done:
		case <-ctx.Done():
		}
	}
}

// Close ends the queue with all that is in it: from now on publishers are refused
// and consumers get ErrClosed. A second call does nothing.
func (q *Queue) Close() error {
	q.closing.Do(func() {
		for _, partitions := range q.topics {
			for _, p := range partitions {
				p.close()
			}
		}
		close(q.done)
	})
	return nil
}

func (q *Queue) partition(topic string, number int) (*partition, error) {
	partitions := q.topics[topic]
	if number < 0 || number >= len(partitions) {
		return nil, fmt.Errorf("there is no partition %s.%d", topic, number)
	}
	return partitions[number], nil
}
