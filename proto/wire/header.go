package wire

import (
	"encoding/binary"
	"errors"
)

// HeaderBytes is the length of the header that this package writes.
//
//	[4B packet length, header + body]
//	[2B header length, 16; what is beyond 16 is skipped]
//	[2B version, the Form]
//	[4B operation]
//	[4B sequence]
//
// all signed, big-endian; the body follows.
const HeaderBytes = 16

// What ParseHeader and Split answer to a frame that ends the connection.
var (
	// ErrFraming: the lengths can not be trusted; nothing after it can be read.
	ErrFraming = errors.New("malformed frame")
	// ErrVersion: the frame is whole but its version is 1 or unknown.
	ErrVersion = errors.New("unsupported version")
)

// Header is a frame's header.
type Header struct {
	Packet  int // bytes of the whole frame
	Length  int // bytes of the header
	Version int16
	Op      Op
	Seq     int32
}

// Form returns the form that the version names; false for one not spoken.
func (h *Header) Form() (Form, bool) {
	form := Form(h.Version) //nolint:gosec // compared below
	return form, h.Version == int16(Proto) || h.Version == int16(JSON)
}

// ParseHeader reads the first HeaderBytes bytes of a frame. limit is the largest
// frame allowed, in bytes, header included. ErrFraming for lengths that can not
// be, then ErrVersion; with the latter the header is valid otherwise.
func ParseHeader(data []byte, limit int) (Header, error) {
	if len(data) < HeaderBytes {
		return Header{}, ErrFraming
	}
	h := Header{
		Packet:  int(int32(binary.BigEndian.Uint32(data))),     //nolint:gosec // signed on the wire
		Length:  int(int16(binary.BigEndian.Uint16(data[4:]))), //nolint:gosec // signed on the wire
		Version: int16(binary.BigEndian.Uint16(data[6:])),      //nolint:gosec // signed on the wire
		Op:      Op(binary.BigEndian.Uint32(data[8:])),         //nolint:gosec // signed on the wire
		Seq:     int32(binary.BigEndian.Uint32(data[12:])),     //nolint:gosec // signed on the wire
	}
	if h.Length < HeaderBytes || h.Packet < h.Length || h.Packet > limit {
		return Header{}, ErrFraming
	}
	if _, ok := h.Form(); !ok {
		return h, ErrVersion
	}
	return h, nil
}

// AppendHeader appends the header of a frame whose body has so many bytes.
func AppendHeader(dst []byte, form Form, op Op, seq int32, body int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(HeaderBytes+body)) //nolint:gosec // bounded by max_frame
	dst = binary.BigEndian.AppendUint16(dst, HeaderBytes)
	dst = binary.BigEndian.AppendUint16(dst, uint16(form))
	dst = binary.BigEndian.AppendUint32(dst, uint32(op))   //nolint:gosec // a bit pattern
	return binary.BigEndian.AppendUint32(dst, uint32(seq)) //nolint:gosec // a bit pattern
}

// patchLength sets the packet length of the frame that begins at start and ends
// with the slice.
func patchLength(dst []byte, start int) {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start)) //nolint:gosec // bounded by max_frame
}

// Frame is one operation as it came, its body still encoded. Body is a part of
// the bytes that were parsed.
type Frame struct {
	Form Form
	Op   Op
	Seq  int32
	Body []byte
}

// Split takes the first frame off a run of whole frames (a WebSocket binary
// message, a TCP frame). ErrFraming where the lengths are wrong, a partial frame
// is left or there is nothing; ErrVersion as ParseHeader.
func Split(data []byte, limit int) (Frame, []byte, error) {
	h, err := ParseHeader(data, limit)
	if h.Packet > len(data) {
		return Frame{}, nil, ErrFraming
	}
	if err != nil {
		return Frame{}, nil, err
	}
	form, _ := h.Form()
	return Frame{form, h.Op, h.Seq, data[h.Length:h.Packet:h.Packet]}, data[h.Packet:], nil
}
