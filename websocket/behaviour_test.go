package websocket_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
	"github.com/im-transfer/im/websocket"
)

func text(t *testing.T, config session.Config) (*sessiontest.Client, message, *sessiontest.Cluster) {
	cluster := sessiontest.New(t, 1)
	m := dial(t, start(t, cluster.Hub(t, config)), false)
	return &sessiontest.Client{T: t, Wire: m, Form: wire.Text}, m, cluster
}

// The connection is closed with 4000 + n.
func TestCloseCode(t *testing.T) {
	c, m, cluster := text(t, session.Config{})
	c.Login("ann", "d1")
	cluster.Kick("ann", "revoked")
	c.Expect("disconnect 0 revoked", nil)
	_, _, err := m.ReadMessage()
	var closed *gorilla.CloseError
	if !errors.As(err, &closed) || closed.Code != 4004 || closed.Text != "revoked" {
		t.Errorf("closed with %v", err)
	}
}

// A client's close is answered with its own code.
func TestCloseIsEchoed(t *testing.T) {
	c, m, cluster := text(t, session.Config{})
	c.Login("ann", "d1")
	goodbye := gorilla.FormatCloseMessage(gorilla.CloseGoingAway, "bye")
	if err := m.WriteControl(gorilla.CloseMessage, goodbye, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.ReadMessage(); !gorilla.IsCloseError(err, gorilla.CloseGoingAway) {
		t.Errorf("closed with %v", err)
	}
	sessiontest.Eventually(t, func() bool { return cluster.Attached("ann") == 0 })
}

// Pings are answered, between the fragments of a message too, and keep no session
// alive.
func TestPing(t *testing.T) {
	c, m, _ := text(t, session.Config{HeartbeatSeconds: 1, IdleFactor: 0.4})
	c.Login("ann", "d1")
	began, pongs := time.Now(), 0
	m.SetPongHandler(func(data string) error {
		if data != "are you there" {
			t.Errorf("pong %q", data)
		}
		pongs++
		return nil
	})
	done := make(chan struct{})
	defer close(done)
	go func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				m.WriteControl(gorilla.PingMessage, []byte("are you there"), time.Now().Add(time.Second)) //nolint:errcheck // it may have ended
			case <-done:
				return
			}
		}
	}()
	c.Expect("disconnect 0 idle", nil)
	if d := time.Since(began); d > 2*time.Second || pongs == 0 {
		t.Errorf("idle after %v, %d pongs", d, pongs)
	}
}

// raw sends bytes beneath WebSocket's framing.
func raw(t *testing.T, m message, data ...byte) {
	if _, err := m.NetConn().Write(data); err != nil {
		t.Fatal(err)
	}
}

// What breaks WebSocket's framing is answered like what breaks ours.
func TestWebSocketFraming(t *testing.T) {
	rows := []struct {
		name string
		data []byte
	}{
		{"no mask", []byte{0x81, 2, '{', '}'}},
		{"a reserved bit", []byte{0xc1, 0x80, 0, 0, 0, 0}},
		{"an unknown opcode", []byte{0x83, 0x80, 0, 0, 0, 0}},
		{"an unknown control", []byte{0x8b, 0x80, 0, 0, 0, 0}},
		{"a continuation of nothing", []byte{0x80, 0x80, 0, 0, 0, 0}},
		{"a message within one", []byte{0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0}},
		{"a long ping", []byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}},
		{"a ping in parts", []byte{0x09, 0x80, 0, 0, 0, 0}},
		{"a close of one byte", []byte{0x88, 0x81, 0, 0, 0, 0, 9}},
		{"a length of 65,537", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0}},
		{"a negative length", []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			c, m, _ := text(t, session.Config{})
			c.Login("ann", "d1")
			raw(t, m, r.data...)
			c.Expect("disconnect 0 protocol_error", nil)
			if _, _, err := m.ReadMessage(); !gorilla.IsCloseError(err, 4005) {
				t.Errorf("closed with %v", err)
			}
		})
	}
}

// A message in fragments is one message, bounded as a whole.
func TestFragments(t *testing.T) {
	c, m, _ := text(t, session.Config{})
	c.Login("ann", "d1")
	raw(t, m, 0x01, 0x83, 0, 0, 0, 0, '{', '"', 'o') // begins
	raw(t, m, 0x89, 0x80, 0, 0, 0, 0)                // a ping between
	raw(t, m, 0x00, 0x80, 0, 0, 0, 0)                // nothing
	raw(t, m, append([]byte{0x80, 0x80 | 27, 0, 0, 0, 0}, `p":"heartbeat","seq":6    }`...)...)
	c.Expect("heartbeat_reply 6", nil)
	for range 2 {
		part := append([]byte{0x00, 0x80 | 126, 0x80, 0x01, 0, 0, 0, 0}, strings.Repeat(" ", 0x8001)...)
		if c.Form == wire.Text {
			part[0], c.Form = 0x01, wire.Proto // the first one begins
		}
		raw(t, m, part...)
	}
	c.Form = wire.Text
	c.Expect("disconnect 0 protocol_error", nil)
}

// Several messages that are pending go out at once, each whole.
func TestLargeMessages(t *testing.T) {
	c, _, cluster := text(t, session.Config{})
	c.Login("ann", "d1")
	for _, size := range []int{1, 125, 126, 60 << 10, 200, 1} {
		cluster.Append("ann", strings.Repeat("x", size))
	}
	c.Entries(1, 6)
}

func TestOrigins(t *testing.T) {
	server := start(t, sessiontest.New(t, 1).Hub(t, session.Config{}))
	for origin, allowed := range map[string]bool{
		"": true, "http://chat.example": true, "HTTP://CHAT.example": true,
		"https://chat.example": false, "http://chat.example:81": false, "http://evil.example": false, "null": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		c, response, err := gorilla.DefaultDialer.Dial("ws://"+server.Addr().String()+websocket.Path, header)
		if (err == nil) != allowed {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err != nil && response.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: status %d", origin, response.StatusCode)
		}
		if c != nil {
			c.Close()
		}
	}
}

// The http server's pages come from its port, on the host that the client reached us
// by.
func TestTheHTTPServersOwnPages(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	for _, row := range []struct {
		port, host, origin string
		allowed            bool
	}{
		{"8080", "im.example:8081", "http://im.example:8080", true},
		{"8080", "IM.example", "https://im.EXAMPLE:8080", true},
		{"8080", "[::1]:8081", "http://[::1]:8080", true},
		{"443", "im.example:8081", "https://im.example", true},
		{"80", "im.example:8081", "http://im.example", true},
		{"80", "im.example:8081", "https://im.example", false},
		{"8080", "im.example:8081", "http://im.example:8081", false},
		{"8080", "im.example:8081", "http://other.example:8080", false},
		{"8080", "im.example:8081", "http://im.example:8080.evil.example", false},
		{"", "im.example", "null", false},
		{"", "im.example", "ftp://im.example", false},
	} {
		server := startWith(t, hub, websocket.Config{Listen: "127.0.0.1:0", HTTPPort: row.port})
		header := http.Header{"Origin": {row.origin}, "Host": {row.host}}
		c, _, err := gorilla.DefaultDialer.Dial("ws://"+server.Addr().String()+websocket.Path, header)
		if (err == nil) != row.allowed {
			t.Errorf("%+v: %v", row, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

// A session of another form than text on the same server.
func TestTextAfterBinary(t *testing.T) {
	c, m, _ := text(t, session.Config{})
	c.Form = wire.Proto
	c.Login("ann", "d1")
	if err := m.Write([]byte(`{"op":"heartbeat"}`), true); err != nil {
		t.Fatal(err)
	}
	var d imv1.Disconnect
	c.Expect("disconnect 0 protocol_error", &d)
	if d.Reconnect {
		t.Error("asked to reconnect")
	}
}

func TestStartAndStop(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	server := start(t, hub)
	if err := server.Start(); err == nil {
		t.Error("started twice")
	}
	taken := websocket.New(websocket.Config{Listen: server.Addr().String()}, hub, sessiontest.Log())
	if err := taken.Start(); err == nil || !strings.Contains(err.Error(), "websocket.listen") {
		t.Errorf("listened on a port in use: %v", err)
	}
	response, err := http.Get("http://" + server.Addr().String() + "/other") //nolint:noctx // a test
	if err != nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %v, %v", response, err)
	}
	if err == nil {
		response.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for range 2 {
		if err := server.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A message of many frames whose answers are large, from a client that does not read: it is
// answered as far as sockets take it, and its session ends as any other that is not read.
func TestOneMessageOfManyFramesIsBounded(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	var pages atomic.Int64
	cluster.OnRoomPage = func(*imv1.RoomPageRequest) *imv1.RoomPageReply {
		pages.Add(1)
		event := &imv1.RoomEvent{Seq: 1, What: &imv1.RoomEvent_Message{Message: make([]byte, 100<<10)}}
		return &imv1.RoomPageReply{Head: 1, Upto: 1, Events: []*imv1.RoomEvent{event}}
	}
	hub := cluster.Hub(t, session.Config{Rooms: 10, SlowTimeout: 300 * time.Millisecond})
	c := &sessiontest.Client{T: t, Wire: dial(t, start(t, hub), false), Form: wire.Proto}
	c.Login("ann", "d1")
	var joins []byte
	const frames = 2000
	for i := range int32(frames) {
		joins = append(joins, c.Encode(wire.OpJoin, i, &imv1.Join{RoomId: "r"})...)
	}
	c.Raw(joins)
	sessiontest.Eventually(t, func() bool { return hub.Connections() == 0 })
	if n := pages.Load(); n == 0 || n > frames/10 {
		t.Errorf("%d of %d were answered", n, frames)
	}
}

// What comes behind an auth in the same message takes no place of those who log in, however
// long that is at work.
func TestFramesBehindAnAuthHoldNoLogInUp(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	working, done := make(chan struct{}), make(chan struct{})
	cluster.OnRoomPage = func(*imv1.RoomPageRequest) *imv1.RoomPageReply {
		close(working)
		<-done
		return &imv1.RoomPageReply{}
	}
	defer close(done)
	address := start(t, cluster.Hub(t, session.Config{Rooms: 10, MaxLogins: 1}))
	ann := &sessiontest.Client{T: t, Wire: dial(t, address, false), Form: wire.Proto}
	both := ann.Encode(wire.OpAuth, 1, &imv1.Auth{Token: sessiontest.Token("ann", "d1", "web", 0), DeviceId: "d1", Platform: "web"})
	ann.Raw(append(both, ann.Encode(wire.OpJoin, 2, &imv1.Join{RoomId: "r"})...))
	<-working
	bob := &sessiontest.Client{T: t, Wire: dial(t, address, false), Form: wire.Proto}
	bob.Login("bob", "d1")
}
