package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// Sizes of a connection's read buffer: it begins small, for connections that do
// nothing, and grows with what one read or one frame brings.
const (
	smallBuffer = 2 << 10
	busyBuffer  = 64 << 10
)

// writeTimeout bounds a write to a server that reads no more.
const writeTimeout = 10 * time.Second

// conn is one connection. Its reading side belongs to the session's goroutine; its
// writing side is under the device's mu.
type conn struct {
	nc        net.Conn
	form      wire.Form
	webSocket bool
	scan      scanner

	in        []byte // in[:held] is read and not yet handled
	held      int
	fragments []byte // of a WebSocket message that came in several frames

	out      []byte
	deadline time.Time
}

// dial connects to a ws://, wss://, tcp:// or tls:// URL, from a source address if
// one is given.
func dial(ctx context.Context, target *url.URL, source net.IP, form wire.Form) (*conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if source != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: source}
	}
	nc, err := dialer.DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if target.Scheme == "wss" || target.Scheme == "tls" {
		nc = tls.Client(nc, &tls.Config{ServerName: target.Hostname(), MinVersion: tls.VersionTLS12})
	}
	c := &conn{nc: nc, form: form, in: make([]byte, smallBuffer)}
	if c.webSocket = target.Scheme == "ws" || target.Scheme == "wss"; c.webSocket {
		if err := c.upgrade(target); err != nil {
			nc.Close()
			return nil, err
		}
	} else if form == wire.Text {
		c.form = wire.JSON
	}
	c.scan = scannerOf(c.form)
	return c, nil
}

func (c *conn) upgrade(target *url.URL) error {
	c.nc.SetDeadline(time.Now().Add(writeTimeout))
	behind, err := upgrade(c.nc, target)
	if err != nil {
		return err
	}
	c.in = append(behind, make([]byte, smallBuffer)...)
	c.held = len(behind)
	return c.nc.SetDeadline(time.Time{})
}

// read waits for more bytes.
func (c *conn) read() error {
	n, err := c.nc.Read(c.in[c.held:])
	c.held += n
	if n > 0 {
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

// frames hands on every whole frame that was read. The frames' bytes are valid
// only meanwhile.
func (c *conn) frames(handle func(wire.Frame) error) error {
	data, full, need := c.in[:c.held], c.held == len(c.in), 0
	for len(data) > 0 {
		rest, short, err := c.take(data, handle)
		if err != nil {
			return err
		}
		if need = short; need > 0 {
			break
		}
		data = rest
	}
	size := max(need, len(c.in))
	if full {
		size = max(size, min(2*len(c.in), busyBuffer))
	}
	if size > len(c.in) {
		grown := make([]byte, size)
		c.held = copy(grown, data)
		c.in = grown
		return nil
	}
	c.held = copy(c.in, data)
	return nil
}

// take hands on the first frame (or WebSocket message) of data, or says how many
// bytes it needs in all.
func (c *conn) take(data []byte, handle func(wire.Frame) error) (rest []byte, need int, err error) {
	if c.webSocket {
		m, rest, need, err := splitWebSocket(data, im.MaxServerFrameBytes)
		if err != nil || need > 0 {
			return nil, need, err
		}
		return rest, 0, c.message(m, handle)
	}
	if len(data) < wire.HeaderBytes {
		return nil, wire.HeaderBytes, nil
	}
	header, err := wire.ParseHeader(data, im.MaxServerFrameBytes)
	if err != nil {
		return nil, 0, fmt.Errorf("read a frame: %w", err)
	}
	if header.Packet > len(data) {
		return nil, header.Packet, nil
	}
	form, _ := header.Form()
	frame := wire.Frame{Form: form, Op: header.Op, Seq: header.Seq, Body: data[header.Length:header.Packet]}
	return data[header.Packet:], 0, c.checked(frame, handle)
}

func (c *conn) checked(frame wire.Frame, handle func(wire.Frame) error) error {
	if frame.Form != c.form {
		return errors.New("the server answered in another form")
	}
	return handle(frame)
}

// message handles one frame of a WebSocket stream.
func (c *conn) message(m webSocketMessage, handle func(wire.Frame) error) error {
	switch m.opcode {
	case opcodeClose:
		return io.EOF
	case opcodePing:
		c.out = appendWebSocketHeader(c.out, opcodePong, len(m.payload))
		c.out = append(c.out, m.payload...)
		return nil
	case opcodePong:
		return nil
	}
	if !m.final || m.opcode == opcodeContinuation {
		c.fragments = append(c.fragments, m.payload...)
		if !m.final {
			return nil
		}
		m.payload, c.fragments = c.fragments, nil
	}
	if c.form == wire.Text {
		frame, err := scanText(m.payload)
		if err != nil {
			return err
		}
		return handle(frame)
	}
	for data := m.payload; len(data) > 0; {
		frame, rest, err := wire.Split(data, im.MaxServerFrameBytes)
		if err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		if err := c.checked(frame, handle); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

// put queues a frame with a body that is encoded when it is sent.
func (c *conn) put(op wire.Op, sequence int32, body wire.Body) error {
	frame, err := wire.AppendMessage(nil, c.form, op, sequence, body)
	if err != nil {
		return err
	}
	if c.webSocket {
		c.out = appendWebSocketHeader(c.out, webSocketOpcode(c.form), len(frame))
	}
	c.out = append(c.out, frame...)
	return nil
}

// flush writes what is queued. A failed write is noticed by the reader.
func (c *conn) flush(now time.Time) {
	if len(c.out) == 0 {
		return
	}
	if c.deadline.Sub(now) < writeTimeout/2 {
		c.deadline = now.Add(writeTimeout)
		c.nc.SetWriteDeadline(c.deadline)
	}
	if _, err := c.nc.Write(c.out); err != nil {
		c.nc.Close()
	}
	if c.out = c.out[:0]; cap(c.out) > 4*busyBuffer {
		c.out = nil
	}
}
