package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxInboxBatch bounds the queue items that are received at once.
const maxInboxBatch = 128

// inboxBatch is what was received together.
type inboxBatch struct {
	envelopes []*imv1.InboxEnvelope
	done      []im.PackRef
	from      Consumer // nil: nothing was received, cursors or receipts are due
	tag       uint64
	trace     *batchTrace
}

// reception is how receiving ended.
type reception struct {
	consumer Consumer // to be closed, when what was received has been acknowledged; nil = none
	err      error
}

// receive hands batches to the goroutine that owns the partition. When the consumer
// is lost, because the broker has gone, say, it becomes the consumer anew, and the
// partition is owned all the while: attaches, acks and heads need no queue. What was
// received and not acknowledged comes again, and is found in the inboxes. But with
// an outbox there is no such search, and the queue ends with the process.
func (b *inbox) receive(ctx context.Context, consumer Consumer, batches chan<- *inboxBatch) reception {
	for {
		err := b.receiveFrom(ctx, consumer, batches)
		if ctx.Err() != nil || b.outbox {
			return reception{consumer, err}
		}
		b.log.Warn("lost the consumer of a partition; taking it anew", "error", errors.Join(err, consumer.Close()))
		err = b.server.retry(ctx, b.log, func(context.Context) (err error) { // the queue may be away for long: no try is bounded
			consumer, err = b.server.queue.Consume(ctx, TopicInbox, b.partition)
			return err
		})
		if err != nil {
			return reception{err: fmt.Errorf("consume: %w", err)}
		}
		if err := b.stillOwned(ctx); err != nil {
			return reception{consumer, err}
		}
	}
}

// stillOwned asks the store whether another has taken the partition: while there was
// no consumer that may have happened without a commit to show it.
func (b *inbox) stillOwned(ctx context.Context) error {
	return b.server.retry(ctx, b.log, func(ctx context.Context) error {
		last, err := b.store.LastTerm(ctx, partitionName(TopicInbox, b.partition))
		switch {
		case err != nil:
			return fmt.Errorf("read the last term: %w", err)
		case last.Owner != b.server.config.ServerID:
			return errForeign
		}
		return nil
	})
}

// receiveFrom decodes packs ahead of the goroutine that owns the partition, until
// the consumer is lost.
func (b *inbox) receiveFrom(ctx context.Context, consumer Consumer, batches chan<- *inboxBatch) error {
	packs := &intake{consumer: consumer, items: maxInboxBatch, bytes: maxInboxBytes}
	for {
		deliveries, err := packs.next(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		batch, err := b.decode(ctx, deliveries)
		if err != nil {
			return err
		}
		im.CrashPoint(im.CrashPacksReceived)
		batch.from = consumer
		select {
		case batches <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decode opens the packs. What can not be decoded goes to the quarantine; what should
// have come before is added.
func (b *inbox) decode(ctx context.Context, deliveries []im.Delivery) (*inboxBatch, error) {
	batch := &inboxBatch{tag: deliveries[len(deliveries)-1].Tag}
	for _, d := range deliveries {
		envelopes, err := decodePack(d.Body)
		if err != nil {
			if err := b.server.quarantine(ctx, TopicInbox, b.partition, d.Body, err); err != nil {
				return nil, err
			}
		}
		batch.envelopes = append(batch.envelopes, envelopes...)
		if d.Ref != (im.PackRef{}) {
			batch.done = append(batch.done, d.Ref)
		}
	}
	var err error
	if batch.envelopes, err = b.heal(ctx, batch.envelopes); err != nil {
		return nil, err
	}
	batch.trace = b.traceBatch(batch.envelopes)
	return batch, nil
}

// decodePack opens a pack; all of its envelopes can become entries, or none is
// returned.
func decodePack(body []byte) ([]*imv1.InboxEnvelope, error) {
	pack := &imv1.InboxPack{}
	if err := pack.UnmarshalVT(body); err != nil {
		return nil, fmt.Errorf("decode a pack: %w", err)
	}
	for _, envelope := range pack.Envelopes {
		if envelope.GetRead() == nil && envelope.GetEvent() == nil && envelope.GetReceipt() == nil &&
			envelope.GetOwn().GetChange() == nil && envelope.GetContact() == nil {
			return nil, errors.New("decode a pack: an envelope without content")
		}
	}
	return pack.Envelopes, nil
}
