package websocket

import (
	"encoding/binary"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// A frame of RFC 6455, section 5.2:
//
//	[1B final 0x80 | reserved 0x70 | opcode 0x0f]
//	[1B masked 0x80 | length < 126, or 126, or 127]
//	[0, 2 or 8B length][4B mask, from clients only][payload]
const (
	finalBit     = 0x80
	reservedBits = 0x70
	opcodeBits   = 0x0f
	maskedBit    = 0x80
	lengthBits   = 0x7f
	length16     = 126 // the length is in the next 2 bytes
	length64     = 127 // the length is in the next 8 bytes
	maskBytes    = 4
	maxControl   = 125 // bytes of a control frame's payload
	continuation = 0
)

// frame is one frame from a client, its mask taken off.
type frame struct {
	final   bool
	opcode  byte
	length  int
	payload []byte
}

// headBytes judges the first two bytes and returns how long the header is, mask
// included.
func headBytes(head []byte) (int, error) {
	opcode, length := head[0]&opcodeBits, head[1]&lengthBits
	control := opcode >= websocket.CloseMessage
	known := opcode <= websocket.BinaryMessage || control && opcode <= websocket.PongMessage
	switch {
	case !known, head[0]&reservedBits != 0, head[1]&maskedBit == 0:
		return 0, wire.ErrFraming
	case control && (head[0]&finalBit == 0 || length > maxControl):
		return 0, wire.ErrFraming
	case length == length16:
		return 2 + 2 + maskBytes, nil
	case length == length64:
		return 2 + 8 + maskBytes, nil
	}
	return 2 + maskBytes, nil
}

// parseHead reads a whole header; wire.ErrFraming for a payload that is larger
// than any message may be.
func parseHead(head []byte) (frame, error) {
	length := uint64(head[1] & lengthBits)
	switch length {
	case length16:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case length64:
		length = binary.BigEndian.Uint64(head[2:])
	}
	if length > im.MaxClientFrameBytes {
		return frame{}, wire.ErrFraming
	}
	return frame{final: head[0]&finalBit != 0, opcode: head[0] & opcodeBits, length: int(length)}, nil
}

// unmask takes a mask off a payload, eight bytes at a time.
func unmask(payload, mask []byte) {
	m := uint64(binary.LittleEndian.Uint32(mask))
	m |= m << 32
	for ; len(payload) >= 8; payload = payload[8:] {
		binary.LittleEndian.PutUint64(payload, binary.LittleEndian.Uint64(payload)^m)
	}
	for i := range payload {
		payload[i] ^= byte(m >> (8 * i)) //nolint:gosec // one byte of it
	}
}

// seal puts the header of a final frame in front of batch[start:].
func seal(batch []byte, start int, opcode byte) []byte {
	var space [10]byte
	head := append(space[:0], finalBit|opcode)
	switch n := len(batch) - start; {
	case n < length16:
		head = append(head, byte(n)) //nolint:gosec // below 126
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, length16), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, length64), uint64(n))
	}
	batch = append(batch, head...)
	copy(batch[start+len(head):], batch[start:])
	copy(batch[start:], head)
	return batch
}
