package test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// raw is a connection written by hand, which does nothing by itself.
type raw struct {
	t       testing.TB
	form    wire.Form
	conn    net.Conn
	reader  *bufio.Reader   // TCP
	socket  *websocket.Conn // nil = TCP
	rest    []byte          // of a binary WebSocket message
	seq     int32
	entries []*imv1.Entry // delivered so far
	onEntry func(*imv1.Entry)
	goodbye *imv1.Disconnect
	refused im.Code // of the last error frame
}

// transports are the ways in which a device may speak.
var transports = []struct {
	name      string
	websocket bool
	form      wire.Form
}{
	{"websocket text", true, wire.Text},
	{"websocket protobuf", true, wire.Proto},
	{"websocket json", true, wire.JSON},
	{"tcp protobuf", false, wire.Proto},
	{"tcp json", false, wire.JSON},
}

// dial opens a connection that has said nothing yet.
func (s *server) dial(t testing.TB, overWebSocket bool, form wire.Form) (*raw, error) {
	r := &raw{t: t, form: form}
	if overWebSocket {
		socket, response, err := websocket.DefaultDialer.DialContext(t.Context(), s.ws, nil)
		if err != nil {
			return nil, err
		}
		response.Body.Close()
		r.socket, r.conn = socket, socket.NetConn()
	} else {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.tcp)
		if err != nil {
			return nil, err
		}
		r.conn, r.reader = conn, bufio.NewReader(conn)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r, nil
}

// raw opens a connection and authenticates.
func (s *server) raw(t testing.TB, overWebSocket bool, form wire.Form, auth *imv1.Auth) (*raw, *imv1.AuthReply) {
	t.Helper()
	r, err := s.dial(t, overWebSocket, form)
	if err != nil {
		t.Fatal(err)
	}
	reply := &imv1.AuthReply{}
	r.call(wire.OpAuth, auth, wire.OpAuthReply, reply)
	return r, reply
}

// phone opens an authenticated TCP connection of a device.
func (s *server) phone(t testing.TB, tokens client.Tokens, device string) (*raw, *imv1.AuthReply) {
	t.Helper()
	return s.raw(t, false, wire.Proto, authOf(tokens, device, "ios"))
}

func authOf(tokens client.Tokens, device, platform string) *imv1.Auth {
	return &imv1.Auth{Token: tokens.AccessToken, DeviceId: device, Platform: platform, Protocol: im.ProtocolVersion}
}

// send writes a frame and returns its sequence.
func (r *raw) send(op wire.Op, body wire.Body) int32 {
	r.t.Helper()
	r.seq++
	data, err := wire.AppendMessage(nil, r.form, op, r.seq, body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(data)
	return r.seq
}

func (r *raw) write(data []byte) {
	r.conn.SetWriteDeadline(time.Now().Add(patience))
	var err error
	switch {
	case r.socket == nil:
		_, err = r.conn.Write(data)
	case r.form == wire.Text:
		err = r.socket.WriteMessage(websocket.TextMessage, data)
	default:
		err = r.socket.WriteMessage(websocket.BinaryMessage, data)
	}
	if err != nil {
		r.t.Logf("write: %v", err) // the server may have ended it, and says why
	}
}

// read returns the next frame.
func (r *raw) read() (wire.Frame, error) {
	r.conn.SetReadDeadline(time.Now().Add(patience))
	switch {
	case r.socket == nil:
		return r.readStream()
	case len(r.rest) == 0:
		kind, data, err := r.socket.ReadMessage()
		if err != nil {
			return wire.Frame{}, err
		}
		if kind == websocket.TextMessage {
			return wire.ParseText(data)
		}
		r.rest = data
	}
	frame, rest, err := wire.Split(r.rest, im.MaxServerFrameBytes)
	r.rest = rest
	return frame, err
}

func (r *raw) readStream() (wire.Frame, error) {
	length, err := r.reader.Peek(4)
	if err != nil {
		return wire.Frame{}, err
	}
	data := make([]byte, binary.BigEndian.Uint32(length))
	if _, err := io.ReadFull(r.reader, data); err != nil {
		return wire.Frame{}, err
	}
	frame, _, err := wire.Split(data, im.MaxServerFrameBytes)
	return frame, err
}

// next returns the next frame; what it delivers is kept. The server's reason for
// an end is an *ended.
func (r *raw) next() (wire.Frame, error) {
	frame, err := r.read()
	if err != nil {
		return frame, err
	}
	switch frame.Op {
	case wire.OpDeliver:
		var body imv1.Deliver
		if err := wire.Unmarshal(frame.Form, frame.Body, &body); err != nil {
			return frame, err
		}
		r.entries = append(r.entries, body.GetEntries()...)
		for _, e := range body.GetEntries() {
			if r.onEntry != nil {
				r.onEntry(e)
			}
		}
	case wire.OpError:
		var body imv1.Error
		if err := wire.Unmarshal(frame.Form, frame.Body, &body); err != nil {
			return frame, err
		}
		r.refused = im.Code(body.GetCode())
	case wire.OpDisconnect:
		var body imv1.Disconnect
		if err := wire.Unmarshal(frame.Form, frame.Body, &body); err != nil {
			return frame, err
		}
		r.goodbye = &body
		return frame, &ended{im.DisconnectCode(body.GetCode())}
	}
	return frame, nil
}

// ended is a disconnect frame.
type ended struct{ code im.DisconnectCode }

func (e *ended) Error() string { return "disconnected: " + string(e.code) }

// request sends a frame and returns what answers it: nil and the body, or the
// error of an error frame.
func (r *raw) request(op wire.Op, body wire.Body, want wire.Op, reply wire.Body) error {
	r.t.Helper()
	sequence := r.send(op, body)
	for {
		frame, err := r.next()
		switch {
		case err != nil:
			return err
		case frame.Op == want && frame.Seq == sequence:
			return wire.Unmarshal(frame.Form, frame.Body, reply)
		case frame.Op == wire.OpError && frame.Seq == sequence:
			return im.Errorf(r.refused, "%s", frame.Body)
		}
	}
}

// call is a request that must succeed.
func (r *raw) call(op wire.Op, body wire.Body, want wire.Op, reply wire.Body) {
	r.t.Helper()
	if err := r.request(op, body, want, reply); err != nil {
		r.t.Fatalf("%s: %v", op, err)
	}
}

// heartbeat returns the head that the server tells.
func (r *raw) heartbeat() int64 {
	r.t.Helper()
	var reply imv1.HeartbeatReply
	r.call(wire.OpHeartbeat, &imv1.Heartbeat{}, wire.OpHeartbeatReply, &reply)
	return reply.GetHead()
}

// say sends a text and returns the answer, or the error of its code.
func (r *raw) say(send *imv1.Send) (*imv1.SendAck, error) {
	r.t.Helper()
	reply := &imv1.SendAck{}
	err := r.request(wire.OpSend, send, wire.OpSendAck, reply)
	return reply, err
}

// ack acknowledges and waits for the answer.
func (r *raw) ack(seq int64) int64 {
	r.t.Helper()
	var reply imv1.AckReply
	r.call(wire.OpAck, &imv1.Ack{Seq: seq}, wire.OpAckReply, &reply)
	return reply.GetSeq()
}

// until reads on until something is true.
func (r *raw) until(what string, is func() bool) {
	r.t.Helper()
	for !is() {
		if _, err := r.next(); err != nil {
			r.t.Fatalf("wait for %s: %v", what, err)
		}
	}
}

func (r *raw) messages() []*imv1.Message {
	var messages []*imv1.Message
	for _, e := range r.entries {
		if e.GetMessage() != nil {
			messages = append(messages, e.GetMessage())
		}
	}
	return messages
}

func (r *raw) untilMessages(n int) {
	r.t.Helper()
	r.until(fmt.Sprint(n, " messages"), func() bool { return len(r.messages()) >= n })
}

func (r *raw) last() int64 { return r.entries[len(r.entries)-1].GetSeq() }

// contiguous fails the test unless the entries follow each other from a seq on.
func (r *raw) contiguous(after int64) {
	r.t.Helper()
	for i, e := range r.entries {
		if e.GetSeq() != after+int64(i)+1 {
			r.t.Fatalf("entry %d has inbox seq %d, want %d", i, e.GetSeq(), after+int64(i)+1)
		}
	}
}

// end waits until the server ends the connection and returns its reason.
func (r *raw) end() (im.DisconnectCode, error) {
	for {
		_, err := r.next()
		var end *ended
		if errors.As(err, &end) {
			if _, err := r.read(); err == nil {
				return end.code, errors.New("a frame behind the disconnect")
			}
			return end.code, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// leave ends a TCP connection and waits until the server has noticed.
func (r *raw) leave() {
	r.t.Helper()
	if err := r.conn.(*net.TCPConn).CloseWrite(); err != nil {
		r.t.Fatal(err)
	}
	for {
		if _, err := r.read(); err != nil {
			break
		}
	}
	r.conn.Close()
}

// endsWith fails the test unless the server ends the connection for this reason.
func (r *raw) endsWith(want im.DisconnectCode) {
	r.t.Helper()
	if got, err := r.end(); got != want || err != nil {
		r.t.Fatalf("ended with %q (%v), want %q", got, err, want)
	}
}

// text is a send to a user.
func text(to, id, words string) *imv1.Send {
	return &imv1.Send{ClientMsgId: id, To: client.ToUser(to), Content: client.TextContent(words)}
}

// codeOf is the code of an error that the server answered; empty for others.
func codeOf(err error) im.Code {
	var refusal *im.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}
