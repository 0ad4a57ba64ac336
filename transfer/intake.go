package transfer

import (
	"context"

	"github.com/im-transfer/im"
)

// What the items of one batch hold, about: an item is a pack, so their number
// bounds neither a transaction nor what a commit has to push. With batches as long
// as the queue, all partitions wait for the same transaction of seconds, and the
// pushes that follow it at once are more than may wait for a gateway. That of an
// inbox is larger, for a message goes into two inboxes or more, and these must not
// fall behind the conversations.
const (
	maxSequenceBytes = 128 << 10
	maxInboxBytes    = 512 << 10
)

// intake hands the items of a consumer out in batches. One goroutine uses it.
type intake struct {
	consumer Consumer
	items    int           // received at once, at most
	bytes    int           // of a batch, about; an item that is larger is one by itself
	waiting  []im.Delivery // received and not handed out
	share    int           // bytes of a batch of these, so that all are of about one size
}

// next waits until there are items and returns a batch of them, in order.
func (i *intake) next(ctx context.Context) ([]im.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(i.waiting) == 0 {
		received, err := i.consumer.Receive(ctx, i.items)
		if err != nil {
			return nil, err
		}
		i.waiting, i.share = received, evenShare(received, i.bytes)
	}
	n := 0
	for bytes := 0; n < len(i.waiting) && bytes < i.share; n++ {
		bytes += max(1, len(i.waiting[n].Body))
	}
	batch := i.waiting[:n:n]
	i.waiting = i.waiting[n:]
	return batch, nil
}

// evenShare is what each batch takes of items when none takes more than bytes.
func evenShare(items []im.Delivery, bytes int) int {
	total := 0
	for _, item := range items {
		total += max(1, len(item.Body))
	}
	batches := (total + bytes - 1) / bytes
	return (total + batches - 1) / batches
}
