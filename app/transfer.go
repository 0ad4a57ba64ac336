package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/transfer"
)

// memoryQueue gives the queue in memory the interface's result type.
type memoryQueue struct{ *memory.Queue }

// Consume becomes a partition's consumer.
func (q memoryQueue) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	return q.Queue.Consume(ctx, topic, partition)
}

// startTransfer starts the pipeline and the in-memory listener that the other
// servers of the process reach it by.
func (a *all) startTransfer(ctx context.Context) error {
	c := a.config
	var store transfer.Store = a.store
	if a.options.WrapStore != nil {
		store = a.options.WrapStore(store)
	}
	server := transfer.New(transfer.Config{
		ServerID: im.NewID(), Address: "transfer",
		ConversationPartitions: c.Transfer.ConversationPartitions, InboxPartitions: c.Transfer.InboxPartitions,
		Prefetch: c.Transfer.Prefetch, Backlog: c.Transfer.Backlog,
		DevicesPerPlatform: c.Session.PerPlatform,
		SendsPerSecond:     c.Limits.SendsPerSecond, SendBurst: c.Limits.SendBurst,
		Retention: c.Retention.Inbox,
	}, store, memoryQueue{a.queue}, a.registry, a.tokens, a.log)
	a.started("transfer", server.Stop)
	if err := server.Start(ctx); err != nil {
		return fmt.Errorf("start transfer: %w", err)
	}
	a.watch("transfer", server.Failed())
	a.wire = newWire(server)
	a.started("grpc", a.wire.stop)
	return nil
}

// wire is the gRPC server of the transfer on a listener in memory.
type wire struct {
	listener *bufconn.Listener
	server   *grpc.Server
	serving  sync.WaitGroup
}

// maxMessage bounds one message from a transfer: its pushes are bounded at 1 MiB,
// its replies by the gateway's credit.
const maxMessage = 16 << 20

// wireBuffer is the bytes that a connection in memory holds in each direction.
const wireBuffer = 256 << 10

func newWire(server imv1.TransferServer) *wire {
	w := &wire{listener: bufconn.Listen(wireBuffer), server: grpc.NewServer(grpc.ForceServerCodecV2(codec.New()))}
	imv1.RegisterTransferServer(w.server, server)
	w.serving.Go(func() { _ = w.server.Serve(w.listener) }) // it ends with stop only
	return w
}

func (w *wire) stop(context.Context) error {
	w.server.Stop()
	w.serving.Wait()
	return nil
}

func (w *wire) dial(context.Context, string) (grpc.ClientConnInterface, error) {
	return grpc.NewClient("passthrough:///transfer",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
}

// link starts a link of a role to the transfers.
func (a *all) link(role string) (*session.Link, string, error) {
	id := im.NewID()
	link := session.NewLink(session.LinkConfig{
		ServerID: id, Role: role, InboxPartitions: a.config.Transfer.InboxPartitions,
		Servers: a.registry, Dial: a.wire.dial,
	}, a.log.With("server", role))
	a.started(role+" link", link.Stop)
	if err := link.Start(); err != nil {
		return nil, "", fmt.Errorf("start the link of the %s server: %w", role, err)
	}
	a.ready = append(a.ready, func() error {
		if !link.Ready() {
			return errors.New("the " + role + " server has no transfer")
		}
		return nil
	})
	return link, id, nil
}
