package rabbitmq

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/im-transfer/im"
)

// An AMQP message carries items back to back:
//
//	byte     format, 1
//	item*    uvarint  length of the body
//	         uvarint  commit of the pack's ref, 0 = none
//	         uvarint  partition of the ref; only if there is a commit
//	         bytes    body
const (
	format     = 1
	itemExtra  = 3 * binary.MaxVarintLen64 // most that an item adds to its body
	maxPerPack = 256                       // items of a message, and at most the prefetch
)

var errFrame = errors.New("no items of format 1")

func appendItem(to []byte, item *im.Pack) []byte {
	to = binary.AppendUvarint(to, uint64(len(item.Body)))
	to = binary.AppendUvarint(to, uint64(item.Ref.Commit)) //nolint:gosec // read back as it was
	if item.Ref.Commit != 0 {
		to = binary.AppendUvarint(to, uint64(item.Ref.Partition)) //nolint:gosec // not negative
	}
	return append(to, item.Body...)
}

// unpack returns the items of a message, at least one, whose bodies lie within it.
func unpack(message []byte) ([]im.Delivery, error) {
	if len(message) < 2 || message[0] != format {
		return nil, errFrame
	}
	var items []im.Delivery
	for rest := message[1:]; len(rest) > 0; {
		var item im.Delivery
		var ok bool
		if item, rest, ok = cutItem(rest); !ok {
			return nil, errFrame
		}
		items = append(items, item)
	}
	return items, nil
}

func cutItem(from []byte) (item im.Delivery, rest []byte, ok bool) {
	size, from, ok1 := cutUvarint(from)
	commit, from, ok2 := cutUvarint(from)
	partition, ok3 := uint64(0), true
	if commit != 0 {
		partition, from, ok3 = cutUvarint(from)
	}
	if !ok1 || !ok2 || !ok3 || size > uint64(len(from)) || partition > math.MaxInt32 {
		return item, nil, false
	}
	item.Body = from[:size:size]
	item.Ref = im.PackRef{Commit: int64(commit), Partition: int(partition)} //nolint:gosec // as it was written
	return item, from[size:], true
}

func cutUvarint(from []byte) (value uint64, rest []byte, ok bool) {
	value, n := binary.Uvarint(from)
	if n <= 0 {
		return 0, nil, false
	}
	return value, from[n:], true
}
