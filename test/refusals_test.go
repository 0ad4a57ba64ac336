package test

import (
	"strings"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// header is 16 bytes with these lengths, version and operation, and sequence 1.
func header(length, headerLength, version, op int) []byte {
	return []byte{
		byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), byte(headerLength >> 8), byte(headerLength),
		byte(version >> 8), byte(version), 0, 0, 0, byte(op), 0, 0, 0, 1,
	}
}

// What ends a connection that has not said who it is, over both transports.
func TestWhatEndsAStrangersConnection(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.auth_timeout": "300ms"})
	users := s.users("alice")
	tokens := s.tokens(users[0], "a", "ios")
	frame := func(op wire.Op, body wire.Body) []byte {
		data, err := wire.AppendMessage(nil, wire.Proto, op, 1, body)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		bytes []byte
		error im.Code // before the end; empty = none
		end   im.DisconnectCode
	}{
		"silence":             {nil, "", im.DisconnectUnauthenticated},
		"a giant length":      {header(1<<31-1, 16, 2, 7), "", im.ProtocolError},
		"a negative length":   {header(-1, 16, 2, 7), "", im.ProtocolError},
		"a length too small":  {header(15, 16, 2, 7), "", im.ProtocolError},
		"a header too small":  {header(16, 15, 2, 7), "", im.ProtocolError},
		"a header too large":  {header(16, 17, 2, 7), "", im.ProtocolError},
		"a frame too large":   {header(65537, 16, 2, 7), "", im.ProtocolError},
		"the goim version":    {header(16, 16, 1, 7), "", im.VersionUnsupported},
		"an unknown version":  {header(16, 16, 9, 7), "", im.VersionUnsupported},
		"a heartbeat first":   {frame(wire.OpHeartbeat, &imv1.Heartbeat{}), "", im.DisconnectUnauthenticated},
		"a send first":        {frame(wire.OpSend, text(users[0], "m", "x")), "", im.DisconnectUnauthenticated},
		"a wrong token":       {frame(wire.OpAuth, authOf(client.Tokens{AccessToken: "x"}, "a", "ios")), im.Unauthenticated, im.DisconnectUnauthenticated},
		"another device's":    {frame(wire.OpAuth, authOf(tokens, "b", "ios")), im.Forbidden, im.DisconnectUnauthenticated},
		"another platform's":  {frame(wire.OpAuth, authOf(tokens, "a", "web")), im.Forbidden, im.DisconnectUnauthenticated},
		"an unknown platform": {frame(wire.OpAuth, authOf(tokens, "a", "toaster")), im.Invalid, im.DisconnectUnauthenticated},
	} {
		for _, overWebSocket := range []bool{false, true} {
			if overWebSocket && name == "silence" {
				continue // a WebSocket has been silent already: the upgrade counts
			}
			r, err := s.dial(t, overWebSocket, wire.Proto)
			if err != nil {
				t.Fatal(err)
			}
			if c.bytes != nil {
				r.write(c.bytes)
			}
			code, err := r.end()
			if code != c.end || err != nil || r.refused != c.error {
				t.Errorf("%s (websocket %v): error %q, ended with %q (%v); want %q, %q", name, overWebSocket, r.refused, code, err, c.error, c.end)
			}
		}
	}
}

// What is answered with an error, and the session goes on.
func TestWhatIsRefusedOnALiveSession(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	with := func(change func(*imv1.Send)) *imv1.Send {
		send := text(users[1], "id", "hello")
		change(send)
		return send
	}
	for i, transport := range transports {
		device := []string{"web", "desktop", "ios", "android", "tablet"}[i]
		r, _ := s.raw(t, transport.websocket, transport.form, authOf(s.tokens(users[0], device, device), device, device))
		for name, c := range map[string]struct {
			op   wire.Op
			body wire.Body
			code im.Code
		}{
			"no id":           {wire.OpSend, with(func(s *imv1.Send) { s.ClientMsgId = "" }), im.Invalid},
			"no receiver":     {wire.OpSend, with(func(s *imv1.Send) { s.To = nil }), im.Invalid},
			"empty text":      {wire.OpSend, with(func(s *imv1.Send) { s.Content.Text = "" }), im.Invalid},
			"unknown type":    {wire.OpSend, with(func(s *imv1.Send) { s.Content.Type = "smell" }), im.Invalid},
			"too large":       {wire.OpSend, with(func(s *imv1.Send) { s.Content.Text = strings.Repeat("x", im.MaxContentBytes+1) }), im.TooLarge},
			"unknown user":    {wire.OpSend, text("nobody", "id", "hello"), im.NotFound},
			"a room":          {wire.OpJoin, &imv1.Join{RoomId: "r"}, im.NotFound},
			"negative limit":  {wire.OpSync, &imv1.Sync{Limit: -1}, im.Invalid},
			"negative ack":    {wire.OpAck, &imv1.Ack{Seq: -1}, im.Invalid},
			"foreign reading": {wire.OpRead, &imv1.Read{ConversationId: im.DirectConversation("x", "y"), Upto: 1}, im.NotFound},
			"a server's op":   {wire.OpDeliver, &imv1.Deliver{}, im.Invalid},
			"an unknown op":   {wire.Op(99), &imv1.Heartbeat{}, im.Invalid},
		} {
			if transport.form == wire.Text && c.op == 99 {
				continue // it has no name to be said by
			}
			if err := r.request(c.op, c.body, 0, nil); codeOf(err) != c.code {
				t.Errorf("%s, %s: %v, want %s", transport.name, name, err, c.code)
			}
		}
		r.heartbeat()
		if _, err := r.say(text(users[1], "good", "hello")); err != nil {
			t.Errorf("%s: %v", transport.name, err)
		}
		r.send(wire.OpAck, &imv1.Ack{Seq: 1000})
		r.endsWith(im.ProtocolError)
	}
}

// A writer of one byte at a time is as good as any other.
func TestOneByteAtATime(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	slow, err := s.dial(t, false, wire.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var stream []byte
	for i, body := range []wire.Body{authOf(s.tokens(users[0], "a", "ios"), "a", "ios"), text(users[1], "m", "hello")} {
		op := []wire.Op{wire.OpAuth, wire.OpSend}[i]
		if stream, err = wire.AppendMessage(stream, wire.JSON, op, int32(i+1), body); err != nil {
			t.Fatal(err)
		}
	}
	for i := range stream {
		slow.write(stream[i : i+1])
	}
	slow.untilMessages(1)
	if got := slow.messages()[0]; got.GetContent().GetText() != "hello" || got.GetClientMsgId() != "m" {
		t.Errorf("delivered %v", got)
	}
}
