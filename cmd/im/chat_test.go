package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestNoServerIsSaidInPlainWords(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close() // now nobody is there
	server := "http://" + listener.Addr().String()
	options := chatOptions{server: server, user: "me", password: "p", device: "here", platform: "desktop"}
	err = runChat(t.Context(), &options, strings.NewReader(""), io.Discard)
	if err == nil || err.Error() != "log in as me: the server does not answer at "+server {
		t.Errorf("said %v", err)
	}
}

// chatServer is just enough of a server for one terminal: whatever is said comes
// back from bob in capitals, and is read at once.
type chatServer struct {
	t        *testing.T
	listener net.Listener
	ended    sync.WaitGroup
	lastSeq  *int64 // of the newest auth
}

func newChatServer(t *testing.T) (*chatServer, string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &chatServer{t: t, listener: listener}
	s.ended.Go(s.accept)
	api := httptest.NewServer(http.HandlerFunc(s.api))
	t.Cleanup(func() {
		api.Close()
		listener.Close()
		s.ended.Wait()
	})
	return s, api.URL
}

func (s *chatServer) api(w http.ResponseWriter, r *http.Request) {
	conversation := im.DirectConversation("u-me", "u-bob")
	answers := map[string]any{
		"POST /v1/users":        map[string]any{"user_id": "u-me"},
		"POST /v1/sessions":     map[string]any{"access_token": "t", "user_id": "u-me", "expires_in": 900},
		"GET /v1/gateway":       map[string]any{"server_id": "s", "url": "tcp://" + s.listener.Addr().String()},
		"GET /v1/users":         map[string]any{"users": []any{map[string]any{"user_id": "u-bob", "username": "bob"}}},
		"GET /v1/users/u-bob":   map[string]any{"user_id": "u-bob", "username": "bob"},
		"GET /v1/conversations": map[string]any{"conversations": []any{map[string]any{"conversation_id": conversation, "peer_id": "u-bob", "head": "4"}}},
		"GET /v1/conversations/" + conversation + "/messages": map[string]any{"messages": []any{
			map[string]any{"sender_id": "u-bob", "sent_at_ms": "0", "content": map[string]any{"type": "text", "text": "long ago"}},
		}},
	}
	answer, ok := answers[r.Method+" "+r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
	}
	json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client tells
}

func (s *chatServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.ended.Go(func() { s.serve(conn) })
	}
}

func (s *chatServer) serve(conn net.Conn) {
	defer conn.Close()
	seq := int64(0)
	write := func(op wire.Op, sequence int32, body wire.Body) {
		data, err := wire.AppendMessage(nil, wire.Proto, op, sequence, body)
		if err == nil {
			conn.Write(data) //nolint:errcheck // the next read tells
		}
	}
	deliver := func(entry *imv1.Entry) {
		seq++
		entry.Seq = seq
		write(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{entry}})
	}
	for {
		frame, err := readFrame(conn)
		if err != nil {
			return
		}
		switch frame.Op {
		case wire.OpAuth:
			var auth imv1.Auth
			wire.Unmarshal(frame.Form, frame.Body, &auth) //nolint:errcheck // our own client
			s.lastSeq, seq = auth.LastSeq, auth.GetLastSeq()
			write(wire.OpAuthReply, frame.Seq, &imv1.AuthReply{UserId: "u-me", ResumeFrom: seq, Head: seq})
		case wire.OpSend:
			var send imv1.Send
			wire.Unmarshal(frame.Form, frame.Body, &send) //nolint:errcheck // our own client
			s.reply(&send, write, deliver)
		case wire.OpRead:
			write(wire.OpReadReply, frame.Seq, &imv1.ReadReply{})
		}
	}
}

func (s *chatServer) reply(send *imv1.Send, write func(wire.Op, int32, wire.Body), deliver func(*imv1.Entry)) {
	conversation := im.DirectConversation("u-me", "u-bob")
	write(wire.OpSendAck, 0, &imv1.SendAck{ClientMsgId: send.ClientMsgId, ConversationSeq: 1})
	deliver(&imv1.Entry{Kind: "message", Message: &imv1.Message{
		ConversationId: conversation, ConversationType: "direct", ConversationSeq: 1, SenderId: "u-me",
		SenderDeviceId: "here", ClientMsgId: send.ClientMsgId, Content: send.Content,
	}})
	deliver(&imv1.Entry{Kind: "receipt", Receipt: &imv1.Receipt{ConversationId: conversation, UserId: "u-bob", Kind: "read", Upto: 1}})
	deliver(&imv1.Entry{Kind: "message", Message: &imv1.Message{
		ConversationId: conversation, ConversationType: "direct", ConversationSeq: 2, SenderId: "u-bob",
		Content: &imv1.Content{Type: "text", Text: strings.ToUpper(send.Content.GetText())},
	}})
}

func readFrame(r io.Reader) (wire.Frame, error) {
	head := make([]byte, wire.HeaderBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		return wire.Frame{}, err
	}
	header, err := wire.ParseHeader(head, im.MaxClientFrameBytes)
	if err != nil {
		return wire.Frame{}, err
	}
	body := make([]byte, header.Packet-header.Length)
	_, err = io.ReadFull(r, body)
	return wire.Frame{Form: wire.Proto, Op: header.Op, Seq: header.Seq, Body: body}, err
}

// terminal is a user at a chat that runs in the background.
type terminal struct {
	t     *testing.T
	keys  *io.PipeWriter
	lines chan string
	done  chan error
}

func openTerminal(t *testing.T, options chatOptions) *terminal {
	in, keys := io.Pipe()
	screen, out := io.Pipe()
	term := &terminal{t: t, keys: keys, lines: make(chan string, 1000), done: make(chan error, 1)}
	go func() {
		err := runChat(t.Context(), &options, in, out)
		out.Close()
		term.done <- err
	}()
	go func() {
		defer close(term.lines)
		for scanner := bufio.NewScanner(screen); scanner.Scan(); {
			term.lines <- scanner.Text()
		}
	}()
	return term
}

func (x *terminal) types(line string) {
	if _, err := io.WriteString(x.keys, line+"\n"); err != nil {
		x.t.Fatal(err)
	}
}

// sees waits for a line that contains a text.
func (x *terminal) sees(text string) {
	x.t.Helper()
	var seen []string
	for {
		select {
		case line, ok := <-x.lines:
			if strings.Contains(line, text) {
				return
			}
			seen = append(seen, line)
			if !ok {
				x.t.Fatalf("no %q before the end, but %q", text, seen)
			}
		case <-time.After(10 * time.Second):
			x.t.Fatalf("no %q, but %q", text, seen)
		}
	}
}

func (x *terminal) leaves() {
	x.t.Helper()
	x.keys.Close()
	if err := <-x.done; err != nil {
		x.t.Fatal(err)
	}
}

func TestAChatFromRegistrationToReturn(t *testing.T) {
	server, url := newChatServer(t)
	options := chatOptions{
		server: url, user: "Me", password: "password", register: true, transport: "tcp", device: "here",
		platform: "desktop", dataDir: t.TempDir(),
	}
	term := openTerminal(t, options)
	term.sees("connected to tcp://")
	term.types("hello")
	term.sees("to whom?")
	term.types("/to bob")
	term.sees("talking to bob")
	term.types("hello")
	for _, line := range []string{"you: hello ✓", "✓✓ read by bob: hello", "bob: HELLO"} {
		term.sees(line)
	}
	term.types("/history 3")
	term.sees("bob: long ago")
	term.types("/list")
	term.sees("bob")
	term.types("/read")
	term.sees("-- read")
	term.types("/nonsense")
	term.sees("there is no command /nonsense")
	term.leaves()

	options.register = false
	term = openTerminal(t, options)
	term.sees("connected")
	term.leaves()
	if server.lastSeq == nil || *server.lastSeq != 3 {
		t.Fatalf("came back at %v", server.lastSeq)
	}
}

func TestAChatWithoutALogIn(t *testing.T) {
	_, url := newChatServer(t)
	term := openTerminal(t, chatOptions{server: url, transport: "tcp", platform: "desktop", dataDir: t.TempDir()})
	term.types("hello")
	term.sees("log in first")
	term.types("/login me password")
	term.sees("connected to tcp://")
	term.types("/to bob")
	term.sees("talking to bob")
	term.types("/quit")
	if err := <-term.done; err != nil {
		t.Fatal(err)
	}
}

func TestAChatNeedsAPassword(t *testing.T) {
	term := openTerminal(t, chatOptions{user: "me", dataDir: t.TempDir()})
	if err := <-term.done; err == nil {
		t.Fatal("went on without a password")
	}
}

// A line that is too long ends a chat with an error, not as if it had been the last.
func TestAChatSaysThatALineIsTooLong(t *testing.T) {
	var out strings.Builder
	in := strings.NewReader("/help\n" + strings.Repeat("x", maxLine+1) + "\n/quit\n")
	err := runChat(t.Context(), &chatOptions{dataDir: t.TempDir()}, in, &out)
	if err == nil || !strings.Contains(err.Error(), "at most 65536 bytes") || !strings.Contains(out.String(), "talk to someone") {
		t.Errorf("%v after %q", err, out.String())
	}
}

// The first who says something is talked to, if nobody has been chosen; later nobody is
// chosen but by the user, who may be in the middle of a line.
func TestAStrangerIsNotChosenLater(t *testing.T) {
	x := &talk{out: io.Discard, names: map[string]string{"u-bob": "bob", "u-eve": "eve"}}
	from := func(user string) *imv1.Message {
		return &imv1.Message{SenderId: user, ConversationType: string(im.Direct)}
	}
	x.firstPeer(t.Context(), from("u-bob"))
	if peer, err := x.chosen(); err != nil || peer.user.UserID != "u-bob" {
		t.Fatalf("chosen is %v, %v", peer, err)
	}
	x.peer = partner{} // as after /leave
	x.firstPeer(t.Context(), from("u-eve"))
	if peer, err := x.chosen(); err == nil {
		t.Errorf("chosen is %v", peer)
	}
}
