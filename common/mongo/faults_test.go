package mongo

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/im-transfer/im"
)

// proxy stands between a store and its server. Silenced, it still carries what the
// store says, but breaks off where the answer comes; stalled, it keeps the answers
// until it goes on; closed, nobody can connect.
type proxy struct {
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	silent  bool
	stalled chan struct{} // closed when it goes on; nil = it is not
	conns   []net.Conn
}

// proxied returns the URI of a proxy to the tests' server.
func proxied(t *testing.T) (*proxy, string) {
	t.Helper()
	parsed, err := connstring.ParseAndValidate(testURI(t))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Username != "" || parsed.SSL || len(parsed.Hosts) != 1 {
		t.Skip("needs a single server without accounts")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: parsed.Hosts[0]}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p, "mongodb://" + listener.Addr().String() + "/?directConnection=true"
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.running.Go(func() {
			_, _ = io.Copy(server, client)
			server.Close()
		})
		p.running.Go(func() {
			_, _ = io.Copy(answers{client, p}, server)
			client.Close()
		})
	}
}

type answers struct {
	net.Conn
	p *proxy
}

func (a answers) Write(b []byte) (int, error) {
	a.p.mu.Lock()
	silent, stalled := a.p.silent, a.p.stalled
	a.p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	if silent {
		return 0, net.ErrClosed
	}
	return a.Conn.Write(b)
}

func (p *proxy) silence(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
}

// stall keeps all answers back until what it returns is called, once.
func (p *proxy) stall() (goOn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.stalled)
		p.stalled = nil
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

func testEvents(conversation string, n int) []im.Event {
	events := make([]im.Event, n)
	for i := range events {
		seq := int64(i + 1)
		events[i] = im.Event{ID: seq, ConversationID: conversation, Seq: seq, Kind: im.KindMessage, ClientID: time.UnixMilli(seq).String()}
	}
	return events
}

// An answer that is lost leaves the outcome open, and the same rows sent again
// find that they are in. A server that can not be reached has been sent nothing.
func TestLostAnswers(t *testing.T) {
	there := openTest(t, Options{})
	p, uri := proxied(t)
	s, err := Open(t.Context(), uri, Options{Database: there.store.Database().Name(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events := testEvents("a", 3)
	block := im.Block{UserID: "u", FirstSeq: 1, Entries: []im.InboxEntry{{EventID: im.EventIDOf(7), Kind: im.KindMessage, MessageID: 7}}}
	mark := im.ReadMark{UserID: "u", ConversationID: "a", ReadUpto: 1}
	writes := map[string]func() error{
		"events": func() error { return s.InsertEvents(t.Context(), events, nil) },
		"blocks": func() error { return s.CommitInbox(t.Context(), &im.InboxCommit{Blocks: []im.Block{block}}) },
		"marks":  func() error { return s.CommitInbox(t.Context(), &im.InboxCommit{Marks: []im.ReadMark{mark}}) },
	}
	for name, write := range writes {
		p.silence(true)
		if err := write(); !errors.Is(err, im.ErrUnknown) {
			t.Errorf("%s without an answer: %v", name, err)
		}
		p.silence(false)
		if err := write(); (name == "marks") != (err == nil) || err != nil && !errors.Is(err, im.ErrDuplicate) {
			t.Errorf("%s again: %v", name, err)
		}
	}
	if in, err := there.EventsAfter(t.Context(), "a", 0, 10); err != nil || len(in) != 3 {
		t.Errorf("%d events, %v", len(in), err)
	}

	p.close()
	if err := writes["events"](); err == nil || errors.Is(err, im.ErrDuplicate) {
		t.Errorf("at the end: %v", err)
	}
	err = writes["events"]()
	if err == nil || errors.Is(err, im.ErrDuplicate) || errors.Is(err, im.ErrUnknown) || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("with nobody there: %v", err)
	}
}

// A primary that does not answer, as one that was stopped, is waited for no longer
// than a call may take; when it goes on, so does the store, and what had been sent
// is there.
func TestSlowPrimary(t *testing.T) {
	there := openTest(t, Options{})
	p, uri := proxied(t)
	s, err := Open(t.Context(), uri, Options{Database: there.store.Database().Name(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events := testEvents("a", 3)
	goOn := p.stall()
	began := time.Now()
	if err := s.InsertEvents(t.Context(), events, nil); !errors.Is(err, im.ErrUnknown) {
		t.Errorf("a write without an answer: %v", err)
	}
	if _, err := s.EventsAfter(t.Context(), "a", 0, 10); err == nil {
		t.Error("a read without an answer has one")
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("two calls of 1s each took %v", took)
	}
	goOn()
	if in, err := s.EventsAfter(t.Context(), "a", 0, 10); err != nil || len(in) != 3 {
		t.Errorf("%d events, %v", len(in), err)
	}
	if err := s.InsertEvents(t.Context(), events, nil); !errors.Is(err, im.ErrDuplicate) {
		t.Errorf("again: %v", err)
	}
}

// A long batch goes in short bulks where it must, still in order, and what comes
// after a refused row is not in.
func TestShortBulks(t *testing.T) {
	s := openTest(t, Options{})
	s.maxBulk = 10
	events := testEvents("a", 35)
	foreign := events[26]
	foreign.ClientID = "foreign"
	if err := s.InsertEvents(t.Context(), []im.Event{foreign}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.InsertEvents(t.Context(), events, nil); !errors.Is(err, im.ErrDuplicate) {
		t.Errorf("error %v", err)
	}
	in, err := s.EventsAfter(t.Context(), "a", 0, 100)
	if err != nil || len(in) != 27 || in[26].ClientID != "foreign" {
		t.Errorf("%d events, %v", len(in), err)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := openTest(t, Options{})
	again := openDatabase(t, Options{Database: s.store.Database().Name()})
	for range 2 {
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.InsertTerm(t.Context(), im.Term{}); err == nil || errors.Is(err, im.ErrUnknown) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := again.Heads(t.Context(), []string{"u"}); err == nil {
		t.Error("read after close")
	}
}
