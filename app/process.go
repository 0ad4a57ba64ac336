package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/jwt"
	"github.com/im-transfer/im/common/zipkin"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/transfer"
)

// The roles that a process can have. All is the four of them in one process.
const (
	All       = "all"
	HTTP      = "http"
	WebSocket = "websocket"
	TCP       = "tcp"
	Transfer  = "transfer"
)

// Options are what is not configuration.
type Options struct {
	Version string
	Log     *slog.Logger

	// LogLevel, where it is set, is what Log's handler asks for its level. The
	// setting log.level is put there, now and when it changes.
	LogLevel *slog.LevelVar

	// WrapStore, where it is set, puts something between the pipeline and its
	// store: a test's faults.
	WrapStore func(transfer.Store) transfer.Store
}

// process is a process with its roles, while it is being put together.
type process struct {
	*App
	role     string
	config   *configs.Config
	options  Options
	metrics  *prometheus.Registry
	now      func() time.Time
	store    store    // http and transfer have one
	queue    queue    // transfer has one
	registry registry // everybody has one
	tokens   *jwt.Tokens
	secret   string // that signs tokens, of http and transfer
	settings *settings
	spans    *zipkin.Reporter // nil: there is no collector
	dial     dial

	operators []func(*http.ServeMux) // what the admin listener serves besides health and metrics
}

// giveUpPatience bounds the stop of what had started when a start fails.
const giveUpPatience = 10 * time.Second

// New starts the servers of a role, or of All. All runs on the embedded drivers
// unless the configuration says otherwise; its servers then speak gRPC over a
// listener in memory. A role by itself needs the distributed drivers, and waits for
// those that do not answer yet until ctx ends. When New fails, what had started is
// stopped again.
func New(ctx context.Context, role string, config *configs.Config, options Options) (*App, error) {
	if err := config.CheckRole(role); err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	p := &process{App: newApp(options.Log), role: role, config: config, options: options, metrics: prometheus.NewRegistry(), now: wallClock()}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, start := range []func(context.Context) error{
		p.startDrivers, p.agree, p.startSettings, p.startTracing,
		p.when(p.startTransfer, Transfer), p.when(p.startHTTP, HTTP), p.when(p.startWebSocket, WebSocket), p.when(p.startTCP, TCP),
		p.startAdmin,
	} {
		if err := start(ctx); err != nil {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpPatience)
			defer cancel()
			return nil, errors.Join(err, p.Stop(bounded))
		}
	}
	return p.App, nil
}

// is reports whether the process has one of these roles.
func (p *process) is(roles ...string) bool {
	return p.role == All || slices.Contains(roles, p.role)
}

// when is a start that only processes of a role make.
func (p *process) when(start func(context.Context) error, role string) func(context.Context) error {
	if !p.is(role) {
		return func(context.Context) error { return nil }
	}
	return start
}

// startAdmin comes last: when it answers, everything does.
func (p *process) startAdmin(ctx context.Context) error {
	operators, err := newAdmin(ctx, p.config.AdminListen(p.role), p.config.Admin, p.metrics, p.Ready, p.operators, p.log)
	if err != nil {
		return err
	}
	p.started("admin", operators.stop)
	p.watch("admin", operators.failed)
	p.Addresses["admin.listen"] = operators.listener.Addr().String()
	return nil
}

// loadEvery is how often at most the registry is told a server's new load.
const loadEvery = time.Second

// register makes a server known to clients, and keeps its load figure up to date
// where it has one.
func (p *process) register(ctx context.Context, server im.Server, load func() int) error {
	listed, end := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, end) // a registry that is away is waited for
	err := p.registry.Register(listed, server)
	if !giveUp() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return fmt.Errorf("register the %s server: %w", server.Role, err)
	}
	if load == nil {
		load = func() int { return 0 }
	}
	reporting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		p.report(reporting, server, load)
	}()
	p.started(server.Role+" registration", func(ctx context.Context) error {
		cancel()
		<-reported
		defer end()
		return p.registry.Deregister(ctx, server.ID)
	})
	return nil
}

// report tells the registry a server's load whenever it has changed, until ctx ends.
// A registry that is away learns the newest one when it is back.
func (p *process) report(ctx context.Context, server im.Server, load func() int) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := int64(load())
		if now == server.Load {
			continue
		}
		server.Load = now
		if err := p.registry.Register(context.WithoutCancel(ctx), server); err != nil {
			p.log.Debug("tell the registry a server's load", "server", server.Role, "error", err)
		}
	}
}
