package session_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// One transfer whose clock or secret is wrong refuses every call; what another can
// answer is answered.
func TestPullsPassATransferThatDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		synctest.Wait()
		c.Login("ann", "d1")
		cluster.Transfer(0).Deny() // it owns everything, and so is asked first
		cluster.AppendUnpushed("ann", "missed")
		c.Send(wire.OpHeartbeat, 2, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 2", nil)
		c.Entries(1, 1)
	})
}

// When all sessions must pull at once, from a store that reads one page after the
// other, they take turns: none gives up on a page that is still being read for it,
// and asks again.
func TestPullsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, page = 400, 20 * time.Millisecond
		cluster := sessiontest.New(t, 1)
		store, pages := make(chan struct{}, 1), atomic.Int32{}
		cluster.OnPull = func(*imv1.PullRequest) error {
			store <- struct{}{}
			time.Sleep(page)
			<-store
			pages.Add(1)
			return nil
		}
		hub := cluster.Hub(t, session.Config{})
		clients := make([]*sessiontest.Client, sessions)
		for i := range clients {
			clients[i] = connect(t, hub, wire.Proto)
			clients[i].Login(fmt.Sprint("user", i), "d1")
			cluster.AppendUnpushed(fmt.Sprint("user", i), "missed")
		}
		began := time.Now()
		for _, c := range clients {
			c.Send(wire.OpHeartbeat, 2, &imv1.Heartbeat{})
		}
		for _, c := range clients {
			c.Expect("heartbeat_reply 2", nil)
			c.Entries(1, 1)
		}
		if n := pages.Load(); n != sessions || time.Since(began) > sessions*page+time.Second {
			t.Errorf("%d pages were read for %d sessions, in %v", n, sessions, time.Since(began))
		}
	})
}
