package protocol

import (
	"bytes"
	"testing"
)

// A reader survives any split and any coalescing, on TCP and beneath WebSocket.
func testOneByteAtATime(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.connect(t, f)
		data := c.sealed(f.frame(t, "auth", 1, me.auth("")))
		data = append(data, c.sealed(f.frame(t, "heartbeat", 2, `{}`))...)
		for i := range data {
			c.raw(data[i : i+1])
		}
		c.expect("auth_reply", 1, `{}`)
		c.expect("heartbeat_reply", 2, `{}`)
	})
}

// sealed is a message as it stands on the connection.
func (c *client) sealed(message []byte) []byte {
	switch {
	case !c.form.websocket:
		return message
	case c.form.version == 0:
		return wsFrame(wsTextMessage, true, message)
	}
	return wsFrame(wsBinary, true, message)
}

// Many frames in one write, and on WebSocket in one binary message, are answered one
// by one; so are those that lie across two writes.
func testManyFramesAtOnce(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.connect(t, f)
		const n = 100
		all := [][]byte{f.frame(t, "auth", 1, me.auth(""))}
		for i := range n {
			all = append(all, f.frame(t, "heartbeat", int32(1000+i), `{}`))
		}
		switch {
		case f.version != 0 && f.websocket:
			c.whole(bytes.Join(all, nil))
		default:
			var data []byte
			for _, frame := range all {
				data = append(data, c.sealed(frame)...)
			}
			third := len(data) / 3
			c.raw(data[:third])
			c.raw(data[third:])
		}
		c.expect("auth_reply", 1, `{}`)
		for i := range n {
			c.expect("heartbeat_reply", int32(1000+i), `{}`)
		}
	})
}

// What comes before a bad frame in the same message has been carried out.
func testAWholeFrameBeforeABadOne(t *testing.T, w *world) {
	for _, f := range []form{wsJSON(), wsProto(), tcpJSON(), tcpProto()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			me := w.someone(t)
			c := w.login(t, f, me)
			send := f.frame(t, "send", 5, `{"client_msg_id":"m","to":{"user_id":"`+me.user+`"},"content":{"type":"text","text":"x"}}`)
			c.whole(append(send, packet(-1, 16, f.version, 2, 1, nil)...))
			c.hearOp("disconnect")
			w.waitHead(t, me, 1)
		})
	}
}

// A WebSocket message may come in parts.
func testAMessageInParts(t *testing.T, w *world) {
	for _, f := range []form{wsText(), wsProto()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t, f)
			frame := f.frame(t, "auth", 1, w.someone(t).auth(""))
			opcode := byte(wsTextMessage)
			if f.version != 0 {
				opcode = wsBinary
			}
			c.raw(wsFrame(opcode, false, frame[:7]))
			c.raw(wsFrame(wsPing, true, []byte("between")))
			c.raw(wsFrame(wsContinuation, false, frame[7:50]))
			c.raw(wsFrame(wsContinuation, true, frame[50:]))
			c.expect("auth_reply", 1, `{}`)
			c.alive()
			if len(c.pongs) != 1 || c.pongs[0] != "between" {
				t.Errorf("pongs %q", c.pongs)
			}
		})
	}
}

// A reader skips header bytes beyond the fields that it knows.
func testALongerHeader(t *testing.T, w *world) {
	for _, f := range []form{wsJSON(), wsProto(), tcpJSON(), tcpProto()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t, f)
			auth := f.body(t, "auth", w.someone(t).auth(""))
			c.whole(packet(int32(20+len(auth)), 20, f.version, 7, 1, append([]byte("more"), auth...)))
			c.expect("auth_reply", 1, `{}`)
			c.whole(packet(2016, 2016, f.version, 2, 2, make([]byte, 2000)))
			c.expect("heartbeat_reply", 2, `{}`)
			c.whole(packet(1016, 16+1000, f.version, 99, 3, make([]byte, 1000)))
			c.expect("error", 3, `{"code":"invalid"}`)
		})
	}
}

// The first frame fixes the form; a later frame in another one is a protocol_error,
// told in the first.
func testAnotherFormLater(t *testing.T, w *world) {
	for _, first := range forms() {
		for _, later := range forms() {
			if first.websocket != later.websocket || first == later {
				continue
			}
			t.Run(first.name+" then "+later.name, func(t *testing.T) {
				t.Parallel()
				c := w.login(t, first, w.someone(t))
				other := &client{t: t, form: later, conn: c.conn}
				other.say("heartbeat", 5, `{}`)
				c.out("protocol_error")
			})
		}
	}
}

// A half-closed connection is gone.
func testHalfClosed(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		w.connect(t, f).hangUp() // before auth
		c := w.login(t, f, w.someone(t))
		c.hangUp() // returns only when the server has closed as well
	})
}

// What is in flight is read off before closing, so that the client sees the reason
// and no reset.
func testTheReasonIsSeen(t *testing.T, w *world) {
	garbage := bytes.Repeat([]byte{0xff}, 1<<20)
	inEvery(t, func(t *testing.T, f form) {
		c := w.login(t, f, w.someone(t))
		bad := packet(-1, 16, f.version, 2, 1, nil)
		if f.version == 0 {
			bad = nil // an empty message
		}
		c.raw(append(c.sealed(bad), garbage...))
		c.out("protocol_error")
	})
}
