package session_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// A link is ready when a transfer is connected, not before, and says what keeps it
// from being so.
func TestALinkIsReadyWhenATransferIsConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		var reachable atomic.Bool
		link := session.NewLink(session.LinkConfig{
			ServerID: im.NewID(), Role: "test", InboxPartitions: sessiontest.Partitions, Servers: cluster,
			Dial: func(ctx context.Context, address string) (grpc.ClientConnInterface, error) {
				if !reachable.Load() {
					return nil, errors.New("no way")
				}
				return cluster.Dial(ctx, address)
			},
			Explain: func(error) string { return "look at the cable" },
		}, sessiontest.Log())
		if err := link.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := link.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		brief, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := link.AwaitReady(brief)
		if err == nil || !strings.Contains(err.Error(), "no way (look at the cable)") {
			t.Errorf("without a way to the transfer: %v", err)
		}
		reachable.Store(true)
		if err := errors.Join(link.AwaitReady(t.Context()), link.Ready()); err != nil {
			t.Errorf("with one: %v", err)
		}
	})
}
