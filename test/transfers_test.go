package test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/common/storetest"
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/transfer"
)

const pipelinePartitions = 4 // of each topic

// pipeline is transfer servers in one process over one store without outbox, one
// queue and one registry, as they are over MongoDB, RabbitMQ and etcd.
type pipeline struct {
	t        *testing.T
	db       *sqlite.Store
	store    transfer.Store
	queue    transfer.Queue
	registry *memory.Registry
	log      *slog.Logger

	mu      sync.Mutex
	members map[string]*member
}

// member is one of them, and its own ways to what they share, which can be cut.
type member struct {
	id       string
	store    *storetest.Outage
	queue    *queuetest.Faulty
	registry *slowRegistry
	server   *transfer.Server
	rpc      *grpc.Server
	listener *bufconn.Listener
	serving  sync.WaitGroup
	dead     atomic.Bool
}

func newPipeline(t *testing.T) *pipeline {
	db, err := sqlite.Open(t.Context(), t.TempDir(), sqlite.Options{})
	must(t, err)
	inner := memory.NewQueue(64,
		memory.Topic{Name: transfer.TopicConversation, Partitions: pipelinePartitions, Bound: 100_000},
		memory.Topic{Name: transfer.TopicInbox, Partitions: pipelinePartitions, Bound: 100_000})
	p := &pipeline{
		t: t, db: db, store: storetest.WithoutOutbox(db), queue: queuetest.Of(inner),
		registry: memory.NewRegistry(), members: map[string]*member{}, log: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() {
		p.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	t.Cleanup(func() { must(t, db.Close()) })
	t.Cleanup(func() { must(t, inner.Close()) })
	return p
}

// add starts one more transfer, with changes to its configuration.
func (p *pipeline) add(id string, options ...func(*transfer.Config)) *member {
	m := &member{
		id: id, store: storetest.NewOutage(p.store), registry: &slowRegistry{Registry: p.registry}, listener: bufconn.Listen(1 << 16),
		rpc: grpc.NewServer(grpc.ForceServerCodecV2(codec.New())),
	}
	m.queue = queuetest.NewFaulty(p.queue, func(string, int, []im.Pack) queuetest.Fate {
		if m.dead.Load() {
			return queuetest.Lose
		}
		return queuetest.Deliver
	})
	m.queue.Carry(3)
	config := transfer.Config{
		ServerID: id, Address: id, ConversationPartitions: pipelinePartitions, InboxPartitions: pipelinePartitions, Prefetch: 64,
	}
	for _, option := range options {
		option(&config)
	}
	m.server = transfer.New(config, m.store, consumingQueue{m.queue, m.registry}, m.registry, anyToken{}, p.log)
	p.mu.Lock()
	p.members[id] = m
	p.mu.Unlock()
	imv1.RegisterTransferServer(m.rpc, m.server)
	m.serving.Go(func() { _ = m.rpc.Serve(m.listener) })
	must(p.t, m.server.Start(p.t.Context()))
	p.t.Cleanup(func() { p.leave(m) })
	return m
}

// leave stops a transfer as an operator does; a second time does nothing.
func (p *pipeline) leave(m *member) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(p.t, m.server.Stop(ctx))
	m.rpc.Stop()
	m.serving.Wait()
}

// kill cuts a transfer off from everything at once, in the middle of whatever it
// does: as good as kill -9 for everybody else.
func (p *pipeline) kill(m *member) {
	m.dead.Store(true)
	m.store.Gone()
	m.rpc.Stop()
	must(p.t, p.registry.Deregister(context.Background(), m.id))
	p.lose(m)
}

// pause holds a transfer's calls to the store and its view of the registry, in
// which its lease ends; the broker gives its partitions to others.
func (p *pipeline) pause(m *member) {
	m.registry.hold(true)
	m.store.Away()
	must(p.t, p.registry.Deregister(context.Background(), m.id))
	p.lose(m)
}

// resume lets it go on: what it was about to write is written now.
func (p *pipeline) resume(m *member) {
	m.store.Back()
	must(p.t, p.registry.Register(context.Background(), im.Server{ID: m.id, Role: "transfer", Address: m.id}))
	m.registry.hold(false)
}

// lose takes all partitions away from a transfer.
func (p *pipeline) lose(m *member) {
	for q := range pipelinePartitions {
		must(p.t, m.queue.Break(transfer.TopicConversation, q))
		must(p.t, m.queue.Break(transfer.TopicInbox, q))
	}
}

// gateway starts a gateway that reaches the transfers over real gRPC.
func (p *pipeline) gateway() *session.Hub {
	hub, _ := p.linked()
	return hub
}

// linked is gateway with its link, which can be cut; its configuration can be changed.
func (p *pipeline) linked(options ...func(*session.LinkConfig)) (*session.Hub, *session.Link) {
	config := session.LinkConfig{
		ServerID: im.NewID(), Role: "tcp", InboxPartitions: pipelinePartitions, ConversationPartitions: pipelinePartitions, Servers: p.registry, Dial: p.dial,
	}
	for _, option := range options {
		option(&config)
	}
	link := session.NewLink(config, p.log)
	must(p.t, link.Start())
	hub := session.NewHub(session.Config{}, link, p.log)
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(p.t, errors.Join(hub.Stop(ctx), link.Stop(ctx)))
	})
	return hub, link
}

func (p *pipeline) dial(_ context.Context, address string) (grpc.ClientConnInterface, error) {
	p.mu.Lock()
	m := p.members[address]
	p.mu.Unlock()
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if m == nil || m.dead.Load() {
				return nil, io.ErrClosedPipe
			}
			return m.listener.DialContext(ctx)
		}))
}

// user makes a user with a signed-in device d1.
func (p *pipeline) user(id string) {
	must(p.t, p.db.CreateUser(p.t.Context(), im.User{ID: id, Username: id}))
	must(p.t, p.db.PutDevice(p.t.Context(), im.Device{UserID: id, DeviceID: "d1", Platform: "web", Family: "f"}))
}

// anyToken takes a user id as the token of their device d1.
type anyToken struct{}

func (anyToken) Verify(token string) (im.Claims, error) {
	return im.Claims{UserID: token, DeviceID: "d1", Platform: "web", Family: "f"}, nil
}

// slowRegistry is a registry whose news can be held back.
type slowRegistry struct {
	*memory.Registry
	mu   sync.Mutex
	free chan struct{} // closed when news pass; nil = they pass
}

func (r *slowRegistry) hold(back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if back {
		r.free = make(chan struct{})
	} else {
		close(r.free)
		r.free = nil
	}
}

func (r *slowRegistry) pass(ctx context.Context) bool {
	r.mu.Lock()
	free := r.free
	r.mu.Unlock()
	if free == nil {
		return true
	}
	select {
	case <-free:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *slowRegistry) held() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.free != nil
}

// consumingQueue takes no partition while its transfer is paused.
type consumingQueue struct {
	*queuetest.Faulty
	registry *slowRegistry
}

// Consume is the queue's, behind the pause.
func (q consumingQueue) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	for {
		if !q.registry.pass(ctx) {
			return nil, ctx.Err()
		}
		consumer, err := q.Faulty.Consume(ctx, topic, partition)
		if err != nil || !q.registry.held() {
			return consumer, err
		}
		if err := consumer.Close(); err != nil {
			return nil, err
		}
	}
}

// Watch is the registry's, behind what is held back.
func (r *slowRegistry) Watch(ctx context.Context, role string) (<-chan []im.Server, error) {
	news, err := r.Registry.Watch(ctx, role)
	if err != nil {
		return nil, err
	}
	lists := make(chan []im.Server)
	go func() {
		defer close(lists)
		for list := range news {
			if !r.pass(ctx) {
				return
			}
			select {
			case newer, ok := <-news:
				if !ok {
					return
				}
				list = newer
			default:
			}
			select {
			case lists <- list:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lists, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
