// Package http is the http server: accounts and sessions, the gateway API,
// messages, inbox and history over HTTP, and the pages of package web. An
// endpoint is a file's worth of handler over the interfaces of store.go; what
// all of them share (errors, tokens, bodies) stands in files of its own.
//
// Goroutines: one that serves, one for each transport that follows the registry, one for
// broadcasts;
// Start starts them and Stop waits for them. Requests run on net/http's.
package http

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im/web"
)

// Server is an http server. Make it with New.
type Server struct {
	Services
	config     Config
	policy     atomic.Pointer[Policy]
	log        *slog.Logger
	hashing    *hashing
	names      *limiter // failed log-ins of a name
	origins    *limiter // failed log-ins from an address
	joins      *limiter // registrations from an address
	crowd      *crowd
	complaints complaints
	gateways   map[string]*gateways
	handler    http.Handler

	broadcaster *broadcaster // of an operator's messages to many

	server   *http.Server
	fresh    *fresh
	listener net.Listener
	cancel   context.CancelFunc
	running  sync.WaitGroup
	failed   chan error
	once     sync.Once
}

// New returns a server that does not listen yet. Services stays the caller's.
func New(config Config, services Services, log *slog.Logger) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s := &Server{
		Services: services, config: config, log: log,
		hashing:    newHashing(services.Passwords, config.HashConcurrency, config.HashQueue),
		names:      newLimiter(config.LoginsPerName),
		origins:    newLimiter(config.LoginsPerAddress),
		joins:      newLimiter(config.RegistrationsPerAddress),
		crowd:      newCrowd(config.MaxRequests),
		complaints: complaints{was: map[failure]*complaint{}},
		gateways:   map[string]*gateways{"websocket": {}, "tcp": {}},
		fresh:      newFresh(),
		cancel:     func() {},
		failed:     make(chan error, 1),
	}
	s.SetPolicy(config.Policy)
	s.broadcaster = newBroadcaster(s)
	mux := http.NewServeMux()
	document, err := s.routes(mux)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	if err := servePages(mux, web.Pages, document); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s.handler = s.around(mux)
	return s, nil
}

// Handler answers requests; for tests, and for who serves by other means.
func (s *Server) Handler() http.Handler { return s.handler }

// Start follows the registry and listens. The context bounds the start only. An
// error names the setting that it comes from.
func (s *Server) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	following, cancel := context.WithCancel(context.Background())
	if err := s.follow(following); err != nil {
		cancel()
		s.running.Wait()
		listener.Close()
		return err
	}
	if s.Broadcasts != nil {
		lists, err := s.Discovery.Watch(following, "http")
		if err != nil {
			cancel()
			s.running.Wait()
			listener.Close()
			return fmt.Errorf("watch the http servers: %w", err)
		}
		s.running.Go(func() { s.broadcaster.run(following, lists) })
	}
	s.listener, s.cancel = listener, cancel
	if s.config.TLS != nil {
		listener = tls.NewListener(listener, s.config.TLS)
	}
	s.server = &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       s.config.RequestTimeout + 5*time.Second,
		WriteTimeout:      2*s.config.RequestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.fresh.follow,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.running.Go(func() {
		if err := s.server.Serve(listener); err != http.ErrServerClosed {
			s.failed <- fmt.Errorf("serve http: %w", err)
		}
	})
	s.log.Info("http server listens", "address", s.Addr())
	return nil
}

// Addr is where the server listens, empty before Start.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Failed gives the error, at most one, by which a started server ended without
// Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop lets the requests in flight finish until the context ends, then cuts
// them, which is no error: their clients do not know the outcome and ask again.
// A second call does nothing.
func (s *Server) Stop(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		s.cancel()
		if s.server != nil {
			s.fresh.stop()
			if stalled := s.server.Shutdown(ctx); stalled != nil {
				s.log.Warn("some requests did not end in time and were cut", "error", stalled)
				err = wrap("stop http", s.server.Close())
			}
		}
		s.running.Wait()
	})
	return err
}
