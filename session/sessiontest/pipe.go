package sessiontest

import (
	"net"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
)

// Pipe returns the two ends of a connection in memory that carries frames back
// to back. It lives in a synctest bubble.
func Pipe() (*PipeConn, Stream) {
	server, client := net.Pipe()
	return &PipeConn{server, session.NewReader(server, &session.Buffers{})}, Stream{Conn: client, Patience: time.Hour}
}

// PipeConn is the server's end.
type PipeConn struct {
	net    net.Conn
	reader *session.Reader
}

// Read returns the next frame.
func (c *PipeConn) Read() ([]byte, bool, error) {
	c.reader.Rest()
	head, err := c.reader.Peek(wire.HeaderBytes)
	if err != nil {
		return nil, false, err
	}
	h, err := wire.ParseHeader(head, im.MaxClientFrameBytes)
	if err != nil {
		return nil, false, err
	}
	frame, err := c.reader.Peek(h.Packet)
	c.reader.Skip(len(frame))
	return frame, false, err
}

// Seal adds nothing.
func (c *PipeConn) Seal(batch []byte, _ int, _ bool) []byte { return batch }

// Goodbye adds nothing.
func (c *PipeConn) Goodbye(batch []byte, _ im.DisconnectCode) []byte { return batch }

// FirstForm is JSON.
func (c *PipeConn) FirstForm() wire.Form { return wire.JSON }

// OnControl does nothing.
func (c *PipeConn) OnControl(func([]byte)) {}

// NetConn returns the connection beneath.
func (c *PipeConn) NetConn() net.Conn { return c.net }
