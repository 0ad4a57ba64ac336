package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/etcd"
	"github.com/im-transfer/im/common/jwt"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/mongo"
	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/transfer"
)

// store is what the servers together ask of a store.
type store interface {
	transfer.Store
	http.Accounts
	http.Devices
	http.Histories
	http.Relations
	http.Journals
	http.Passports
	http.Broadcasts
	Close() error
}

// queue is the pipeline's queue, with an end.
type queue interface {
	transfer.Queue
	Close() error
}

// registry is what the servers together ask of a registry.
type registry interface {
	transfer.Registry
	Facts(ctx context.Context, facts im.ClusterFacts) (im.ClusterFacts, error)
	Settings(ctx context.Context) (<-chan map[string]string, error)
}

// driver is a queue whose consumers are a type of its own.
type driver[C transfer.Consumer] interface {
	Publish(topic string, partition int, items []im.Pack, confirmed func(error))
	Backlog(topic string, partition int) int
	Ping(ctx context.Context) error
	Consume(ctx context.Context, topic string, partition int) (C, error)
	Close() error
}

// asQueue gives a driver the interface's result type.
type asQueue[C transfer.Consumer] struct{ driver[C] }

// Consume becomes a partition's consumer.
func (q asQueue[C]) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	return q.driver.Consume(ctx, topic, partition)
}

// startDrivers opens what the roles of the process need. The configuration has made
// sure that all drivers are embedded, or none.
func (p *process) startDrivers(ctx context.Context) error {
	open := p.openDistributed
	if p.config.Embedded() {
		open = p.openEmbedded
	}
	if err := open(ctx); err != nil {
		return err
	}
	if !p.is(HTTP, Transfer) {
		return nil
	}
	var err error
	if p.tokens, err = jwt.New(jwt.Config{Secret: []byte(p.secret), Now: p.now}); err != nil {
		return fmt.Errorf("auth.secret: %w", err)
	}
	return nil
}

func (p *process) openEmbedded(ctx context.Context) error {
	c := p.config
	opened, err := sqlite.Open(ctx, c.DataDir, sqlite.Options{Logger: p.log, Now: p.now})
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	p.store = opened
	p.started("store", func(context.Context) error { return opened.Close() })
	p.Addresses["data_dir"] = c.DataDir
	p.queue = asQueue[*memory.Consumer]{memory.NewQueue(c.Transfer.Prefetch,
		memory.Topic{Name: transfer.TopicConversation, Partitions: c.Transfer.ConversationPartitions, Bound: c.Queue.Bound},
		memory.Topic{Name: transfer.TopicInbox, Partitions: c.Transfer.InboxPartitions, Bound: c.Queue.Bound, Bytes: transfer.InboxBacklogBytes})}
	p.started("queue", func(context.Context) error { return p.queue.Close() })
	p.registry = embeddedRegistry{memory.NewRegistry(), opened}
	if p.secret = string(c.Auth.Secret); p.secret == "" {
		if p.secret, err = secret(c.DataDir, "auth.key"); err != nil {
			return fmt.Errorf("auth.secret: %w", err)
		}
	}
	return nil
}

// openDistributed waits for what does not answer yet: a new server of a cluster whose
// registry, store or broker is away starts when that is back.
func (p *process) openDistributed(ctx context.Context) error {
	p.secret = string(p.config.Auth.Secret)
	if err := p.openRegistry(ctx); err != nil {
		return err
	}
	if p.is(HTTP, Transfer) {
		if err := p.openStore(ctx); err != nil {
			return err
		}
	}
	if p.is(Transfer) {
		return p.openQueue(ctx)
	}
	return nil
}

// waiting tells an operator when an engine does not answer for a while; what it
// returns ends that.
func (p *process) waiting(engine string) func() {
	const while = 3 * time.Second
	timer := time.AfterFunc(while, func() { p.log.Warn("the server waits for an engine that does not answer yet", "engine", engine) })
	return func() { timer.Stop() }
}

func (p *process) openRegistry(ctx context.Context) error {
	c := p.config.Registry
	defer p.waiting("etcd")()
	opened, err := etcd.Open(ctx, etcd.Options{URI: string(c.URI), TTL: c.TTL, Wait: -1, Log: p.log})
	if err != nil {
		return err
	}
	p.registry = opened
	p.started("registry", func(context.Context) error { return opened.Close() })
	return nil
}

func (p *process) openStore(ctx context.Context) error {
	defer p.waiting("MongoDB")()
	opened, err := mongo.Open(ctx, string(p.config.Store.URI), mongo.Options{})
	if err != nil {
		return fmt.Errorf("store.uri: %w", err)
	}
	p.store = opened
	p.started("store", func(context.Context) error { return opened.Close() })
	if !opened.Real() {
		p.log.Warn("the store is no MongoDB but a server that speaks its protocol")
	}
	return nil
}

func (p *process) openQueue(ctx context.Context) error {
	c := p.config
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name the connection to the broker: %w", err)
	}
	defer p.waiting("RabbitMQ")()
	opened, err := rabbitmq.Open(ctx, rabbitmq.Config{
		URIs: c.Queue.URI.Addresses(), Name: "im " + p.role + " " + host, Prefix: "im.",
		Topics: []rabbitmq.Topic{
			{Name: transfer.TopicConversation, Partitions: c.Transfer.ConversationPartitions},
			{Name: transfer.TopicInbox, Partitions: c.Transfer.InboxPartitions},
		},
		Prefetch: c.Transfer.Prefetch, Heartbeat: c.Queue.Heartbeat, Log: p.log,
	})
	if err != nil {
		return fmt.Errorf("queue.uri: %w", err)
	}
	p.queue = asQueue[*rabbitmq.Consumer]{opened}
	p.started("queue", func(context.Context) error { return p.queue.Close() })
	return nil
}
