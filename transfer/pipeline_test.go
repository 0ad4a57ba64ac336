package transfer_test

import (
	"context"
	"log/slog"
	"net"
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
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// tokens takes a token of the form "user/device/platform".
type tokens struct{}

func (tokens) Verify(token string) (im.Claims, error) {
	return im.Claims{UserID: token, DeviceID: "d1", Platform: "web", Family: "f"}, nil
}

// world is a transfer server on the embedded drivers, and the store under it.
type world struct {
	t        testing.TB
	dir      string
	db       *sqlite.Store
	store    transfer.Store // db, or something wrapped around it
	queue    transfer.Queue // in memory, or something wrapped around it
	registry *memory.Registry
	config   transfer.Config
	server   *transfer.Server
	conn     *grpc.ClientConn
	stop     func()
}

type option func(*transfer.Config, *world)

func start(t testing.TB, options ...option) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.start(options...)
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start(options ...option) {
	w.t.Helper()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, w.dir, sqlite.Options{CacheBytes: 1 << 20})
	must(w.t, err)
	q := memory.NewQueue(256,
		memory.Topic{Name: transfer.TopicConversation, Partitions: 2, Bound: 10000},
		memory.Topic{Name: transfer.TopicInbox, Partitions: 2, Bound: 10000})
	w.db, w.store, w.queue, w.registry = db, db, queuetest.Of(q), memory.NewRegistry()
	w.config = transfer.Config{ServerID: im.NewID(), ConversationPartitions: 2, InboxPartitions: 2}
	for _, o := range options {
		o(&w.config, w)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	w.server = transfer.New(w.config, w.store, w.queue, w.registry, tokens{}, log)
	must(w.t, w.server.Start(ctx))
	listener := bufconn.Listen(1 << 16)
	rpc := grpc.NewServer(grpc.ForceServerCodecV2(codec.New()))
	imv1.RegisterTransferServer(rpc, w.server)
	served := make(chan struct{})
	go func() { defer close(served); _ = rpc.Serve(listener) }()
	w.conn, err = grpc.NewClient("passthrough:transfer",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec.New())))
	must(w.t, err)
	w.stop = func() {
		w.stop = func() {}
		_ = w.conn.Close()
		rpc.Stop()
		<-served
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(w.t, w.server.Stop(ctx))
		_ = q.Close()
		must(w.t, db.Close())
	}
}

// restart stops the server and starts another one on the same data.
func (w *world) restart(options ...option) {
	w.t.Helper()
	w.stop()
	w.start(options...)
}

// users makes users with a signed-in device d1 each.
func (w *world) users(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		must(w.t, w.db.CreateUser(context.Background(), im.User{ID: id, Username: id}))
		must(w.t, w.db.PutDevice(context.Background(), im.Device{UserID: id, DeviceID: "d1", Platform: "web", Family: "f"}))
	}
}

// gate is a gateway's stream; what arrives is sorted into channels.
type gate struct {
	t        testing.TB
	stream   imv1.Transfer_ConnectClient
	replies  chan *imv1.Reply
	pushes   chan pushed
	attached chan *imv1.Attached
	kicks    chan *imv1.Kicked
	heads    chan *imv1.HeadOf
	owned    chan *imv1.Ownership
	signals  chan *imv1.Signal
	close    func() // breaks the stream
	request  atomic.Uint64
}

type pushed struct {
	session uint64
	entry   *imv1.Entry
}

func (w *world) gate() *gate {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := imv1.NewTransferClient(w.conn).Connect(ctx)
	must(w.t, err)
	g := &gate{
		t: w.t, stream: stream, replies: make(chan *imv1.Reply, 1000), pushes: make(chan pushed, 10000),
		attached: make(chan *imv1.Attached, 1000), kicks: make(chan *imv1.Kicked, 1000), heads: make(chan *imv1.HeadOf, 1000),
		owned: make(chan *imv1.Ownership, 1000), signals: make(chan *imv1.Signal, 1000),
	}
	g.up(&imv1.ToTransfer{Hello: &imv1.Hello{ServerId: im.NewID(), Role: "websocket"}})
	done := make(chan struct{})
	go func() { defer close(done); g.read() }()
	g.close = func() { cancel(); <-done }
	w.t.Cleanup(g.close)
	for range 2 { // both inbox partitions are owned before anybody attaches
		recv(w.t, g.owned)
	}
	return g
}

func (g *gate) up(m *imv1.ToTransfer) { must(g.t, g.stream.Send(m)) }

func (g *gate) read() {
	for {
		m, err := g.stream.Recv()
		if err != nil {
			return
		}
		for _, o := range m.Ownerships {
			g.owned <- o
		}
		for _, a := range m.Attached {
			g.attached <- a
		}
		for _, r := range m.Replies {
			g.replies <- r
		}
		for _, p := range m.Pushes {
			g.push(p)
		}
		for _, h := range m.Heads {
			g.heads <- h
		}
		for _, k := range m.Kicks {
			g.kicks <- k
		}
	}
}

func (g *gate) push(p *imv1.Push) {
	if encoded := p.GetSignal(); encoded != nil {
		signal := &imv1.Signal{}
		must(g.t, signal.UnmarshalVT(encoded))
		g.signals <- signal
		return
	}
	for _, target := range p.Targets {
		entry := &imv1.Entry{}
		must(g.t, entry.UnmarshalVT(p.GetEntry()))
		entry.Seq = target.Seq
		g.pushes <- pushed{target.Session, entry}
	}
}

func (g *gate) attach(session uint64, user, device string) *imv1.Attached {
	g.t.Helper()
	g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: session, UserId: user, DeviceId: device, Platform: "web"}}})
	return recv(g.t, g.attached)
}

// post hands a send to accept and returns its request number.
func (g *gate) post(from string, send *imv1.Send) uint64 {
	g.t.Helper()
	body, err := send.MarshalVT()
	must(g.t, err)
	n := g.request.Add(1)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: n, UserId: from, DeviceId: "d1", What: &imv1.Publish_Send{Send: body},
	}}})
	return n
}

// send posts and waits for the answer.
func (g *gate) send(from string, send *imv1.Send) *imv1.Reply {
	g.t.Helper()
	n := g.post(from, send)
	reply := recv(g.t, g.replies)
	if reply.Request != n {
		g.t.Fatalf("reply to request %d, want %d", reply.Request, n)
	}
	return reply
}

func (g *gate) read1(user, conversation string, upto int64) *imv1.Reply {
	g.t.Helper()
	body, err := (&imv1.Read{ConversationId: conversation, Upto: upto}).MarshalVT()
	must(g.t, err)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: g.request.Add(1), UserId: user, DeviceId: "d1", What: &imv1.Publish_Read{Read: body},
	}}})
	return recv(g.t, g.replies)
}

func text(to, id, after, body string) *imv1.Send {
	return &imv1.Send{
		ClientMsgId: id, After: after, To: &imv1.To{To: &imv1.To_UserId{UserId: to}},
		Content: &imv1.Content{Type: "text", Text: body},
	}
}

func recv[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
		panic("unreachable")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(r *imv1.Reply) string { return r.GetError().GetCode() }
