package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// client is a connection that says whatever it is told to. It has no goroutine:
// what the server says is read when a test asks for it, and entries are kept as
// they come, always looking that they are contiguous.
type client struct {
	t    *testing.T
	form form
	conn net.Conn
	in   *bufio.Reader

	held   []byte  // of a message, not yet parsed
	aside  []heard // heard while looking for something else
	pongs  []string
	closed int // the close code, once there is one

	ready   bool // entries are looked at
	last    int64
	entries []map[string]any
	largest int // bytes of a deliver frame
}

func (w *world) connect(t *testing.T, f form) *client {
	t.Helper()
	setting := "tcp.listen"
	if f.websocket {
		setting = "websocket.listen"
	}
	conn := dial(t, w.app.Addresses[setting])
	c := &client{t: t, form: f, conn: conn, in: bufio.NewReader(conn)}
	if f.websocket {
		if status, err := upgrade(conn, c.in, "im.example", ""); err != nil || status != 101 {
			t.Fatalf("upgrade: %d, %v", status, err)
		}
	}
	return c
}

// login connects a device.
func (w *world) login(t *testing.T, f form, d device) *client {
	t.Helper()
	c := w.connect(t, f)
	c.auth(d, "")
	return c
}

// auth sends an auth, with more fields (`,"start":"newest"`), and returns the reply.
func (c *client) auth(d device, more string) map[string]any {
	c.t.Helper()
	c.say("auth", 1, d.auth(more))
	reply := c.expect("auth_reply", 1, `{"user_id":"*","session_id":"*"}`)
	c.last, c.ready = number(reply["resume_from"]), true
	return reply
}

// auth is the body of an auth frame.
func (d device) auth(more string) string {
	return fmt.Sprintf(`{"token":%q,"device_id":%q,"platform":%q%s}`, d.token, d.id, d.platform, more)
}

// say sends a frame.
func (c *client) say(op string, seq int32, body string) {
	c.t.Helper()
	c.whole(c.form.frame(c.t, op, seq, body))
}

// whole sends bytes as one message of the form; on TCP as they are.
func (c *client) whole(data []byte) {
	c.t.Helper()
	if c.form.websocket {
		opcode := byte(wsBinary)
		if c.form.version == 0 {
			opcode = wsTextMessage
		}
		data = wsFrame(opcode, true, data)
	}
	c.raw(data)
}

// raw writes bytes. That the server has gone is for the reader to find.
func (c *client) raw(data []byte) {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	c.conn.Write(data) //nolint:errcheck // see above
}

// hear returns the next frame that is no deliver.
func (c *client) hear() heard {
	c.t.Helper()
	h, err := c.next()
	if err != nil {
		c.t.Fatalf("hear: %v (close code %d)", err, c.closed)
	}
	return h
}

func (c *client) next() (heard, error) {
	if len(c.aside) > 0 {
		h := c.aside[0]
		c.aside = c.aside[1:]
		return h, nil
	}
	for {
		h, err := c.read()
		if err != nil || h.op != "deliver" {
			return h, err
		}
	}
}

// read returns the next frame; the entries of a deliver are taken.
func (c *client) read() (heard, error) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	text := c.form.websocket && len(c.held) == 0
	var err error
	if len(c.held) == 0 {
		if text, err = c.fetch(); err != nil {
			return heard{}, err
		}
	}
	h, rest, err := parse(c.held, text)
	if err != nil {
		return h, err
	}
	c.held = rest
	if h.op == "deliver" {
		c.take(h)
	}
	return h, nil
}

// fetch reads a WebSocket message, or a frame of TCP.
func (c *client) fetch() (text bool, err error) {
	if !c.form.websocket {
		head, err := c.in.Peek(4)
		if err != nil {
			return false, err
		}
		size := binary.BigEndian.Uint32(head)
		if size > 1<<20 {
			return false, fmt.Errorf("a frame of %d bytes", size)
		}
		c.held = make([]byte, size)
		_, err = io.ReadFull(c.in, c.held)
		return false, err
	}
	for {
		opcode, payload, err := readFrame(c.in)
		switch {
		case err != nil:
			return false, err
		case opcode == wsClose:
			if len(payload) >= 2 {
				c.closed = int(binary.BigEndian.Uint16(payload))
			}
			return false, io.EOF
		case opcode == wsPong:
			c.pongs = append(c.pongs, string(payload))
		case opcode == wsTextMessage || opcode == wsBinary:
			c.held = payload
			return opcode == wsTextMessage, nil
		}
	}
}

// take keeps the entries of a deliver frame, which has some, contiguous and after
// the last.
func (c *client) take(h heard) {
	c.t.Helper()
	entries := list(h.body["entries"])
	if len(entries) == 0 || h.seq != 0 || !c.ready {
		c.t.Errorf("a deliver with seq %d and %d entries, after auth_reply: %v", h.seq, len(entries), c.ready)
	}
	for _, e := range entries {
		entry := object(e)
		if seq := number(entry["seq"]); seq != c.last+1 {
			c.t.Errorf("entry %d was delivered after %d", seq, c.last)
		}
		c.last = number(entry["seq"])
		c.entries = append(c.entries, entry)
	}
	c.largest = max(c.largest, h.size)
}

// hearOp returns the next frame of an operation; others wait.
func (c *client) hearOp(op string) heard {
	c.t.Helper()
	for i, h := range c.aside {
		if h.op == op {
			c.aside = append(c.aside[:i:i], c.aside[i+1:]...)
			return h
		}
	}
	for {
		h, err := c.read()
		switch {
		case err != nil:
			c.t.Fatalf("waiting for %s: %v (aside: %v)", op, err, c.aside)
		case h.op == op:
			return h
		case h.op != "deliver":
			c.aside = append(c.aside, h)
		}
	}
}

// upto waits until the entries up to seq are delivered and returns the one of seq.
func (c *client) upto(seq int64) map[string]any {
	c.t.Helper()
	for c.last < seq {
		h, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for entry %d: %v; the last is %d", seq, err, c.last)
		}
		if h.op != "deliver" {
			c.aside = append(c.aside, h)
		}
	}
	for _, entry := range c.entries {
		if number(entry["seq"]) == seq {
			return entry
		}
	}
	c.t.Fatalf("entry %d was not delivered here", seq)
	return nil
}

// expect wants the next frame to be this one, with at least these fields.
func (c *client) expect(op string, seq int32, body string) map[string]any {
	c.t.Helper()
	h := c.hear()
	c.check(h, op, seq, body)
	return h.body
}

func (c *client) check(h heard, op string, seq int32, body string) {
	c.t.Helper()
	if h.op != op || h.seq != seq {
		c.t.Fatalf("heard %s %d %v, want %s %d %s", h.op, h.seq, h.body, op, seq, body)
	}
	if err := match(wanted(c.t, body), h.body); err != nil {
		c.t.Fatalf("%s %d: %v", op, seq, err)
	}
}

// ask sends a frame and expects its answer.
func (c *client) ask(op string, seq int32, body, answer, want string) map[string]any {
	c.t.Helper()
	c.say(op, seq, body)
	return c.expect(answer, seq, want)
}

// refused sends a frame and expects an error.
func (c *client) refused(op string, seq int32, body, code string) map[string]any {
	c.t.Helper()
	return c.ask(op, seq, body, "error", fmt.Sprintf(`{"code":%q,"message":"*"}`, code))
}

// alive shows that the session goes on, and that nothing else was answered before.
func (c *client) alive() {
	c.t.Helper()
	c.ask("heartbeat", 9999, `{}`, "heartbeat_reply", `{}`)
}

// disconnectCodes is the protocol's table.
func disconnectCodes() map[string]int {
	return map[string]int{
		"replaced": 1, "kicked": 2, "token_expired": 3, "revoked": 4, "protocol_error": 5, "version": 6, "superseded": 7,
		"unauthenticated": 8, "draining": 11, "slow": 12, "idle": 13, "unavailable": 14,
	}
}

// disconnected expects the end: the disconnect frame, whatever comes before it in
// aside, in the version given, then the close code on WebSocket, then nothing.
func (c *client) disconnected(code string, version int16) map[string]any {
	c.t.Helper()
	h := c.hear()
	n := disconnectCodes()[code]
	c.check(h, "disconnect", 0, fmt.Sprintf(`{"code":%q,"reason":"*"}`, code))
	if reconnect := h.body["reconnect"] == true; reconnect != (n > 10) {
		c.t.Errorf("disconnect %s says reconnect %v", code, reconnect)
	}
	if n > 10 && h.body["retry_after_ms"] == nil {
		c.t.Errorf("disconnect %s does not say when to come back", code)
	}
	if h.version != version {
		c.t.Errorf("disconnect is in version %d, want %d", h.version, version)
	}
	c.ended()
	if want := 4000 + n; c.form.websocket && c.closed != want {
		c.t.Errorf("the close code is %d, want %d", c.closed, want)
	}
	return h.body
}

// out is disconnected in the form of the client.
func (c *client) out(code string) map[string]any {
	c.t.Helper()
	return c.disconnected(code, c.form.version)
}

// ended expects that nothing more comes.
func (c *client) ended() {
	c.t.Helper()
	if h, err := c.next(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("after the end: %s %v, %v", h.op, h.body, err)
	}
}

// hangUp ends the connection as a client does, and waits for the server's end.
func (c *client) hangUp() {
	c.t.Helper()
	if conn, ok := c.conn.(*net.TCPConn); ok {
		conn.CloseWrite() //nolint:errcheck // the server may have closed
	}
	io.Copy(io.Discard, c.in) //nolint:errcheck // it ends either way
	c.conn.Close()
}
