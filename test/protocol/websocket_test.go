package protocol

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// The opcodes of WebSocket.
const (
	wsContinuation = 0x0
	wsTextMessage  = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xa
)

// upgrade asks for a WebSocket and returns the answer's status.
func upgrade(conn net.Conn, in *bufio.Reader, host, origin string) (int, error) {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return 0, err
	}
	request := "GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key[:]) + "\r\n"
	if origin != "" {
		request += "Origin: " + origin + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, nil
}

// wsFrame is a WebSocket frame of a client, masked as those must be.
func wsFrame(opcode byte, final bool, payload []byte) []byte {
	if final {
		opcode |= 0x80
	}
	frame := []byte{opcode}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	return frame
}

// readFrame reads a WebSocket frame of the server: never masked, never a part.
func readFrame(in io.Reader) (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a frame begins with % x", head)
	}
	size := uint64(head[1])
	if size >= 126 {
		long := make([]byte, 2+6*(size-126))
		if _, err := io.ReadFull(in, long); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(append(make([]byte, 8-len(long)), long...))
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(in, payload)
	return head[0] & 0xf, payload, err
}

// Pages may connect from the http server's own origin alone by default, which has its
// port and the name that the client reached us by; what is no page says nothing of
// an origin.
func testOrigins(t *testing.T, w *world) {
	_, port, err := net.SplitHostPort(w.app.Addresses["http.listen"])
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		origin string
		status int
	}{
		{"", 101}, {"http://im.example:" + port, 101}, {"https://IM.example:" + port, 101},
		{"http://example.org", 403}, {"null", 403}, {"http://im.example", 403}, {"http://im.example:1", 403},
		{"http://im.example:" + port + ".example.org", 403}, {"http://evil.example:" + port, 403},
	} {
		conn := dial(t, w.app.Addresses["websocket.listen"])
		status, err := upgrade(conn, bufio.NewReader(conn), "im.example", row.origin)
		if err != nil || status != row.status {
			t.Errorf("origin %q: %d, %v; want %d", row.origin, status, err, row.status)
		}
		conn.Close()
	}
}

// A client's close is answered by one, before auth and after it.
func testAClientCloses(t *testing.T, w *world) {
	for _, auth := range []bool{false, true} {
		c := w.connect(t, wsText())
		if auth {
			c.auth(w.someone(t), "")
		}
		c.raw(wsFrame(wsClose, true, []byte{0x03, 0xe8})) // 1000
		c.ended()
		if c.closed != 1000 {
			t.Errorf("answered with %d", c.closed)
		}
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}
