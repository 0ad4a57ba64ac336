package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server whose behaviour the test scripts: it accepts connections over
// pipes and answers HTTP calls from a table.
type fake struct {
	t     *testing.T
	peers chan *peer

	mu     sync.Mutex
	down   bool // refuse to be dialled
	dialed []string
	calls  []string // "METHOD /path?query"
	routes map[string]http.HandlerFunc
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, peers: make(chan *peer, 16), routes: map[string]http.HandlerFunc{}}
	f.route("GET /v1/gateway", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, Gateway{ServerID: "s1", Address: "one:1", URL: "tcp://one:1"})
	})
	return f
}

func (f *fake) route(pattern string, handler http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[pattern] = handler
}

func answer(w http.ResponseWriter, status int, body any) {
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // into a recorder
}

// RoundTrip makes the fake an http.RoundTripper.
func (f *fake) RoundTrip(request *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.calls = append(f.calls, request.Method+" "+request.URL.RequestURI())
	handler := f.routes[request.Method+" "+request.URL.Path]
	f.mu.Unlock()
	if handler == nil {
		return nil, errors.New("no route to " + request.URL.Path)
	}
	recorder := httptest.NewRecorder()
	handler(recorder, request)
	response := recorder.Result()
	response.Request = request
	return response, nil
}

func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *fake) dial(_ context.Context, _, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dialed = append(f.dialed, address)
	if f.down {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	f.peers <- newPeer(f.t, far)
	return near, nil
}

func (f *fake) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// client makes a client of the fake that is closed at the end of the test.
func (f *fake) client(change func(*Config)) *Client {
	f.t.Helper()
	config := Config{
		Server: "http://fake", Transport: TCP, DeviceID: "d1", Platform: "desktop",
		Tokens: Tokens{UserID: "alice", AccessToken: "token-1"},
		Dial:   f.dial, HTTPClient: &http.Client{Transport: f},
	}
	if change != nil {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// connected is a client with a session whose auth was answered by reply.
func (f *fake) connected(c *Client, reply *imv1.AuthReply) *peer {
	f.t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Connect(context.Background()) }()
	p := f.accept()
	p.welcome(reply)
	if err := <-done; err != nil {
		f.t.Fatal("connect:", err)
	}
	return p
}

func (f *fake) accept() *peer {
	f.t.Helper()
	select {
	case p := <-f.peers:
		return p
	case <-time.After(2 * time.Minute):
		f.t.Fatal("the client did not connect")
		return nil
	}
}

// peer is the server's end of a connection. Heartbeats are answered with head
// unless it is silent; all other frames are for the script.
type peer struct {
	t      *testing.T
	conn   net.Conn
	frames chan wire.Frame

	mu     sync.Mutex
	head   int64
	silent bool
	beats  int
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	p := &peer{t: t, conn: conn, frames: make(chan wire.Frame, 4096)}
	go p.pump()
	return p
}

func (p *peer) pump() {
	defer close(p.frames)
	reader := &tcpConn{Conn: p.conn, reader: bufio.NewReader(p.conn)}
	for {
		frame, err := reader.read()
		if err != nil {
			return
		}
		frame.Body = append([]byte(nil), frame.Body...)
		if frame.Op != wire.OpHeartbeat {
			p.frames <- frame
			continue
		}
		p.mu.Lock()
		head, silent := p.head, p.silent
		p.beats++
		p.mu.Unlock()
		if !silent {
			p.write(wire.OpHeartbeatReply, frame.Seq, &imv1.HeartbeatReply{Head: head})
		}
	}
}

func (p *peer) set(head int64, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head, p.silent = head, silent
}

func (p *peer) write(op wire.Op, sequence int32, body wire.Body) {
	data, err := wire.AppendMessage(nil, wire.Proto, op, sequence, body)
	if err != nil {
		p.t.Error(err)
		return
	}
	p.conn.Write(data) //nolint:errcheck // a client that has gone is part of the story
}

// expect returns the next frame, which must be of this operation, decoded.
func expect[B any, P interface {
	*B
	decoder
}](p *peer, op wire.Op) (wire.Frame, P) {
	p.t.Helper()
	body := P(new(B))
	select {
	case frame, ok := <-p.frames:
		if !ok {
			p.t.Fatalf("the connection ended instead of %s", op)
		}
		if frame.Op != op {
			p.t.Fatalf("got %s instead of %s", frame.Op, op)
		}
		if err := unmarshal(frame, body); err != nil {
			p.t.Fatal(err)
		}
		return frame, body
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("no %s came", op)
	}
	return wire.Frame{}, nil
}

// nothing checks that the client has nothing to say now.
func (p *peer) nothing() {
	p.t.Helper()
	synctest.Wait()
	select {
	case frame, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected %s", frame.Op)
		}
		p.t.Fatal("the connection ended")
	default:
	}
}

func (p *peer) ended() {
	p.t.Helper()
	select {
	case frame, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected %s instead of the end", frame.Op)
		}
	case <-time.After(2 * time.Minute):
		p.t.Fatal("the connection did not end")
	}
}

func (p *peer) close() { p.conn.Close() }

// welcome answers the auth that must come next.
func (p *peer) welcome(reply *imv1.AuthReply) *imv1.Auth {
	p.t.Helper()
	frame, auth := expect[imv1.Auth](p, wire.OpAuth)
	if reply == nil {
		reply = &imv1.AuthReply{}
	}
	if reply.UserId == "" {
		reply.UserId = "alice"
	}
	if reply.InboxEpoch == "" {
		reply.InboxEpoch = "epoch-1"
	}
	p.set(reply.GetHead(), false)
	p.write(wire.OpAuthReply, frame.Seq, reply)
	return auth
}

func (p *peer) deliver(seqs ...int64) {
	p.write(wire.OpDeliver, 0, &imv1.Deliver{Entries: entries(seqs...)})
}

func entries(seqs ...int64) []*imv1.Entry {
	var list []*imv1.Entry
	for _, seq := range seqs {
		list = append(list, &imv1.Entry{Seq: seq, Kind: "message", Message: &imv1.Message{MessageId: 1000 + seq}})
	}
	return list
}

// send expects a send and returns it.
func (p *peer) send() (wire.Frame, *imv1.Send) {
	p.t.Helper()
	return expect[imv1.Send](p, wire.OpSend)
}

func (p *peer) ack(send *imv1.Send, seq int64) {
	p.write(wire.OpSendAck, 0, &imv1.SendAck{ClientMsgId: send.GetClientMsgId(), MessageId: 7000 + seq, ConversationSeq: seq})
}

func (p *peer) refuse(frame wire.Frame, code im.Code, retryAfter time.Duration) {
	p.write(wire.OpError, frame.Seq, &imv1.Error{
		Code: string(code), Message: "no", RetryAfterMs: int32(retryAfter.Milliseconds()),
	})
}

// notes is a Handler that writes down what it is given.
type notes struct {
	mu      sync.Mutex
	seqs    []int64
	overs   []StartOver
	signals []string
	entry   func(seq int64) error // may be nil
}

func (n *notes) Entry(_ context.Context, entry *imv1.Entry) error {
	if n.entry != nil {
		if err := n.entry(entry.GetSeq()); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seqs = append(n.seqs, entry.GetSeq())
	return nil
}

func (n *notes) StartOver(_ context.Context, over StartOver) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.overs = append(n.overs, over)
	return nil
}

func (n *notes) Signal(_ context.Context, signal *imv1.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.signals = append(n.signals, signal.GetType())
}

func (n *notes) seen() []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]int64(nil), n.seqs...)
}

// story runs a test in a bubble of its own time. The client that it uses must be
// closed by its end, which the bubble checks.
func story(t *testing.T, tell func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { tell(t, newFake(t)) })
}

func closeClient(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error("close:", err)
	}
}
