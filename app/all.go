package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/jwt"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/transfer"
)

// Options are what is not configuration.
type Options struct {
	Version string
	Log     *slog.Logger

	// WrapStore, where it is set, puts something between the pipeline and its
	// store: a test's faults.
	WrapStore func(transfer.Store) transfer.Store
}

// all is a process with every role, while it is being put together.
type all struct {
	*App
	config   *configs.Config
	options  Options
	metrics  *prometheus.Registry
	store    *sqlite.Store
	queue    *memory.Queue
	registry *memory.Registry
	tokens   *jwt.Tokens
	secret   string
	wire     *wire
	ready    []func() error
}

// giveUpPatience bounds the stop of what had started when a start fails.
const giveUpPatience = 10 * time.Second

// NewAll starts every server in one process on the embedded drivers: SQLite, a
// queue and a registry in memory, and gRPC between the servers over an in-memory
// listener. When it fails, what had started is stopped again.
func NewAll(ctx context.Context, config *configs.Config, options Options) (*App, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	a := &all{App: newApp(options.Log), config: config, options: options, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, start := range []func(context.Context) error{
		a.startDrivers, a.startTransfer, a.startHTTP, a.startWebSocket, a.startTCP, a.startAdmin,
	} {
		if err := start(ctx); err != nil {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpPatience)
			defer cancel()
			return nil, errors.Join(err, a.Stop(bounded))
		}
	}
	return a.App, nil
}

func (a *all) startDrivers(ctx context.Context) error {
	c := a.config
	for name, driver := range map[string]string{"store": c.Store.Driver, "queue": c.Queue.Driver.Driver, "registry": c.Registry.Driver.Driver} {
		if driver != "sqlite" && driver != "memory" {
			return fmt.Errorf("%s.driver: %s is not available yet", name, driver)
		}
	}
	if c.Tracing.Endpoint != "" {
		return errors.New("tracing.endpoint: tracing is not available yet")
	}
	var err error
	if a.store, err = sqlite.Open(ctx, c.DataDir, sqlite.Options{Logger: a.log}); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	a.started("store", func(context.Context) error { return a.store.Close() })
	a.Addresses["data_dir"] = c.DataDir
	a.queue = memory.NewQueue(c.Transfer.Prefetch,
		memory.Topic{Name: transfer.TopicConversation, Partitions: c.Transfer.ConversationPartitions, Bound: c.Queue.Bound},
		memory.Topic{Name: transfer.TopicInbox, Partitions: c.Transfer.InboxPartitions, Bound: c.Queue.Bound})
	a.started("queue", func(context.Context) error { return a.queue.Close() })
	a.registry = memory.NewRegistry()
	if a.secret = string(c.Auth.Secret); a.secret == "" {
		if a.secret, err = secret(c.DataDir, "auth.key"); err != nil {
			return fmt.Errorf("auth.secret: %w", err)
		}
	}
	if a.tokens, err = jwt.New(jwt.Config{Secret: []byte(a.secret)}); err != nil {
		return fmt.Errorf("auth.secret: %w", err)
	}
	return nil
}

// startAdmin comes last: when it answers, everything does.
func (a *all) startAdmin(ctx context.Context) error {
	operators, err := newAdmin(ctx, a.config.AdminListen("all"), a.metrics, a.isReady, a.log)
	if err != nil {
		return err
	}
	a.started("admin", operators.stop)
	a.watch("admin", operators.failed)
	a.Addresses["admin.listen"] = operators.listener.Addr().String()
	return nil
}

func (a *all) isReady() error {
	for _, ready := range a.ready {
		if err := ready(); err != nil {
			return err
		}
	}
	return nil
}

// register makes a server known to clients.
func (a *all) register(ctx context.Context, server im.Server) error {
	if err := a.registry.Register(context.WithoutCancel(ctx), server); err != nil {
		return fmt.Errorf("register the %s server: %w", server.Role, err)
	}
	a.started(server.Role+" registration", func(ctx context.Context) error {
		return a.registry.Deregister(ctx, server.ID)
	})
	return nil
}
