package transfer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// hello opens a stream, waits until it is taken, and returns a channel with what ends
// it.
func (w *world) hello(hello *imv1.Hello) <-chan error {
	w.t.Helper()
	stream, err := imv1.NewTransferClient(w.conn).Connect(w.t.Context())
	must(w.t, err)
	must(w.t, stream.Send(&imv1.ToTransfer{Hello: hello}))
	_, err = stream.Header()
	must(w.t, err)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

// Of two streams of one gateway the newer has all answers, so the other one ends: a
// gateway that held on to it would wait for ever.
func TestAStreamWhosePlaceIsTakenEnds(t *testing.T) {
	w := start(t)
	gateway := im.NewID()
	first := w.hello(&imv1.Hello{ServerId: gateway, Role: "websocket"})
	second := w.hello(&imv1.Hello{ServerId: gateway, Role: "websocket"})
	if err := recv(t, first); !strings.Contains(err.Error(), "newer stream") {
		t.Errorf("the first stream ended with %v", err)
	}
	select {
	case err := <-second:
		t.Errorf("the second stream ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// A transfer that was started again listens where the registry still lists the one
// before it. A gateway that means that one must not take its own stream's place.
func TestAStreamThatIsForAnotherTransferIsRefused(t *testing.T) {
	w := start(t)
	gateway := im.NewID()
	mine := w.hello(&imv1.Hello{ServerId: gateway, Role: "websocket", TransferId: w.config.ServerID})
	other := w.hello(&imv1.Hello{ServerId: gateway, Role: "websocket", TransferId: im.NewID()})
	if err := recv(t, other); !strings.Contains(err.Error(), "another listens") {
		t.Errorf("the stream for another transfer ended with %v", err)
	}
	select {
	case err := <-mine:
		t.Errorf("the stream for this one ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}
