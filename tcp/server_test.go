package tcp_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
	"github.com/im-transfer/im/tcp"
)

func TestMain(m *testing.M) {
	connect := func(address string) sessiontest.Wire {
		c, err := net.Dial("tcp", address)
		if err != nil {
			panic(err)
		}
		return sessiontest.Stream{Conn: c}
	}
	if !sessiontest.OtherSide(connect, wire.Proto) {
		goleak.VerifyTestMain(m)
	}
}

// BenchmarkIdle reports what an idle connection takes; its time says nothing.
func BenchmarkIdle(b *testing.B) {
	sessiontest.IdleMemory(b, func(hub *session.Hub) string { return start(b, hub).Addr().String() })
}

// start serves a hub until the test ends.
func start(t testing.TB, hub *session.Hub) *tcp.Server {
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0"}, hub, sessiontest.Log())
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

func dial(t testing.TB, server *tcp.Server) net.Conn {
	c, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestProtocol(t *testing.T) {
	sessiontest.Run(t, sessiontest.Transport{
		Forms: []wire.Form{wire.Proto, wire.JSON}, First: wire.JSON,
		Start: func(t *testing.T, hub *session.Hub) func(bool) sessiontest.Wire {
			server := start(t, hub)
			return func(slow bool) sessiontest.Wire {
				c := dial(t, server)
				if slow {
					c = sessiontest.Dribble{Conn: c}
				}
				return sessiontest.Stream{Conn: c}
			}
		},
	})
}
