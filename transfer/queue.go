package transfer

import (
	"context"

	"github.com/im-transfer/im"
)

// The topics of the queue. A topic's partitions are numbered from 0.
const (
	TopicConversation = "conversation"
	TopicInbox        = "inbox"
)

// InboxBacklogBytes is how much waits for an inbox partition, about, before a queue in
// the process holds its publishers up: what one commit takes. More would only be older
// when it is delivered, and senders would be acknowledged faster than that.
const InboxBacklogBytes = maxInboxBytes

// Queue is an ordered, partitioned, durable log with one consumer at a time per
// partition, at least once.
type Queue interface {
	// Publish appends bodies to a partition. It returns at once; confirmed is
	// called exactly once, from any goroutine and perhaps from within Publish,
	// so the caller holds no lock that confirmed takes: with nil when all of them
	// are durable, with an im.Unavailable error when that is not known (they may
	// still arrive). Bodies published one call after the other stay in that
	// order. confirmed must not block. The bodies are the queue's from then on.
	Publish(topic string, partition int, items []im.Pack, confirmed func(error))
	// Backlog is how many items of a partition are waiting, as far as this
	// process knows; a bound for accept.
	Backlog(topic string, partition int) int
	// Ping returns nil as soon as the queue can be reached, or the context's error.
	Ping(ctx context.Context) error
	// Consume becomes the partition's consumer. It waits until the former one
	// has gone.
	Consume(ctx context.Context, topic string, partition int) (Consumer, error)
}

// Consumer takes the items of one partition in order. Items that were received
// and not acknowledged come again, in order, to the next consumer; with them may
// come acknowledged ones, where the driver carries several items as one.
type Consumer interface {
	// Receive waits for at least one item and returns at most max that are
	// ready, but never more than the prefetch unacknowledged. An error other
	// than the context's means that the partition is lost to this consumer.
	Receive(ctx context.Context, max int) ([]im.Delivery, error)
	// Ack acknowledges every item up to a tag. It does not wait.
	Ack(tag uint64) error
	// Close gives the partition up.
	Close() error
}
