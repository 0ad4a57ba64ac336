// Package tcp accepts the client protocol over TCP, with or without TLS: frames
// back to back. It gives each connection to a session.Hub and nothing more.
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/im-transfer/im/session"
)

// Config is where a server listens.
type Config struct {
	Listen string      // host:port; port 0 chooses one
	TLS    *tls.Config // nil = none
}

// Server accepts connections.
type Server struct {
	config    Config
	hub       *session.Hub
	log       *slog.Logger
	buffers   session.Buffers
	accepting sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	stopped  bool
	done     chan struct{} // closed by Stop
}

// New returns a server that Start starts. After its Stop the caller drains and
// stops the hub.
func New(config Config, hub *session.Hub, log *slog.Logger) *Server {
	return &Server{config: config, hub: hub, log: log, done: make(chan struct{})}
}

// Start begins to listen. A second call, or one after Stop, is an error.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.stopped {
		return errors.New("tcp server was started before")
	}
	listener, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for tcp clients (tcp.listen): %w", err)
	}
	s.listener = listener
	s.accepting.Add(1)
	go s.accept(listener)
	return nil
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

// Stop ends listening; the connections belong to the hub. It may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.done)
	}
	if s.listener != nil {
		s.listener.Close()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.accepting.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) accept(listener net.Listener) {
	defer s.accepting.Done()
	for pause := time.Duration(0); ; {
		c, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			if s.config.TLS != nil {
				c = tls.Server(c, s.config.TLS)
			}
			s.hub.Serve(newConn(c, &s.buffers))
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, or the client has gone already
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept a tcp client", "error", err)
			select {
			case <-time.After(pause):
			case <-s.done:
			}
		}
	}
}
