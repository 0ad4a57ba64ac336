package test

import (
	"net"
	"testing"

	"github.com/im-transfer/im/proto/wire"
)

// A server that was paused finds the logins of clients that have long gone elsewhere.
func TestWhoHasGivenUpOnAPausedServerTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	user := s.users("alice")[0]
	tokens := s.tokens(user, "web", "web")
	live, _ := s.raw(t, false, wire.Proto, authOf(tokens, "web", "web"))
	var given []*raw
	for range 2 {
		for _, transport := range transports {
			r, err := s.dial(t, transport.websocket, transport.form)
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, r)
		}
	}
	s.process.Pause() //nolint:errcheck // the assertions tell
	for i, r := range given {
		r.send(wire.OpAuth, authOf(tokens, "web", "web"))
		if i%2 == 0 {
			r.conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed, which is as good
		}
		r.conn.Close()
	}
	s.process.Resume() //nolint:errcheck // as above
	for _, platform := range []string{"ios", "desktop", "tablet", "other"} {
		s.raw(t, false, wire.Proto, authOf(s.tokens(user, platform, platform), platform, platform))
		live.heartbeat()
	}
}
