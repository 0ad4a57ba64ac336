package session

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// A transfer handles the detaches of a message before its attaches, so both of
// one session must not share a message.
func TestDetachDoesNotOvertakeAttach(t *testing.T) {
	l := NewLink(LinkConfig{InboxPartitions: 1}, slog.New(slog.DiscardHandler))
	st := newStream(&peer{link: l}, nil, nil)
	s := &Session{user: "ann"}
	s.number = 1 << 16
	st.attach(&imv1.Attach{Session: s.number, UserId: "ann"})
	st.detach(s)
	for b := st.next(); b != nil; b = st.next() {
		if len(b.Attaches) > 0 && len(b.Detaches) > 0 {
			t.Fatal("attach and detach of one session in one message: the detach is handled first, the attachment stays for ever")
		}
	}
}

// once is a connection that records what is written after its end.
type once struct {
	net.Conn
	mu      sync.Mutex
	written bytes.Buffer
	shut    bool
	late    bool
	entered chan struct{}
	gate    chan struct{}
}

func (o *once) wasLate() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.late
}

func (o *once) Write(b []byte) (int, error) {
	defer func() { o.entered <- struct{}{}; <-o.gate }()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		o.late = true
		return 0, errors.New("broken pipe")
	}
	return o.written.Write(b)
}
func (o *once) CloseWrite() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = true
	return nil
}
func (o *once) Close() error                     { return nil }
func (o *once) SetReadDeadline(time.Time) error  { return nil }
func (o *once) SetWriteDeadline(time.Time) error { return nil }

type plain struct{ c *once }

func (p plain) Read() ([]byte, bool, error)                  { return nil, false, io.EOF }
func (p plain) Seal(b []byte, _ int, _ bool) []byte          { return b }
func (p plain) Goodbye(b []byte, _ im.DisconnectCode) []byte { return b }
func (p plain) FirstForm() wire.Form                         { return wire.JSON }
func (p plain) OnControl(func([]byte))                       {}
func (p plain) NetConn() net.Conn                            { return p.c }

// The sending side is shut behind the reason, not before it, even where a writer
// has found nothing more to write just before. The lock is kept so long that it
// is handed on in the order of arrival.
func TestTheReasonIsWrittenBeforeTheEnd(t *testing.T) {
	l := NewLink(LinkConfig{InboxPartitions: 1}, slog.New(slog.DiscardHandler))
	h := NewHub(Config{}, l, slog.New(slog.DiscardHandler))
	defer h.Stop(t.Context()) //nolint:errcheck // nothing waits
	late := 0
	const n = 20
	for range n {
		c := &once{entered: make(chan struct{}, 2), gate: make(chan struct{})}
		s := newSession(h, plain{c})
		s.mu.Lock()
		s.put(wire.OpHeartbeatReply, 1, &imv1.HeartbeatReply{Head: 1})
		s.mu.Unlock()
		s.flush()
		<-c.entered
		s.mu.Lock()
		close(c.gate)                    // the writer goes on to takeOut
		time.Sleep(5 * time.Millisecond) // and waits for mu
		done := make(chan struct{})
		go func() { s.disconnect(im.Kicked, "bye", 0); close(done) }()
		time.Sleep(5 * time.Millisecond)
		s.mu.Unlock()
		s.mu.Lock() // whoever is first finds it taken: from here it is handed on
		time.Sleep(5 * time.Millisecond)
		s.mu.Unlock()
		<-done
		<-c.entered
		if c.wasLate() {
			late++
		}
	}
	if late > 0 {
		t.Errorf("of %d disconnects %d lost their reason", n, late)
	}
}
