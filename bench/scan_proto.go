package bench

import (
	"encoding/binary"

	"github.com/im-transfer/im/proto/wire"
)

// protoScanner reads the protobuf form. The numbers are those of client.proto.
type protoScanner struct{}

// field is one field of a protobuf message: a varint's value or the bytes of a
// length-delimited one.
type field struct {
	number int
	value  uint64
	bytes  []byte
}

// next takes the first field off a message; false at its end or where it is
// malformed.
func (f *field) next(data *[]byte) bool {
	tag, n := binary.Uvarint(*data)
	if n <= 0 {
		return false
	}
	rest := (*data)[n:]
	f.number, f.bytes = int(tag>>3), nil
	var width int
	switch tag & 7 {
	case 0:
		if f.value, width = binary.Uvarint(rest); width <= 0 {
			return false
		}
	case 1:
		width = 8
	case 5:
		width = 4
	case 2:
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return false
		}
		width = n + int(size)
		f.bytes = rest[n:width]
	default:
		return false
	}
	if width > len(rest) {
		return false
	}
	*data = rest[width:]
	return true
}

func (protoScanner) deliver(body []byte, do func(*entry)) error {
	var f field
	for f.next(&body) {
		if f.number != 1 {
			continue
		}
		var e entry
		if !e.scanProto(f.bytes) {
			return errBody
		}
		do(&e)
	}
	return whole(body)
}

func whole(rest []byte) error {
	if len(rest) > 0 {
		return errBody
	}
	return nil
}

func (e *entry) scanProto(data []byte) bool {
	var f field
	for f.next(&data) {
		ok := true
		switch f.number {
		case 1:
			e.seq = int64(f.value)
		case 2:
			e.kind = f.bytes
		case 5:
			ok = e.scanProtoMessage(f.bytes)
		case 6:
			ok = e.scanProtoReceipt(f.bytes)
		}
		if !ok {
			return false
		}
	}
	return len(data) == 0
}

func (e *entry) scanProtoMessage(data []byte) bool {
	var f field
	for f.next(&data) {
		switch f.number {
		case 1:
			e.messageID = int64(f.value)
		case 2:
			e.conversation = f.bytes
		case 4:
			e.conversationSeq = int64(f.value)
		case 5:
			e.sender = f.bytes
		case 6:
			if !e.scanProtoContent(f.bytes) {
				return false
			}
		case 9, 12, 13: // edited_at_ms, recalled, deleted
			e.edited = e.edited || f.value != 0
		}
	}
	return len(data) == 0
}

func (e *entry) scanProtoContent(data []byte) bool {
	var f field
	for f.next(&data) {
		if f.number == 2 {
			e.text = f.bytes
		}
	}
	return len(data) == 0
}

func (e *entry) scanProtoReceipt(data []byte) bool {
	var f field
	for f.next(&data) {
		switch f.number {
		case 1:
			e.conversation = f.bytes
		case 2:
			e.sender = f.bytes
		case 3:
			e.receiptKind = f.bytes
		case 4:
			e.upto = int64(f.value)
		}
	}
	return len(data) == 0
}

func (protoScanner) sendAck(body []byte, a *answer) error {
	var f field
	for f.next(&body) {
		switch f.number {
		case 1:
			a.clientID = f.bytes
		case 2:
			a.messageID = int64(f.value)
		case 3:
			a.conversation = f.bytes
		case 4:
			a.conversationSeq = int64(f.value)
		case 6:
			a.duplicate = f.value != 0
		}
	}
	return whole(body)
}

func (protoScanner) room(op wire.Op, body []byte, p *roomPart, do func(*entry)) error {
	set := p.setDeliver
	if op == wire.OpJoinReply {
		set = p.setJoin
	}
	var f field
	for f.next(&body) {
		message := set(&f)
		if message == nil {
			continue
		}
		var e entry
		if !e.scanProtoMessage(message) {
			return errBody
		}
		do(&e)
	}
	return whole(body)
}

// setDeliver takes a field of a room_deliver; a message is left to the caller.
func (p *roomPart) setDeliver(f *field) (message []byte) {
	switch f.number {
	case 2:
		p.after = int64(f.value)
	case 3:
		p.upto = int64(f.value)
	case 4:
		return f.bytes
	case 5:
		p.events++
	case 6:
		p.skipped = int(int32(f.value))
	}
	return nil
}

// setJoin takes a field of a join_reply, likewise.
func (p *roomPart) setJoin(f *field) (message []byte) {
	switch f.number {
	case 2:
		p.head = int64(f.value)
	case 4:
		p.upto = int64(f.value)
	case 5:
		return f.bytes
	case 6:
		p.events++
	case 7:
		p.hasMore = f.value != 0
	}
	return nil
}
