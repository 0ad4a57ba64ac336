package client

import (
	"context"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im/proto/wire"
)

// bareWrite bounds a write of a Conn to a server that reads no more.
const bareWrite = 10 * time.Second

// Conn is a bare connection to a websocket or tcp server: it carries frames, and
// knows of no login, heartbeat or retry. It is for programs that test a server; all
// others want a Client. One goroutine reads, another one writes; the rest may be
// called by any.
type Conn struct {
	conn    conn
	network net.Conn
	form    wire.Form
}

// Dial connects to a ws://, wss://, tcp:// or tls:// URL within the context. The form is
// that of all frames, in both directions; wire.Text is for WebSocket alone.
func Dial(ctx context.Context, target string, form wire.Form) (*Conn, error) {
	c := &Conn{form: form}
	config := Config{Form: form, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		c.network, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return c.network, err
	}}
	var err error
	if c.conn, err = config.dial(ctx, target); err != nil {
		return nil, err
	}
	return c, nil
}

// Form returns the form that frames have.
func (c *Conn) Form() wire.Form { return c.form }

// Read returns the next frame. Its body is good until the next call. An error ends
// the connection: where the server closed it with a reason, an *EndError.
func (c *Conn) Read() (wire.Frame, error) { return c.conn.read() }

// Write writes one frame, within 10 s; an error ends the connection.
func (c *Conn) Write(op wire.Op, sequence int32, body wire.Body) error {
	var b batch
	if ok, err := b.add(c.form, op, sequence, body); !ok {
		return err
	}
	late := time.AfterFunc(bareWrite, func() { c.network.Close() })
	defer late.Stop()
	return c.conn.write(b.bytes, b.ends)
}

// Close ends the connection as the transport has it, with what was written before.
func (c *Conn) Close() {
	if socket, is := c.conn.(*socketConn); is {
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = socket.socket.WriteControl(websocket.CloseMessage, bye, time.Now().Add(bareWrite)) // who is gone needs no goodbye
	}
	c.conn.close()
}

// Reset ends the connection as a network that breaks does: the server is told
// nothing, and what was written and has not left yet never does.
func (c *Conn) Reset() {
	if socket, is := c.network.(*net.TCPConn); is {
		_ = socket.SetLinger(0) // fails only where the connection has ended
	}
	c.network.Close()
}
