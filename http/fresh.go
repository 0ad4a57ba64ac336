package http

import (
	"net"
	"net/http"
	"sync"
)

// fresh is the connections over which nothing has come yet. A stop need not wait for
// them: a client that dials ahead of need, as browsers and pools do, may keep one so
// for seconds, and nothing of it is in flight. It is safe for concurrent use.
type fresh struct {
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	stopping bool
}

func newFresh() *fresh { return &fresh{conns: map[net.Conn]struct{}{}} }

// follow is the server's ConnState.
func (f *fresh) follow(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.conns, conn)
	case f.stopping:
		conn.Close()
	default:
		f.conns[conn] = struct{}{}
	}
}

// stop closes them, and whoever is still accepted.
func (f *fresh) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopping = true
	for conn := range f.conns {
		conn.Close()
	}
}
