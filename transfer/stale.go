package transfer

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Receipts of a reader come from the owner of the reader's partition. One that was
// paused, and has been replaced meanwhile, may still publish what it had in hand
// when it wakes: it has no commit of its own that would show it the other owner.
// Its receipts are then below those that the other has issued, and marks never fall
// in an inbox. So who writes a receipt for another user compares it with the last
// one of its kind: the one that it has written, or, when it has written none yet,
// the mark that says what was issued. A lower one tells nothing that the higher one
// does not.

// receiptKey names the receipts of one kind, reader and conversation in one inbox.
type receiptKey struct {
	im.ReadKey // the reader's
	recipient  string
	kind       string
}

func keyOf(p *plannedEntry) (receiptKey, *imv1.ReceiptEvent) {
	r := p.envelope.GetReceipt()
	return receiptKey{
		ReadKey: im.ReadKey{UserID: r.GetReaderId(), ConversationID: r.GetConversationId()}, recipient: p.user.id, kind: r.GetKind(),
	}, r
}

// dropStale drops receipts of a batch below those that were written here, and leaves
// to the commit those of which nothing is known. With an outbox there is never a
// second owner.
func (b *inbox) dropStale(c *inboxCommit) {
	if b.outbox {
		return
	}
	inBatch := map[receiptKey]int64{}
	for i := range c.planned {
		p := &c.planned[i]
		key, receipt := keyOf(p)
		if receipt == nil {
			continue
		}
		last, known := inBatch[key]
		if !known {
			last, known = b.receipted[key]
		}
		if !known {
			c.unsure = append(c.unsure, i)
		}
		p.dropped = p.dropped || receipt.Upto < last
		inBatch[key] = max(last, receipt.Upto)
	}
}

// dropIssued drops those below the mark that says what was issued.
func (b *inbox) dropIssued(ctx context.Context, c *inboxCommit) error {
	if len(c.unsure) == 0 {
		return nil
	}
	keys := make([]im.ReadKey, len(c.unsure))
	for k, i := range c.unsure {
		key, _ := keyOf(&c.planned[i])
		keys[k] = key.ReadKey
	}
	marks, err := b.store.Marks(ctx, keys)
	if err != nil {
		return fmt.Errorf("load the marks of receipts: %w", err)
	}
	for k, i := range c.unsure {
		p := &c.planned[i]
		issued := marks[k].ReceiptedUpto
		if _, receipt := keyOf(p); receipt.Kind == receiptDelivered {
			issued = marks[k].DeliveredUpto
		}
		p.dropped = p.dropped || p.envelope.GetReceipt().Upto < issued
	}
	return nil
}

// noteReceipt remembers what was written.
func (b *inbox) noteReceipt(p *plannedEntry) {
	key, receipt := keyOf(p)
	if receipt == nil || b.outbox {
		return
	}
	if len(b.receipted) > maxInboxUsers {
		clear(b.receipted) // the marks know
	}
	b.receipted[key] = max(b.receipted[key], receipt.Upto)
}
