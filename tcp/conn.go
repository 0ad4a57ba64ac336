package tcp

import (
	"net"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
)

// conn reads frames under any split and any coalescing.
type conn struct {
	net    net.Conn
	reader *session.Reader
}

func newConn(c net.Conn, buffers *session.Buffers) *conn {
	return &conn{c, session.NewReader(c, buffers)}
}

// Read returns the next frame, header included. The header is judged before the
// body has come.
func (c *conn) Read() ([]byte, bool, error) {
	c.reader.Rest()
	head, err := c.reader.Peek(wire.HeaderBytes)
	if err != nil {
		return nil, false, err
	}
	header, err := wire.ParseHeader(head, im.MaxClientFrameBytes)
	if err != nil {
		return nil, false, err
	}
	frame, err := c.reader.Peek(header.Packet)
	c.reader.Skip(len(frame))
	return frame, false, err
}

// Seal adds nothing: frames stand back to back.
func (c *conn) Seal(batch []byte, _ int, _ bool) []byte { return batch }

// Goodbye adds nothing: the end of the stream says it.
func (c *conn) Goodbye(batch []byte, _ im.DisconnectCode) []byte { return batch }

// FirstForm is JSON.
func (c *conn) FirstForm() wire.Form { return wire.JSON }

// OnControl does nothing: there is no control traffic.
func (c *conn) OnControl(func([]byte)) {}

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.net }
