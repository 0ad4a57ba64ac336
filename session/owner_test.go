package session_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// A paused owner's heartbeats are answered whenever between two ticks they come,
// and the next ones too.
func TestHeartbeatOfPausedOwnerOffTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		cluster.Mute(true)
		time.Sleep(300 * time.Millisecond)
		start := time.Now()
		c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 5", nil)
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("answered after %v", d)
		}
		time.Sleep(30 * time.Second)
		c.Send(wire.OpHeartbeat, 6, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 6", nil)
	})
}

// A token that is revoked, and its device kicked, between the judgement of its
// auth and the attach opens no session.
func TestRevokedWhileLoggingIn(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	var revoked atomic.Bool
	cluster.OnLogin = func(*imv1.LoginRequest) *imv1.Error {
		if revoked.Swap(true) {
			return &imv1.Error{Code: "unauthenticated", Message: "the token has been revoked"}
		}
		cluster.Kick("ann", "revoked") // finds nobody
		return nil
	}
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Send(wire.OpAuth, 1, &imv1.Auth{Token: sessiontest.Token("ann", "d1", "web", 0), DeviceId: "d1", Platform: "web"})
	c.Expect("error 1 unauthenticated", nil)
	c.Expect("disconnect 0 unauthenticated", nil)
	sessiontest.Eventually(t, func() bool { return cluster.Attached("ann") == 0 })
}

// A device that synced and acked beyond the head known here has its window
// opened as soon as the head is known.
func TestAckAheadOfTheKnownHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		c := connect(t, cluster.Hub(t, session.Config{Window: 10}), wire.Proto)
		c.Login("ann", "d1")
		for range 30 {
			cluster.AppendUnpushed("ann", "x")
		}
		c.Send(wire.OpSync, 4, &imv1.Sync{After: int64p(0), Limit: 200})
		c.Expect("sync_reply 4", nil)
		c.Send(wire.OpAck, 5, &imv1.Ack{Seq: 30})
		c.Expect("ack_reply 5", nil)
		cluster.Append("ann", "31")
		c.Entries(1, 31)
	})
}

// While the link to the owner of an inbox is cut, a heartbeat finds what is new
// through another transfer.
func TestHeartbeatWithoutOwnerFindsEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		cluster.Transfer(0).Refuse(true) // it owns everything
		synctest.Wait()
		cluster.AppendUnpushed("ann", "1")
		c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
		var reply imv1.HeartbeatReply
		c.Expect("heartbeat_reply 5", &reply)
		if reply.Head != 1 {
			t.Errorf("head = %d, want 1", reply.Head)
		}
		c.Entries(1, 1)
	})
}
