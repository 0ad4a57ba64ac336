package websocket

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/session"
)

// script is a connection that has said something and then ends.
type script struct {
	net.Conn
	said *bytes.Reader
}

func (s script) Read(b []byte) (int, error) { return s.said.Read(b) }

// Whatever comes, reading ends without a panic, and no message is too large.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x81, 0x82, 1, 2, 3, 4, '{' ^ 1, '}' ^ 2})
	f.Add([]byte{0x01, 0x80, 0, 0, 0, 0, 0x80, 0x81, 0, 0, 0, 0, 7})
	f.Add([]byte{0x89, 0x80, 0, 0, 0, 0, 0x88, 0x80, 0, 0, 0, 0})
	f.Add([]byte{0x82, 0xfe, 1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var buffers session.Buffers
		c := newConn(script{said: bytes.NewReader(data)}, &buffers, "")
		c.OnControl(func([]byte) {})
		for {
			message, _, err := c.Read()
			if err != nil {
				return
			}
			if len(message) > im.MaxClientFrameBytes {
				t.Fatalf("a message of %d bytes", len(message))
			}
		}
	})
}

// halting is a connection whose read deadline passes before every byte.
type halting struct {
	net.Conn
	said []byte
	wait bool
}

func (h *halting) Read(b []byte) (int, error) {
	if h.wait = !h.wait; h.wait {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b[:1], h.said)
	h.said = h.said[n:]
	return n, nil
}

// A deadline that passes in the middle of a message, of a fragment or of a ping
// between two, loses nothing of it.
func TestReadGoesOnAfterADeadline(t *testing.T) {
	var buffers session.Buffers
	c := newConn(&halting{said: []byte{
		0x01, 0x81, 0, 0, 0, 0, 'a', // a text begins
		0x89, 0x81, 0, 0, 0, 0, 'p', // a ping
		0x80, 0x82, 1, 2, 3, 4, 'b' ^ 1, 'c' ^ 2, // the text ends
	}}, &buffers, "")
	pongs := 0
	c.OnControl(func([]byte) { pongs++ })
	for {
		message, text, err := c.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil || string(message) != "abc" || !text || pongs != 1 {
			t.Errorf("read %q, text %t, %d pongs, error %v", message, text, pongs, err)
		}
		return
	}
}

// What is sealed here, gorilla reads.
func TestSeal(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		want := bytes.Repeat([]byte{'x'}, size)
		batch := seal(append([]byte("before"), want...), len("before"), websocket.TextMessage)
		got := readWithGorilla(t, batch[len("before"):])
		if !bytes.Equal(got, want) || string(batch[:6]) != "before" {
			t.Errorf("%d bytes: read %d", size, len(got))
		}
	}
}

// readWithGorilla has a client of gorilla's read what follows an upgrade.
func readWithGorilla(t *testing.T, data []byte) []byte {
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.NetConn().Write(data) //nolint:errcheck // the reader will tell
	}))
	defer server.Close()
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, message, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return message
}
