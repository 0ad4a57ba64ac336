package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// firstSequence is added to a message's number to give the sequence of its frame:
// so it has ten digits in every form, and its place can be patched. It bounds the
// messages of a device to a thousand million.
const firstSequence = 1_000_000_000

// frameTemplate is a send frame, framing included, in which the places that differ from
// message to message are known.
type frameTemplate struct {
	frame    []byte
	sequence int // place of the header's sequence, or of ten digits
	digits   bool
	clientID int // place of the number within
	after    int // as clientID; 0 = names no predecessor
	text     int
	size     int // of the text
}

// newFrameTemplate encodes a send to a user. WebSocket framing is put around it if
// asked for.
func newFrameTemplate(form wire.Form, webSocket bool, clientID []byte, to *imv1.To, text string, named bool) (*frameTemplate, error) {
	send := &imv1.Send{ClientMsgId: string(clientID), To: to, Content: &imv1.Content{Type: "text", Text: text}}
	after := bytes.Clone(clientID)
	if named {
		copy(after, "ffffffff") // to find its place by; then as clientID
		send.After = string(after)
	}
	frame, err := wire.AppendMessage(nil, form, wire.OpSend, firstSequence, send)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	t := &frameTemplate{digits: form == wire.Text, sequence: 12, size: len(text)}
	header := 0
	if webSocket {
		framed := appendWebSocketHeader(nil, webSocketOpcode(form), len(frame))
		header = len(framed)
		frame = append(framed, frame...)
	}
	t.sequence += header
	if t.digits {
		t.sequence = bytes.Index(frame, []byte("1000000000"))
	}
	t.clientID = bytes.Index(frame, clientID) + clientIDNumber
	t.text = bytes.Index(frame, []byte(text))
	if named {
		place := bytes.Index(frame, after)
		copy(frame[place:], clientID)
		t.after = place + clientIDNumber
	}
	t.frame = frame
	return t, nil
}

// append appends the frame of one message and returns with it the hash that the
// message is to be recognised by.
func (t *frameTemplate) append(dst []byte, number, after uint32, at time.Duration, sender string) ([]byte, uint32) {
	base := len(dst)
	dst = append(dst, t.frame...)
	frame := dst[base:]
	if sequence := firstSequence + number; t.digits {
		putDigits(frame[t.sequence:t.sequence+10], sequence)
	} else {
		binary.BigEndian.PutUint32(frame[t.sequence:], sequence)
	}
	putHex(frame[t.clientID:t.clientID+8], uint64(number))
	if t.after != 0 {
		putHex(frame[t.after:t.after+8], uint64(after))
	}
	text := frame[t.text : t.text+t.size]
	putHex(text[tagNumber:tagNumber+8], uint64(number))
	putHex(text[tagTime:tagTime+16], uint64(at))
	return dst, check.Hash(sender, text)
}

func putDigits(dst []byte, v uint32) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
}
