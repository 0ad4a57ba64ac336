package sessiontest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// Patience is how long a client waits for anything.
const Patience = 10 * time.Second

// Wire is the client's end of a connection, as a transport has it.
type Wire interface {
	// Write sends a message: on TCP any bytes.
	Write(data []byte, text bool) error
	// Read returns the next message: on TCP one frame.
	Read() (data []byte, text bool, err error)
	// Close closes the connection.
	Close() error
}

// Client speaks the protocol in one form.
type Client struct {
	T       testing.TB
	Wire    Wire
	Form    wire.Form
	pending []Received
}

// Received is a frame from the server.
type Received struct {
	wire.Frame
	Err error // the connection has ended
}

// String is the frame's op and seq, and for errors and disconnects the code.
func (r Received) String() string {
	if r.Err != nil {
		return "closed"
	}
	out := fmt.Sprintf("%s %d", r.Op, r.Seq)
	var e imv1.Error
	if r.Op == wire.OpError && wire.Unmarshal(r.Form, r.Body, &e) == nil {
		out += " " + e.Code
	}
	var d imv1.Disconnect
	if r.Op == wire.OpDisconnect && wire.Unmarshal(r.Form, r.Body, &d) == nil {
		out += " " + d.Code
	}
	return out
}

// Encode returns a frame of the client's form.
func (c *Client) Encode(op wire.Op, seq int32, body wire.Body) []byte {
	data, err := wire.AppendMessage(nil, c.Form, op, seq, body)
	if err != nil {
		c.T.Fatal(err)
	}
	return data
}

// Send sends a frame.
func (c *Client) Send(op wire.Op, seq int32, body wire.Body) {
	c.T.Helper()
	c.Raw(c.Encode(op, seq, body))
}

// Raw sends a message of any content, as the form's kind of message.
func (c *Client) Raw(data []byte) {
	c.T.Helper()
	if err := c.Wire.Write(data, c.Form == wire.Text); err != nil {
		c.T.Logf("write: %v", err) // the server may have ended it
	}
}

// Next waits for a frame or the end.
func (c *Client) Next() Received {
	c.T.Helper()
	for len(c.pending) == 0 {
		data, text, err := c.Wire.Read()
		if err != nil {
			return Received{Err: err}
		}
		c.take(data, text)
	}
	r := c.pending[0]
	c.pending = c.pending[1:]
	return r
}

func (c *Client) take(data []byte, text bool) {
	if text {
		frame, err := wire.ParseText(data)
		if err != nil {
			c.T.Fatalf("server sent %q: %v", data, err)
		}
		c.pending = append(c.pending, Received{Frame: frame})
		return
	}
	for len(data) > 0 {
		frame, rest, err := wire.Split(data, 1<<20)
		if err != nil {
			c.T.Fatalf("server sent %x: %v", data, err)
		}
		c.pending = append(c.pending, Received{Frame: frame})
		data = rest
	}
}

// Expect waits for a frame that reads like this and decodes its body.
func (c *Client) Expect(want string, into wire.Body) {
	c.T.Helper()
	r := c.Next()
	if got := r.String(); got != want {
		c.T.Fatalf("received %q (%s), want %q", got, r.Body, want)
	}
	if into != nil {
		if err := wire.Unmarshal(r.Form, r.Body, into); err != nil {
			c.T.Fatal(err)
		}
	}
}

// Login authenticates and returns the reply.
func (c *Client) Login(user, device string) *imv1.AuthReply {
	c.T.Helper()
	return c.Auth(&imv1.Auth{Token: Token(user, device, "web", 0), DeviceId: device, Platform: "web"})
}

// Auth authenticates with seq 1.
func (c *Client) Auth(auth *imv1.Auth) *imv1.AuthReply {
	c.T.Helper()
	c.Send(wire.OpAuth, 1, auth)
	var reply imv1.AuthReply
	c.Expect("auth_reply 1", &reply)
	return &reply
}

// Entries waits for so many delivered entries and checks that they are
// contiguous from first on. Other frames fail the test.
func (c *Client) Entries(first int64, n int) []*imv1.Entry {
	c.T.Helper()
	var entries []*imv1.Entry
	for len(entries) < n {
		var d imv1.Deliver
		c.Expect("deliver 0", &d)
		if len(d.Entries) == 0 {
			c.T.Fatal("a deliver frame is empty")
		}
		entries = append(entries, d.Entries...)
	}
	for i, e := range entries {
		if e.Seq != first+int64(i) {
			c.T.Fatalf("entry %d has seq %d, want %d", i, e.Seq, first+int64(i))
		}
	}
	if len(entries) > n {
		c.T.Fatalf("%d entries delivered, want %d", len(entries), n)
	}
	return entries
}

// Transcript reads until the connection ends and returns what came, a line each.
func (c *Client) Transcript() string {
	c.T.Helper()
	var lines []string
	for {
		r := c.Next()
		lines = append(lines, r.String())
		if r.Err != nil {
			return strings.Join(lines, "\n")
		}
	}
}

// Stream is the Wire of frames back to back.
type Stream struct {
	net.Conn
	Patience time.Duration // of a Read; 0 = Patience
}

// Write writes bytes.
func (s Stream) Write(data []byte, _ bool) error {
	_, err := s.Conn.Write(data)
	return err
}

// Read reads one frame.
func (s Stream) Read() ([]byte, bool, error) {
	s.SetReadDeadline(time.Now().Add(max(s.Patience, Patience)))
	head := make([]byte, wire.HeaderBytes)
	if _, err := io.ReadFull(s.Conn, head); err != nil {
		return nil, false, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head))
	copy(frame, head)
	_, err := io.ReadFull(s.Conn, frame[wire.HeaderBytes:])
	return frame, false, err
}

// Dribble is a connection whose writes go out a byte at a time.
type Dribble struct{ net.Conn }

// Write writes each byte by itself.
func (d Dribble) Write(data []byte) (int, error) {
	for i := range data {
		if _, err := d.Conn.Write(data[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(data), nil
}
