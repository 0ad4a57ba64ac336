package links

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Gate is a way into several links, by name, from one part: an HTTP proxy that knows
// CONNECT only. gRPC goes through one where HTTPS_PROXY tells it to, unless it is to
// dial a loopback address. So each part can have links of its own to others that
// tell everybody the same address. All methods are safe for concurrent use.
type Gate struct {
	listener net.Listener
	route    func(host string) *Link
	running  sync.WaitGroup

	mu      sync.Mutex
	waiting map[net.Conn]bool // connections that have not said where to
	closed  bool
}

// askPatience is how long a connection may take to say where it wants to go.
const askPatience = 10 * time.Second

// OpenGate opens a gate on a free port of 127.0.0.1. route names the link to a host,
// nil for one that there is none to; the links are not the gate's to close.
func OpenGate(ctx context.Context, route func(host string) *Link) (*Gate, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a gate: %w", err)
	}
	g := &Gate{listener: listener, route: route, waiting: map[net.Conn]bool{}}
	g.running.Go(g.accept)
	return g, nil
}

// URL returns its address, as HTTPS_PROXY wants it.
func (g *Gate) URL() string { return "http://" + g.listener.Addr().String() }

// Close lets nobody in any more. Connections that have passed it are their links'.
func (g *Gate) Close() {
	g.mu.Lock()
	g.closed = true
	g.listener.Close()
	for near := range g.waiting {
		near.Close()
	}
	g.mu.Unlock()
	g.running.Wait()
}

func (g *Gate) accept() {
	for {
		near, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.closed {
			near.Close()
		} else {
			g.waiting[near] = true
			g.running.Go(func() { g.admit(near) })
		}
		g.mu.Unlock()
	}
}

// admit reads where a connection wants to go, and hands it to that link.
func (g *Gate) admit(near net.Conn) {
	near.SetReadDeadline(time.Now().Add(askPatience))
	link, err := g.ask(near)
	near.SetReadDeadline(time.Time{})
	g.mu.Lock()
	delete(g.waiting, near)
	g.mu.Unlock()
	if err != nil {
		abort(near.(*net.TCPConn))
		return
	}
	link.carry(near.(*net.TCPConn), []byte("HTTP/1.1 200 OK\r\n\r\n"))
}

func (g *Gate) ask(near net.Conn) (*Link, error) {
	from := bufio.NewReader(near)
	request, err := http.ReadRequest(from)
	if err != nil {
		return nil, err
	}
	if request.Method != http.MethodConnect || from.Buffered() > 0 {
		return nil, errors.New("want CONNECT, and nothing more before the answer")
	}
	host, _, err := net.SplitHostPort(request.Host)
	if err != nil {
		return nil, err
	}
	if link := g.route(host); link != nil {
		return link, nil
	}
	return nil, fmt.Errorf("there is no link to %s", host)
}
