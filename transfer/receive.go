package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxInboxBatch bounds the queue items of one commit.
const maxInboxBatch = 128

// inboxBatch is what was received together.
type inboxBatch struct {
	envelopes []*imv1.InboxEnvelope
	done      []im.PackRef
	tag       uint64 // 0: nothing was received, cursors or receipts are due
	trace     *batchTrace
}

// receive decodes packs ahead of the goroutine that owns the partition.
func (b *inbox) receive(ctx context.Context, consumer Consumer, batches chan<- *inboxBatch) error {
	for {
		deliveries, err := consumer.Receive(ctx, maxInboxBatch)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		batch, err := b.decode(ctx, deliveries)
		if err != nil {
			return err
		}
		select {
		case batches <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decode opens the packs. What can not be decoded goes to the quarantine.
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
		if envelope.GetRead() == nil && envelope.GetEvent() == nil && envelope.GetReceipt() == nil {
			return nil, errors.New("decode a pack: an envelope without content")
		}
	}
	return pack.Envelopes, nil
}
