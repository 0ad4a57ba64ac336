package etcd_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/im-transfer/im"
)

// answerer is a gRPC server that counts its calls.
type answerer struct {
	server im.Server
	calls  atomic.Int64
	stop   func()
}

func newAnswerer(t *testing.T, id string) *answerer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &answerer{server: im.Server{ID: id, Role: "transfer", Address: listener.Addr().String()}}
	s := grpc.NewServer(grpc.UnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			a.calls.Add(1)
			return handle(ctx, request)
		}))
	healthv1.RegisterHealthServer(s, health.NewServer())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(listener); err != nil {
			t.Error(err)
		}
	}()
	a.stop = func() { s.Stop(); <-ended }
	t.Cleanup(a.stop)
	return a
}

func insecurely() grpc.DialOption { return grpc.WithTransportCredentials(insecure.NewCredentials()) }

func ask(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
}
