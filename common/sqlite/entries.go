package sqlite

import (
	"encoding/binary"
	"errors"

	"github.com/im-transfer/im"
)

// The entries of a block, one after the other:
//
//	byte     kind number | flags
//	16 bytes event id, unless it is that of the message id
//	varint   message id, as the difference to the entry before
//	uvarint  conversation key
//	uvarint  conversation seq
//	uvarint  length, and data; only with hasData
const (
	ownEventID = 0x40 // the event id is not im.EventIDOf(message id)
	hasData    = 0x80
	kindMask   = 0x3f
)

// appendEntries encodes a block; key gives the integer of a conversation.
func appendEntries(b []byte, entries []im.InboxEntry, key func(string) (int64, error)) ([]byte, error) {
	var message int64
	for i := range entries {
		e := &entries[i]
		head, err := kindNumber(e.Kind)
		if err != nil {
			return nil, err
		}
		conversation, err := key(e.ConversationID)
		if err != nil {
			return nil, err
		}
		own := e.EventID != im.EventIDOf(e.MessageID)
		if own {
			head |= ownEventID
		}
		if len(e.Data) > 0 {
			head |= hasData
		}
		b = append(b, head)
		if own {
			b = append(b, e.EventID[:]...)
		}
		b = binary.AppendVarint(b, e.MessageID-message)
		b = binary.AppendUvarint(b, uint64(conversation))      //nolint:gosec // keys are positive
		b = binary.AppendUvarint(b, uint64(e.ConversationSeq)) //nolint:gosec // a bit pattern
		if len(e.Data) > 0 {
			b = binary.AppendUvarint(b, uint64(len(e.Data)))
			b = append(b, e.Data...)
		}
		message = e.MessageID
	}
	return b, nil
}

var errMalformed = errors.New("malformed block")

// entryReader takes a block apart.
type entryReader struct {
	rest    []byte
	message int64
}

// next returns the next entry and its conversation's key; its data shares the
// block's memory.
func (r *entryReader) next() (e im.InboxEntry, conversation int64, err error) {
	if len(r.rest) == 0 {
		return e, 0, errMalformed
	}
	head := r.rest[0]
	r.rest = r.rest[1:]
	if e.Kind = kindOf(int64(head & kindMask)); e.Kind == "" {
		return e, 0, errMalformed
	}
	if head&ownEventID != 0 {
		if len(r.rest) < len(e.EventID) {
			return e, 0, errMalformed
		}
		r.rest = r.rest[copy(e.EventID[:], r.rest):]
	}
	difference, n := binary.Varint(r.rest)
	if n <= 0 {
		return e, 0, errMalformed
	}
	r.rest = r.rest[n:]
	r.message += difference
	e.MessageID = r.message
	if head&ownEventID == 0 {
		e.EventID = im.EventIDOf(e.MessageID)
	}
	key, seq := r.uvarint(), r.uvarint()
	if head&hasData != 0 {
		e.Data = r.bytes()
	}
	if r.rest == nil {
		return e, 0, errMalformed
	}
	e.ConversationSeq = int64(seq) //nolint:gosec // a bit pattern
	return e, int64(key), nil      //nolint:gosec // a bit pattern
}

// uvarint takes a number; rest is nil after a malformed one.
func (r *entryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.rest = nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *entryReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.rest = nil
		return nil
	}
	data := r.rest[:n:n]
	r.rest = r.rest[n:]
	return data
}

// readEntries decodes the n entries of a block; id names a conversation.
func readEntries(block []byte, n int64, id func(int64) (string, error)) ([]im.InboxEntry, error) {
	if n < 0 || n > int64(len(block)) {
		return nil, errMalformed
	}
	entries := make([]im.InboxEntry, n)
	reader := entryReader{rest: block}
	for i := range entries {
		var conversation int64
		var err error
		if entries[i], conversation, err = reader.next(); err != nil {
			return nil, err
		}
		if entries[i].ConversationID, err = id(conversation); err != nil {
			return nil, err
		}
	}
	if len(reader.rest) > 0 {
		return nil, errMalformed
	}
	return entries, nil
}
