package transfer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// careless is a queue whose consumers of inboxes get what is ready in a wrong order,
// and some of it never.
type careless struct {
	transfer.Queue
	mu      sync.Mutex // guards dice
	dice    *rand.Rand
	turned  atomic.Int64 // batches in a wrong order
	dropped atomic.Int64 // items
}

type carelessConsumer struct {
	transfer.Consumer
	queue *careless
}

// Consume becomes the partition's consumer.
func (q *careless) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	inner, err := q.Queue.Consume(ctx, topic, partition)
	if err != nil || topic != transfer.TopicInbox {
		return inner, err
	}
	return &carelessConsumer{inner, q}, nil
}

// Receive harms what is received together.
func (c *carelessConsumer) Receive(ctx context.Context, limit int) ([]im.Delivery, error) {
	batch, err := c.Consumer.Receive(ctx, limit)
	if len(batch) < 2 {
		return batch, err
	}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	switch c.queue.dice.IntN(3) {
	case 0:
		c.queue.turn(batch)
	case 1:
		c.queue.drop(batch)
	}
	return batch, err
}

// turn puts the last first, which stands where the first was acknowledged.
func (q *careless) turn(batch []im.Delivery) {
	bodies := make([][]byte, len(batch))
	for i := range batch {
		bodies[i] = batch[i].Body
	}
	slices.Reverse(bodies)
	for i := range batch {
		batch[i].Body = bodies[i]
	}
	q.turned.Add(1)
}

// drop empties an item whose events are all followed by another of their conversation
// in the batch: what nothing follows nobody can miss. The first of a conversation is
// left, since a new owner begins with the first that it gets.
func (q *careless) drop(batch []im.Delivery) {
	last := map[string]int64{}
	for _, d := range batch {
		for _, e := range eventsOf(d.Body) {
			last[e.ConversationId] = max(last[e.ConversationId], e.Seq)
		}
	}
	for i := range batch {
		missed := func(e *imv1.Event) bool { return e.Seq == 1 || e.Seq == last[e.ConversationId] }
		if events := eventsOf(batch[i].Body); i > 0 && len(events) > 0 && !slices.ContainsFunc(events, missed) {
			batch[i].Body = nil
			q.dropped.Add(1)
			return
		}
	}
}

func eventsOf(body []byte) (events []*imv1.Event) {
	pack := &imv1.InboxPack{}
	if pack.UnmarshalVT(body) != nil {
		return nil
	}
	for _, envelope := range pack.Envelopes {
		if e := envelope.GetEvent(); e != nil {
			events = append(events, e)
		}
	}
	return events
}

// What a queue passes by, or brings too late, is taken from the store in its place.
func TestHolesAreHealed(t *testing.T) {
	turned, dropped := int64(0), int64(0)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			q := &careless{dice: rand.New(rand.NewPCG(seed, seed))}
			w := start(t, func(c *transfer.Config, w *world) {
				c.Prefetch = 2 // small batches of commands, so that their events are items of their own
				w.store = storetest.WithoutOutbox(w.db)
				q.Queue, w.queue = w.queue, q
			})
			sendThroughChaos(t, w)
			turned, dropped = turned+q.turned.Load(), dropped+q.dropped.Load()
		})
	}
	if turned == 0 || dropped == 0 {
		t.Errorf("%d batches turned and %d items dropped show nothing", turned, dropped)
	}
	t.Logf("%d batches turned, %d items dropped", turned, dropped)
}
