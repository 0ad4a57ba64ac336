package session_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// Given sends without an answer, a broken stream has them sent again, in order
// and before anything new, over the transfer that is left.
func TestResendInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { return nil }
		hub := cluster.Hub(t, session.Config{})
		synctest.Wait() // both streams are up: one that came up later would have all sent again too
		c := connect(t, hub, wire.Proto)
		c.Login("ann", "d1")
		for i := range 5 {
			c.Send(wire.OpSend, int32(10+i), send(fmt.Sprint(i)))
		}
		synctest.Wait()
		if n := len(cluster.Published()); n != 5 {
			t.Fatalf("published %d times", n)
		}
		cluster.Transfer(0).Refuse(true)
		cluster.Transfer(1).Break()
		c.Send(wire.OpSend, 15, send("new"))
		time.Sleep(5 * time.Second)
		ids := sentIDs(t, cluster)[5:]
		at := slices.Index(ids, "new")
		if at < 5 || !slices.Equal(ids[at-5:at], []string{"0", "1", "2", "3", "4"}) {
			t.Errorf("sent again %v", ids)
		}
	})
}

// The answer of a transfer that can not be reached, for the link to it is cut, is
// lost without any stream breaking; once there is one, the send goes again.
func TestAnswersOfATransferThatComesUpLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		cluster.Transfer(1).Refuse(true)
		cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { return nil }
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		c.Send(wire.OpSend, 2, send("a"))
		time.Sleep(5 * time.Second)
		if n := len(cluster.Published()); n != 1 {
			t.Fatalf("published %d times", n)
		}
		cluster.Transfer(1).Refuse(false)
		time.Sleep(5 * time.Second)
		if ids := sentIDs(t, cluster); !slices.Equal(ids, []string{"a", "a"}) {
			t.Errorf("published %v, want it once again", ids)
		}
	})
}

// Answers find their requests, whatever order they come in; a second one is
// ignored.
func TestRepliesInAnyOrder(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.JSON)
	c.Login("ann", "d1")
	for i := range int32(3) {
		c.Send(wire.OpSend, 100-i, send(fmt.Sprint(i)))
	}
	seqs := map[int32]bool{}
	for len(seqs) < 3 {
		if r := c.Next(); r.Op == wire.OpSendAck {
			seqs[r.Seq] = true
		}
	}
	if !seqs[100] || !seqs[99] || !seqs[98] {
		t.Errorf("answered %v", seqs)
	}
}

// With no transfer a send waits for two seconds of the outage, then the answer
// is unavailable; afterwards all goes on.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		cluster.Transfer(0).Refuse(true)
		synctest.Wait()
		start := time.Now()
		c.Send(wire.OpSend, 2, send("a"))
		var refusal imv1.Error
		c.Expect("error 2 unavailable", &refusal)
		if d := time.Since(start); d < time.Second || d > 2*time.Second || refusal.RetryAfterMs != 1000 {
			t.Errorf("refused after %v, retry %d", d, refusal.RetryAfterMs)
		}
		start = time.Now()
		c.Send(wire.OpSend, 3, send("b"))
		c.Expect("error 3 unavailable", nil)
		c.Send(wire.OpHeartbeat, 4, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 4", nil)
		if d := time.Since(start); d > 0 {
			t.Errorf("refused after %v", d)
		}
		c.Send(wire.OpSync, 5, &imv1.Sync{})
		c.Expect("error 5 unavailable", nil)
		cluster.Transfer(0).Refuse(false)
		time.Sleep(5 * time.Second)
		c.Send(wire.OpSend, 6, send("c"))
		if r := c.Next().String(); r != "send_ack 6" && r != "deliver 0" {
			t.Errorf("received %s", r)
		}
	})
}
