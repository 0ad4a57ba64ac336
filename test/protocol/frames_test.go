package protocol

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
)

// Where lengths can not be trusted the connection ends with protocol_error, where
// the version is not spoken with version: before auth and after it, and nobody else
// notices. Before the first frame the answer is text on WebSocket, version 3 on TCP;
// framing and version are judged before auth and fix no form.
func testFramingThatEndsTheConnection(t *testing.T, w *world) {
	bystander := w.login(t, tcpProto(), w.someone(t))
	rows := []struct {
		name string
		data func(version int16) []byte
		code string
		only string // "websocket"
	}{
		{"packet length -1", func(v int16) []byte { return packet(-1, 16, v, 2, 1, nil) }, "protocol_error", ""},
		{"packet length at its lowest", func(v int16) []byte { return packet(math.MinInt32, 16, v, 2, 1, nil) }, "protocol_error", ""},
		{"packet length 0", func(v int16) []byte { return packet(0, 16, v, 2, 1, nil) }, "protocol_error", ""},
		{"packet length 15", func(v int16) []byte { return packet(15, 16, v, 2, 1, nil) }, "protocol_error", ""},
		{"packet length of 2 GiB", func(v int16) []byte { return packet(math.MaxInt32, 16, v, 2, 1, nil) }, "protocol_error", ""},
		{"a frame of 65,537 bytes", func(v int16) []byte { return packet(65537, 16, v, 2, 1, make([]byte, 65521)) }, "protocol_error", ""},
		{"header length 15", func(v int16) []byte { return packet(16, 15, v, 2, 1, nil) }, "protocol_error", ""},
		{"header length 0", func(v int16) []byte { return packet(16, 0, v, 2, 1, nil) }, "protocol_error", ""},
		{"header length -1", func(v int16) []byte { return packet(16, -1, v, 2, 1, nil) }, "protocol_error", ""},
		{"header length above the packet's", func(v int16) []byte { return packet(16, 17, v, 2, 1, nil) }, "protocol_error", ""},
		{"half a header", func(v int16) []byte { return packet(16, 16, v, 2, 1, nil)[:8] }, "protocol_error", "websocket"},
		{"a frame without its last byte", func(v int16) []byte { return packet(18, 16, v, 2, 1, []byte("{")) }, "protocol_error", "websocket"},
		{"an empty message", func(int16) []byte { return nil }, "protocol_error", "websocket"},
		{"version 0", func(int16) []byte { return packet(16, 16, 0, 2, 1, nil) }, "version", ""},
		{"version 1, the goim dialect", func(int16) []byte { return packet(16, 16, 1, 2, 1, nil) }, "version", ""},
		{"version 4", func(int16) []byte { return packet(16, 16, 4, 2, 1, nil) }, "version", ""},
		{"version -1", func(int16) []byte { return packet(16, 16, -1, 2, 1, nil) }, "version", ""},
		{"version 768, of the wrong endianness", func(int16) []byte { return packet(16, 16, 3<<8, 2, 1, nil) }, "version", ""},
	}
	var busy sync.Mutex // guards the bystander
	t.Run("rows", func(t *testing.T) {
		for _, f := range []form{wsJSON(), wsProto(), tcpJSON(), tcpProto()} {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				me := w.someone(t)
				for _, row := range rows {
					if row.only == "websocket" && !f.websocket {
						continue
					}
					t.Log(row.name) // shown where it fails
					c := w.connect(t, f)
					c.whole(row.data(f.version))
					c.disconnected(row.code, f.first())
					c = w.login(t, f, me)
					c.whole(row.data(f.version))
					c.out(row.code)
					busy.Lock()
					bystander.alive() // also so that it is not idle where all this takes long
					busy.Unlock()
				}
			})
		}
	})
}

// What is wrong with a text message's size, or with WebSocket's own framing, ends
// the connection too.
func testWebSocketMessagesThatEndTheConnection(t *testing.T, w *world) {
	unmasked := []byte{0x81, 2, '{', '}'}
	for _, row := range []struct {
		name string
		data []byte
	}{
		{"an empty text", wsFrame(wsTextMessage, true, nil)},
		{"an empty binary message", wsFrame(wsBinary, true, nil)},
		{"a text of 65,537 bytes", wsFrame(wsTextMessage, true, padded("heartbeat", 65537))},
		{"a text of 65,537 bytes in two parts", append(wsFrame(wsTextMessage, false, padded("heartbeat", 65537)[:60000]),
			wsFrame(wsContinuation, true, padded("heartbeat", 65537)[60000:])...)},
		{"frames of 65,552 bytes together", wsFrame(wsBinary, true, bytes.Repeat(packet(16, 16, 2, 2, 1, nil), 4097))},
		{"no mask", unmasked},
		{"an opcode that is none", wsFrame(0x3, true, []byte("{}"))},
		{"a continuation of nothing", wsFrame(wsContinuation, true, []byte("{}"))},
	} {
		t.Log(row.name)
		c := w.connect(t, wsText())
		c.raw(row.data)
		c.disconnected("protocol_error", 0)
	}
}

// padded is a text message of so many bytes.
func padded(op string, size int) []byte {
	text := fmt.Sprintf(`{"op":%q,"seq":5}`, op)
	return []byte(text[:len(text)-1] + strings.Repeat(" ", size-len(text)) + "}")
}

// The largest frame that a client may send is answered like any other.
func testAFrameOf65536Bytes(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		c := w.login(t, f, w.someone(t))
		const room = clientFrame - 16
		switch f.version {
		case 0:
			c.whole(padded("heartbeat", clientFrame))
		case versionJSON:
			c.whole(packet(clientFrame, 16, 3, 2, 5, []byte("{"+strings.Repeat(" ", room-2)+"}")))
		case versionProto: // an unknown field of bytes, its length in three
			body := append([]byte{0x0a, 0xec, 0xff, 0x03}, make([]byte, room-4)...)
			c.whole(packet(clientFrame, 16, 2, 2, 5, body))
		}
		c.expect("heartbeat_reply", 5, `{}`)
	})
}

// A text message that is no JSON object, or whose seq is no int32, is answered with
// sequence 0; any other bad frame with its own. The session goes on.
func testTextThatIsRefused(t *testing.T, w *world) {
	c := w.login(t, wsText(), w.someone(t))
	for _, row := range []struct {
		text string
		seq  int32
	}{
		{`hello`, 0}, {`{`, 0}, {`[]`, 0}, {`"heartbeat"`, 0}, {`null`, 0}, {`7`, 0}, {` `, 0},
		{`{"op":"heartbeat","seq":1} {"op":"heartbeat","seq":1}`, 0},
		{`{"op":"heartbeat","seq":"7"}`, 0}, {`{"op":"heartbeat","seq":2147483648}`, 0}, {`{"op":"heartbeat","seq":1.5}`, 0},
		{`{"op":"heartbeat","seq":{}}`, 0}, {"{\"op\":\"heartbeat\xff\",\"seq\":7}", 0}, {strings.Repeat("[", 60000), 0},
		{`{"op":"nosuch","seq":7}`, 7}, {`{"op":"","seq":8}`, 8}, {`{"seq":9}`, 9}, {`{"op":2,"seq":10}`, 10},
		{`{"op":"Heartbeat","seq":11}`, 11}, {`{"op":"nosuch"}`, 0}, {`{"op":"nosuch","seq":-12}`, -12},
		{`{"op":"send","seq":13,"body":5}`, 13}, {`{"op":"send","seq":14,"body":[]}`, 14}, {`{"op":"send","seq":15,"body":"{}"}`, 15},
		{`{"op":"ack","seq":16,"body":{"seq":"x"}}`, 16}, {`{"op":"ack","seq":17,"body":{"seq":1.5}}`, 17},
		{`{"op":"sync","seq":18,"body":{"limit":3000000000}}`, 18}, {`{"op":"sync","seq":19,"body":{"limit":"many"}}`, 19},
	} {
		c.whole([]byte(row.text))
		c.expect("error", row.seq, `{"code":"invalid","message":"*"}`)
	}
	c.alive()
}

// Fields beside op, seq and body are ignored; a seq or body that is left out is 0 or
// empty; the order of fields and the space between them do not matter.
func testTextThatIsAccepted(t *testing.T, w *world) {
	c := w.login(t, wsText(), w.someone(t))
	for _, row := range []struct {
		text string
		seq  int32
	}{
		{`{"op":"heartbeat"}`, 0}, {`{"op":"heartbeat","seq":5}`, 5}, {`{"op":"heartbeat","body":{},"seq":6}`, 6},
		{`{"seq":7,"later":[{"op":"send"}],"body":null,"op":"heartbeat"}`, 7}, {" {\n\t\"op\" : \"heartbeat\" ,\r\"seq\" : 8 } ", 8},
		{`{"op":"heartbeat","seq":2147483647}`, math.MaxInt32}, {`{"op":"heartbeat","seq":-2147483648}`, math.MinInt32},
		{`{"\u006fp":"heart\u0062eat","seq":9}`, 9},
	} {
		c.whole([]byte(row.text))
		c.expect("heartbeat_reply", row.seq, `{}`)
	}
}

// A frame that is whole, with an operation that is not known or comes from the
// server only, or with a bad body, is answered invalid, with its sequence.
func testFramesThatAreRefused(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		c := w.login(t, f, w.someone(t))
		seq := int32(0)
		for _, op := range operations() {
			seq++
			switch op.name {
			case "heartbeat", "send", "auth", "sync", "ack", "read", "signal", "join", "leave", "watch":
				if f.version == versionProto { // a field that breaks off
					c.whole(packet(18, 16, f.version, op.number, seq, []byte{0x0a, 0x05}))
					break
				}
				c.say(op.name, seq, `["no object"]`)
			default: // of the server
				c.say(op.name, seq, `{}`)
			}
			c.expect("error", seq, `{"code":"invalid","message":"*"}`)
		}
		if f.version != 0 {
			for _, number := range []int32{0, 1, 9, 13, 23, 31, 1 << 16, -2, math.MaxInt32, math.MinInt32} {
				c.whole(packet(18, 16, f.version, number, number, []byte("{}")))
				c.expect("error", number, `{"code":"invalid","message":"*"}`)
			}
		}
		c.alive()
	})
}

// A reply has the sequence of its request, whatever that is.
func testSequencesAreEchoed(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.connect(t, f)
		c.say("auth", -77, me.auth(""))
		c.expect("auth_reply", -77, `{}`)
		c.ready = true
		for _, seq := range []int32{0, 1, -1, math.MaxInt32, math.MinInt32} {
			c.ask("heartbeat", seq, `{}`, "heartbeat_reply", `{}`)
			c.ask("sync", seq, `{}`, "sync_reply", `{}`)
			c.ask("send", seq, `{"client_msg_id":"one","to":{"user_id":"`+me.user+`"},"content":{"type":"text","text":"x"}}`,
				"send_ack", `{}`)
			c.refused("send", seq, `{}`, "invalid")
		}
	})
}
