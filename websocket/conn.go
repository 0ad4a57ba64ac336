package websocket

import (
	"net"
	"slices"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
)

// closeBase and a disconnect code's number are the close code.
const closeBase = 4000

// conn reads and seals messages. gorilla's Conn, which does the same, costs an
// idle connection twice the memory of all the rest, on its stack above all, and
// writes each message by itself.
type conn struct {
	net       net.Conn
	reader    *session.Reader
	answer    func(sealed []byte)
	fragments *fragments // of a message that is not whole yet; nil = none
	agent     string     // what the client's User-Agent said, until it is asked for
}

func newConn(c net.Conn, buffers *session.Buffers, agent string) *conn {
	return &conn{net: c, reader: session.NewReader(c, buffers), agent: strings.Clone(agent)}
}

// UserAgent returns what the client said it is. It is forgotten then: an idle connection
// keeps nothing that it does not need.
func (c *conn) UserAgent() string {
	agent := c.agent
	c.agent = ""
	return agent
}

// Read returns the next data message, answering control frames on the way.
func (c *conn) Read() ([]byte, bool, error) {
	c.reader.Rest()
	for {
		f, err := c.next()
		switch {
		case err != nil:
			return nil, false, err
		case f.opcode >= websocket.CloseMessage:
			if err := c.control(f); err != nil {
				return nil, false, err
			}
		default:
			message, text, err := c.join(f)
			if message != nil || err != nil {
				return message, text, err
			}
		}
	}
}

// next reads a frame and takes its mask off.
func (c *conn) next() (frame, error) {
	head, err := c.reader.Peek(2)
	if err != nil {
		return frame{}, err
	}
	bytes, err := headBytes(head)
	if err != nil {
		return frame{}, err
	}
	if head, err = c.reader.Peek(bytes); err != nil {
		return frame{}, err
	}
	f, err := parseHead(head)
	if err != nil {
		return frame{}, err
	}
	whole, err := c.reader.Peek(bytes + f.length)
	if err != nil {
		return frame{}, err
	}
	c.reader.Skip(len(whole))
	f.payload = whole[bytes:]
	unmask(f.payload, whole[bytes-maskBytes:bytes])
	return f, nil
}

// control answers a ping and a close. Neither is a frame of the protocol, so
// neither keeps a session alive.
func (c *conn) control(f frame) error {
	switch f.opcode {
	case websocket.PingMessage:
		c.answer(seal(slices.Clone(f.payload), 0, websocket.PongMessage))
	case websocket.CloseMessage:
		if len(f.payload) == 1 {
			return wire.ErrFraming
		}
		c.answer(seal(slices.Clone(f.payload[:min(len(f.payload), 2)]), 0, websocket.CloseMessage))
		return net.ErrClosed
	}
	return nil
}

// fragments is a message that comes in several frames.
type fragments struct {
	text bool
	data []byte
}

// join returns a message that is whole; nil while it is not.
func (c *conn) join(f frame) ([]byte, bool, error) {
	begins := f.opcode != continuation
	if begins != (c.fragments == nil) {
		return nil, false, wire.ErrFraming
	}
	if begins && f.final {
		return f.payload, f.opcode == websocket.TextMessage, nil
	}
	if begins {
		c.fragments = &fragments{text: f.opcode == websocket.TextMessage}
	}
	whole := c.fragments
	if len(whole.data)+len(f.payload) > im.MaxClientFrameBytes {
		return nil, false, wire.ErrFraming
	}
	whole.data = append(whole.data, f.payload...)
	if !f.final {
		return nil, false, nil
	}
	c.fragments = nil
	return slices.Grow(whole.data, 1), whole.text, nil // not nil even if empty
}

// Seal puts a WebSocket frame's header in front of batch[start:].
func (c *conn) Seal(batch []byte, start int, text bool) []byte {
	if text {
		return seal(batch, start, websocket.TextMessage)
	}
	return seal(batch, start, websocket.BinaryMessage)
}

// Goodbye appends a close frame with 4000 + n and the code's name.
func (c *conn) Goodbye(batch []byte, code im.DisconnectCode) []byte {
	start := len(batch)
	batch = append(batch, websocket.FormatCloseMessage(closeBase+code.Number(), string(code))...)
	return seal(batch, start, websocket.CloseMessage)
}

// FirstForm is text.
func (c *conn) FirstForm() wire.Form { return wire.Text }

// OnControl takes the way for answers to control frames.
func (c *conn) OnControl(answer func([]byte)) { c.answer = answer }

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.net }
