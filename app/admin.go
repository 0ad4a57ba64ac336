package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/im-transfer/im/configs"
)

// adminPatience bounds how long a stop waits for answers to operators.
const adminPatience = 500 * time.Millisecond

// admin is the listener for operators: health, metrics and profiles. It has no
// authentication and belongs on loopback or a private network; the doorkeeper keeps out
// the pages in a browser there.
type admin struct {
	server   *http.Server
	listener net.Listener
	ready    func() error
	running  sync.WaitGroup
	failed   chan error
}

// newAdmin listens and serves; more adds what the process's roles have for operators.
func newAdmin(
	ctx context.Context, address string, config configs.Admin, metrics prometheus.Gatherer, ready func() error,
	more []func(*http.ServeMux), log *slog.Logger,
) (*admin, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, taken("admin.listen", fmt.Errorf("admin.listen: %w", err))
	}
	a := &admin{listener: listener, ready: ready, failed: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, add := range more {
		add(mux)
	}
	a.server = &http.Server{
		// Pages of others, in an operator's browser, may change nothing here, and read nothing.
		Handler:           newDoorkeeper(address, config.Hosts, http.NewCrossOriginProtection().Handler(mux)),
		ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	a.running.Go(func() {
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve admin: %w", err)
		}
	})
	return a, nil
}

// readyz answers 200 while the process can serve clients, else 503 with why not.
func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.ready(); err != nil {
		say(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	say(w, http.StatusOK, "ready")
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text) //nolint:gosec // plain text, which no browser may take for anything else
}

// stop cuts off what is not finished at once: a profile may take as long as its
// reader likes, and the servers after this one need the time.
func (a *admin) stop(ctx context.Context) error {
	brief, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	err := a.server.Shutdown(brief)
	if err != nil {
		err = a.server.Close()
	}
	a.running.Wait()
	return err
}
