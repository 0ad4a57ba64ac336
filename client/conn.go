package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// maxBatch bounds what is written at once: a WebSocket message, which may hold
// several frames, must not be larger than a frame may be.
const maxBatch = im.MaxClientFrameBytes

// conn is a connection that carries frames. One goroutine reads, another writes.
// Close makes both return.
type conn interface {
	// read returns the next frame. Its body is good until the next call.
	read() (wire.Frame, error)
	// write writes whole frames of at most maxBatch bytes; ends are where each
	// ends.
	write(frames []byte, ends []int) error
	close()
}

// dial opens a connection to a URL within the context.
func (c *Config) dial(ctx context.Context, target string) (conn, error) {
	address, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	switch address.Scheme {
	case "tcp", "tls":
		return c.dialTCP(ctx, address)
	case "ws", "wss":
		return c.dialWebSocket(ctx, target)
	}
	return nil, fmt.Errorf("dial %s: unknown scheme", target)
}

func (c *Config) dialTCP(ctx context.Context, address *url.URL) (conn, error) {
	network, err := c.Dial(ctx, "tcp", address.Host)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	config := c.TLS
	if config == nil && address.Scheme == "tls" {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config != nil {
		secured := tls.Client(network, withName(config, address.Hostname()))
		if err := secured.HandshakeContext(ctx); err != nil {
			network.Close()
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		network = secured
	}
	return &tcpConn{Conn: network, reader: bufio.NewReaderSize(network, 16<<10)}, nil
}

func withName(config *tls.Config, name string) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	named := config.Clone()
	named.ServerName = name
	return named
}

func (c *Config) dialWebSocket(ctx context.Context, target string) (conn, error) {
	dialer := websocket.Dialer{NetDialContext: c.Dial, TLSClientConfig: c.TLS}
	socket, response, err := dialer.DialContext(ctx, target, nil) //nolint:bodyclose // gorilla reads it whole
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	socket.SetReadLimit(im.MaxServerFrameBytes)
	return &socketConn{socket: socket, form: c.Form}, nil
}

// tcpConn is frames back to back.
type tcpConn struct {
	net.Conn
	reader *bufio.Reader
	buffer []byte
}

func (t *tcpConn) read() (wire.Frame, error) {
	length, err := t.reader.Peek(4)
	if err != nil {
		return wire.Frame{}, err
	}
	packet := int(binary.BigEndian.Uint32(length))
	if packet < wire.HeaderBytes || packet > im.MaxServerFrameBytes {
		return wire.Frame{}, wire.ErrFraming
	}
	if cap(t.buffer) < packet {
		t.buffer = make([]byte, packet)
	}
	t.buffer = t.buffer[:packet]
	if _, err := io.ReadFull(t.reader, t.buffer); err != nil {
		return wire.Frame{}, err
	}
	frame, _, err := wire.Split(t.buffer, im.MaxServerFrameBytes)
	return frame, err
}

func (t *tcpConn) write(frames []byte, _ []int) error {
	_, err := t.Write(frames)
	return err
}

func (t *tcpConn) close() { t.Close() }

// socketConn is WebSocket messages: text ones are one frame each, binary ones
// hold one or more.
type socketConn struct {
	socket *websocket.Conn
	form   wire.Form
	rest   []byte // of the binary message being read
}

func (s *socketConn) read() (wire.Frame, error) {
	if len(s.rest) == 0 {
		kind, message, err := s.socket.ReadMessage()
		if err != nil {
			return wire.Frame{}, closeReason(err)
		}
		if kind == websocket.TextMessage {
			return wire.ParseText(message)
		}
		s.rest = message
	}
	frame, rest, err := wire.Split(s.rest, im.MaxServerFrameBytes)
	s.rest = rest
	return frame, err
}

func (s *socketConn) write(frames []byte, ends []int) error {
	if s.form != wire.Text {
		return s.socket.WriteMessage(websocket.BinaryMessage, frames)
	}
	start := 0
	for _, end := range ends {
		if err := s.socket.WriteMessage(websocket.TextMessage, frames[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func (s *socketConn) close() { s.socket.Close() }

// closeReason makes the disconnect of a close code 4000 + n, which tells the
// reason even where the disconnect frame got lost.
func closeReason(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code <= 4000 || closed.Code > 4020 {
		return err
	}
	end := &EndError{Reason: closed.Text, reconnect: closed.Code > 4010}
	for _, row := range im.DisconnectCodes {
		if row.Number == closed.Code-4000 {
			end.Code = row.Code
		}
	}
	return end
}
