package sessiontest

import (
	"io"
	"net"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// Pipe returns the two ends of a connection in memory that carries frames back
// to back. It lives in a synctest bubble.
func Pipe() (*PipeConn, Stream) {
	server, client := net.Pipe()
	return &PipeConn{net: server}, Stream{Conn: client, Patience: time.Hour}
}

// PipeConn is the server's end.
type PipeConn struct {
	net   net.Conn
	frame []byte
}

// Read returns the next frame.
func (c *PipeConn) Read() ([]byte, bool, error) {
	head := make([]byte, wire.HeaderBytes)
	if _, err := io.ReadFull(c.net, head); err != nil {
		return nil, false, err
	}
	h, err := wire.ParseHeader(head, im.MaxClientFrameBytes)
	if err != nil {
		return nil, false, err
	}
	c.frame = append(make([]byte, 0, h.Packet), head...)[:h.Packet]
	_, err = io.ReadFull(c.net, c.frame[wire.HeaderBytes:])
	return c.frame, false, err
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
