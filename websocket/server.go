// Package websocket accepts the client protocol over WebSocket at /ws. It gives
// each connection to a session.Hub and nothing more.
package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im/session"
)

// Path is where clients connect.
const Path = "/ws"

// Config is where a server listens, and for whom.
type Config struct {
	Listen string // host:port; port 0 chooses one
	// Origins that pages may connect from, as scheme://host[:port]; "*" allows
	// all. Requests without an Origin, which are not a page's, are always
	// allowed.
	Origins []string
	// HTTPPort is the http server's: its own pages may connect too, which are
	// those of this port on the host that the request itself is for. Empty = none.
	HTTPPort string
	TLS      *tls.Config   // nil = none
	Upgrade  time.Duration // 5 s for the request's header
}

// Server accepts connections.
type Server struct {
	config    Config
	hub       *session.Hub
	log       *slog.Logger
	upgrader  websocket.Upgrader
	buffers   session.Buffers
	accepting sync.WaitGroup

	mu       sync.Mutex
	server   *http.Server
	listener net.Listener
	stopped  bool
}

// New returns a server that Start starts. After its Stop the caller drains and
// stops the hub.
func New(config Config, hub *session.Hub, log *slog.Logger) *Server {
	if config.Upgrade == 0 {
		config.Upgrade = 5 * time.Second
	}
	s := &Server{config: config, hub: hub, log: log}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: config.Upgrade,
		ReadBufferSize:   1, // neither is used: gorilla's Conn is dropped
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      s.allowed,
	}
	return s
}

// Start begins to listen. A second call, or one after Stop, is an error.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.stopped {
		return errors.New("websocket server was started before")
	}
	listener, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for websocket clients (websocket.listen): %w", err)
	}
	s.listener = listener
	if s.config.TLS != nil {
		listener = tls.NewListener(listener, s.config.TLS)
	}
	mux := http.NewServeMux()
	mux.HandleFunc(Path, s.upgrade)
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: s.config.Upgrade, MaxHeaderBytes: 16 << 10, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.accepting.Add(1)
	go s.serve(s.server, listener)
	return nil
}

func (s *Server) serve(server *http.Server, listener net.Listener) {
	defer s.accepting.Done()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("accept websocket clients", "error", err)
	}
}

// Addr is where the server listens; nil before Start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stop ends listening; upgraded connections belong to the hub. It may be called
// again.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	server := s.server
	s.mu.Unlock()
	if server != nil {
		server.Close()
	}
	ended := make(chan struct{})
	go func() { s.accepting.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// allowed judges where a page comes from.
func (s *Server) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || s.own(origin, r.Host) || slices.ContainsFunc(s.config.Origins, func(o string) bool {
		return o == "*" || strings.EqualFold(strings.TrimSuffix(o, "/"), origin)
	})
}

// own reports whether a page is one of the http server's: that has another port,
// but the name by which the client reached us.
func (s *Server) own(origin, host string) bool {
	from, err := url.Parse(origin)
	if err != nil || s.config.HTTPPort == "" || from.Host == "" {
		return false
	}
	port := from.Port()
	switch {
	case port != "":
	case from.Scheme == "https":
		port = "443"
	case from.Scheme == "http":
		port = "80"
	}
	to := url.URL{Host: host}
	return port == s.config.HTTPPort && strings.EqualFold(from.Hostname(), to.Hostname())
}

// upgrade takes the connection over and returns, so that net/http's goroutine,
// with its stack and buffers, is given back; the session has one of its own.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil { // answered by Upgrade
		return
	}
	s.hub.Serve(newConn(ws.NetConn(), &s.buffers, r.UserAgent()))
}
