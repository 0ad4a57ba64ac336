package memory

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

// Consumer takes the items of one partition in order. One goroutine receives; Ack
// and Close may be called from others.
type Consumer struct {
	partition *partition
	wake      chan struct{} // holds one signal: look again
	gone      chan struct{} // closed by Close
}

// Receive waits for at least one item and returns at most limit that are ready,
// never more than the prefetch unacknowledged. ErrClosed: the consumer or the
// queue has been closed.
func (c *Consumer) Receive(ctx context.Context, limit int) ([]im.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		batch, err := c.partition.take(c, limit)
		if len(batch) > 0 || err != nil {
			return batch, err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// Ack acknowledges every item up to a tag; lower ones than before change nothing.
func (c *Consumer) Ack(tag uint64) error { return c.partition.ack(c, tag) }

// Close gives the partition up: what is not acknowledged goes to the next
// consumer, in order. A second call does nothing.
func (c *Consumer) Close() error {
	c.partition.release(c)
	return nil
}

// rouse makes a waiting Receive look again. It never blocks.
func (c *Consumer) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
