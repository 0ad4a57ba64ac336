package websocket_test

import (
	"context"
	"net"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
	"github.com/im-transfer/im/websocket"
)

func TestMain(m *testing.M) {
	connect := func(address string) sessiontest.Wire {
		c, _, err := gorilla.DefaultDialer.Dial("ws://"+address+websocket.Path, nil)
		if err != nil {
			panic(err)
		}
		return message{c}
	}
	if !sessiontest.OtherSide(connect, wire.Text) {
		goleak.VerifyTestMain(m)
	}
}

// BenchmarkIdle reports what an idle connection takes; its time says nothing.
func BenchmarkIdle(b *testing.B) {
	sessiontest.IdleMemory(b, func(hub *session.Hub) string { return start(b, hub).Addr().String() })
}

// start serves a hub until the test ends.
func start(t testing.TB, hub *session.Hub) *websocket.Server {
	return startWith(t, hub, websocket.Config{Listen: "127.0.0.1:0", Origins: []string{"http://chat.example"}})
}

func startWith(t testing.TB, hub *session.Hub, config websocket.Config) *websocket.Server {
	server := websocket.New(config, hub, sessiontest.Log())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		hub.Stop(ctx) //nolint:errcheck // the server's says it too
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return server
}

// message is the Wire of a WebSocket.
type message struct{ *gorilla.Conn }

func (m message) Write(data []byte, text bool) error {
	kind := gorilla.BinaryMessage
	if text {
		kind = gorilla.TextMessage
	}
	return m.WriteMessage(kind, data)
}

func (m message) Read() ([]byte, bool, error) {
	m.SetReadDeadline(time.Now().Add(sessiontest.Patience)) //nolint:errcheck // ReadMessage will tell
	kind, data, err := m.ReadMessage()
	return data, kind == gorilla.TextMessage, err
}

func dial(t testing.TB, server *websocket.Server, slow bool) message {
	dialer := gorilla.Dialer{NetDial: func(network, address string) (net.Conn, error) {
		c, err := net.Dial(network, address)
		if slow {
			c = sessiontest.Dribble{Conn: c}
		}
		return c, err
	}}
	c, _, err := dialer.Dial("ws://"+server.Addr().String()+websocket.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return message{c}
}

func TestProtocol(t *testing.T) {
	sessiontest.Run(t, sessiontest.Transport{
		Forms: []wire.Form{wire.Text, wire.Proto, wire.JSON}, First: wire.Text, Messages: true,
		Start: func(t *testing.T, hub *session.Hub) func(bool) sessiontest.Wire {
			server := start(t, hub)
			return func(slow bool) sessiontest.Wire { return dial(t, server, slow) }
		},
	})
}
