package rabbitmq

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// measureEvery is how old the broker's part of a backlog may be.
const measureEvery = 500 * time.Millisecond

// measure asks the broker again and again how much waits in the partitions to which
// this process publishes. It asks on the connection that consumes, which a blocked
// broker still reads.
func (q *Queue) measure(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	var channel *amqp.Channel
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var asked []*partition
		for _, p := range q.all {
			if p.used.Swap(false) || p.depth.Load() > 0 {
				asked = append(asked, p)
			}
		}
		if len(asked) > 0 {
			channel = q.measureOnce(ctx, channel, asked)
		}
	}
}

// measureOnce returns the channel to use the next time, nil for a new one. A queue
// that somebody has deleted is declared again: what it held is lost, and its
// publishers have been told.
func (q *Queue) measureOnce(ctx context.Context, channel *amqp.Channel, asked []*partition) *amqp.Channel {
	conn, err := q.consuming.await(ctx, false)
	if err != nil {
		return nil
	}
	if channel == nil || channel.IsClosed() {
		if channel, err = conn.Channel(); err != nil {
			return nil
		}
	}
	for _, p := range asked {
		found, err := channel.QueueDeclarePassive(p.queue, true, false, false, false, nil)
		if err == nil {
			p.depth.Store(int64(found.Messages) * max(16, p.out.perPack.Load()) / 16)
			continue
		}
		p.used.Store(true) // ask again
		if code(err) == amqp.NotFound {
			q.config.Log.Error("a queue was deleted; declaring it again", "queue", p.queue)
			if err := q.declareAll(conn); err != nil {
				q.config.Log.Error("declare queues", "error", err)
			}
		}
		return nil
	}
	return channel
}
