package tcp_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
	"github.com/im-transfer/im/tcp"
)

// A client that has closed its sending side is gone, even if it would read on.
func TestHalfClosed(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	hub := cluster.Hub(t, session.Config{})
	conn := dial(t, start(t, hub))
	c := &sessiontest.Client{T: t, Wire: sessiontest.Stream{Conn: conn}, Form: wire.Proto}
	c.Login("ann", "d1")
	conn.(*net.TCPConn).CloseWrite() //nolint:errcheck,forcetypeassert // the point of it
	sessiontest.Eventually(t, func() bool { return hub.Connections() == 0 && cluster.Attached("ann") == 0 })
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %v", err)
	}
}

// A client that goes on sending after its mistake still sees the reason, and is
// cut after a second.
func TestReasonIsSeen(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{Linger: 300 * time.Millisecond})
	conn := dial(t, start(t, hub))
	c := &sessiontest.Client{T: t, Wire: sessiontest.Stream{Conn: conn}, Form: wire.JSON}
	c.Login("ann", "d1")
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		junk := []byte(strings.Repeat("junk", 4096))
		for {
			if _, err := conn.Write(junk); err != nil {
				return
			}
		}
	}()
	c.Expect("disconnect 0 protocol_error", nil)
	<-flooded
	sessiontest.Eventually(t, func() bool { return hub.Connections() == 0 })
}

// Many frames in one segment, and one in many, are the same frames.
func TestAnySplit(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	conn := dial(t, start(t, hub))
	c := &sessiontest.Client{T: t, Wire: sessiontest.Stream{Conn: conn}, Form: wire.Proto}
	c.Login("ann", "d1")
	var all []byte
	const n = 50
	for i := range int32(n) {
		body := &imv1.Read{ConversationId: strings.Repeat("c", int(i)*1200), Upto: 1}
		all = append(all, c.Encode(wire.OpRead, i, body)...)
	}
	for i := 0; len(all) > 0; i++ {
		part := min(len(all), 1+i*i*7)
		c.Raw(all[:part])
		all = all[part:]
	}
	seen := map[int32]bool{}
	for len(seen) < n {
		r := c.Next()
		if r.Op != wire.OpReadReply || seen[r.Seq] {
			t.Fatalf("received %s", r)
		}
		seen[r.Seq] = true
	}
}

// The same over TLS.
func TestTLS(t *testing.T) {
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: authority.TLS.Certificates}}, hub, sessiontest.Log())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Stop(t.Context()) //nolint:errcheck // nothing waits
	conn, err := tls.Dial("tcp", server.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &sessiontest.Client{T: t, Wire: sessiontest.Stream{Conn: conn}, Form: wire.Proto}
	c.Login("ann", "d1")
	c.Raw(make([]byte, 16))
	if got := c.Transcript(); got != "disconnect 0 protocol_error\nclosed" {
		t.Errorf("answered\n%s", got)
	}
}

func TestStartAndStop(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	server := start(t, hub)
	if err := server.Start(); err == nil {
		t.Error("started twice")
	}
	taken := tcp.New(tcp.Config{Listen: server.Addr().String()}, hub, sessiontest.Log())
	if err := taken.Start(); err == nil || !strings.Contains(err.Error(), "tcp.listen") {
		t.Errorf("listened on a port in use: %v", err)
	}
	for range 2 {
		if err := server.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("tcp", server.Addr().String()); err == nil {
		t.Error("accepted after Stop")
	}
}
