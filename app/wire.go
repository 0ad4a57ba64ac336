package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// maxMessage bounds one message from a transfer: its pushes are bounded at 1 MiB,
	// its replies by the gateway's credit.
	maxMessage = 16 << 20
	// wireBuffer is the bytes that a connection in memory holds in each direction.
	wireBuffer = 256 << 10
	// wireWindow is the bytes that may be on their way on one stream, and on one
	// connection: a batch and more, so that nobody waits for the other side's consent.
	wireWindow = 4 << 20
)

// A side that is silent for so long is asked for a sign of life, and cut off when it
// gives none in time: it is paused, or the link is cut. 10 s is the least that gRPC
// lets a client ask; the registry's TTL is what notices a paused transfer first. The
// patience is that of a machine that has far too much to do.
var (
	clientAlive = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}
	serverAlive = keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}
	aliveRules  = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}
)

// dial returns a connection to a transfer's address.
type dial func(ctx context.Context, address string) (grpc.ClientConnInterface, error)

// wire is the gRPC server of a transfer.
type wire struct {
	listener net.Listener
	server   *grpc.Server
	serving  sync.WaitGroup
	failed   chan error
}

// newWire serves nothing yet: who connects meanwhile waits.
func newWire(listener net.Listener, options ...grpc.ServerOption) *wire {
	options = append(options, grpc.ForceServerCodecV2(codec.New()),
		grpc.InitialWindowSize(wireWindow), grpc.InitialConnWindowSize(wireWindow))
	return &wire{listener: listener, server: grpc.NewServer(options...), failed: make(chan error, 1)}
}

func (w *wire) serve(server imv1.TransferServer) {
	imv1.RegisterTransferServer(w.server, server)
	w.serving.Go(func() {
		if err := w.server.Serve(w.listener); err != nil {
			w.failed <- fmt.Errorf("serve gRPC: %w", err)
		}
	})
}

func (w *wire) stop(context.Context) error {
	w.server.Stop() // it closes the listener, if it has served
	w.serving.Wait()
	if err := w.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// dialMemory reaches the transfer of this process, which has no other.
func dialMemory(listener *bufconn.Listener) dial {
	return func(context.Context, string) (grpc.ClientConnInterface, error) {
		return grpc.NewClient("passthrough:///transfer",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	}
}

// dialNetwork reaches the transfers by the addresses that they advertise.
func dialNetwork(options ...grpc.DialOption) dial {
	options = append(options, grpc.WithKeepaliveParams(clientAlive),
		grpc.WithInitialWindowSize(wireWindow), grpc.WithInitialConnWindowSize(wireWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	return func(_ context.Context, address string) (grpc.ClientConnInterface, error) {
		return grpc.NewClient("passthrough:///"+address, options...)
	}
}
