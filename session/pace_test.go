package session_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// Where nothing is answered a session gets few publishes in; the next waits for two
// seconds, and then it is refused, and so are those that come while the client should
// wait, at once: the session is read, and lives.
func TestWhereNothingIsAnsweredSendsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { return nil }
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		began := time.Now()
		go func() {
			for i := range int32(260) {
				c.Send(wire.OpSend, i, send(fmt.Sprint(i)))
			}
		}()
		for i := range int32(260 - 16) {
			var refusal imv1.Error
			c.Expect(fmt.Sprintf("error %d unavailable", 16+i), &refusal)
			if ms := refusal.RetryAfterMs; ms < 500 || ms > 45_000 {
				t.Fatalf("asked to wait for %d ms", ms)
			}
		}
		if took := time.Since(began); took < time.Second || took > 3*time.Second {
			t.Errorf("244 refusals took %v", took)
		}
		if n := len(cluster.Published()); n != 16 {
			t.Errorf("%d published", n)
		}
		c.Send(wire.OpHeartbeat, 300, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 300", nil)
	})
}

// A server that takes two messages a second is offered twenty by one session, for two
// minutes. What it lets in is answered within seconds, whatever the rest comes to; and
// when the server is itself again the session gets its full bound back.
func TestASessionLetsInWhatIsAnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		slow := true
		cluster.OnPublish = func(_ *imv1.Publish) *imv1.Reply {
			if slow {
				time.Sleep(500 * time.Millisecond)
			}
			return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
		}
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		const offers = 2400
		at := make([]time.Time, offers)
		offer := func(pause time.Duration) {
			for i := range at {
				at[i] = time.Now()
				c.Send(wire.OpSend, int32(i), send("x"))
				time.Sleep(pause)
			}
		}
		began, acked, longest := time.Now(), 0, time.Duration(0)
		go offer(50 * time.Millisecond)
		for range offers {
			r := c.Next()
			if r.Op != wire.OpSendAck {
				continue
			}
			if acked++; at[r.Seq].Sub(began) > 20*time.Second { // once it knows the server
				longest = max(longest, time.Since(at[r.Seq]))
			}
		}
		t.Logf("%d of %d let in, answered within %v", acked, offers, longest)
		if acked < 200 || acked > 260 || longest > 5*time.Second {
			t.Errorf("in %v a server that takes two a second was given %d; answers took up to %v", time.Since(began), acked, longest)
		}
		slow = false
		time.Sleep(time.Minute)
		go offer(0)
		for range offers {
			if r := c.Next(); r.Op != wire.OpSendAck {
				t.Fatalf("received %s from a server that is well", r)
			}
		}
	})
}

// Sixteen messages on their way whose answers take three seconds are no overload: none is
// refused.
func TestAnswersThatTakeSecondsAreNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		cluster.OnPublish = func(*imv1.Publish) *imv1.Reply {
			time.Sleep(200 * time.Millisecond)
			return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
		}
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		const window, messages = 16, 160
		for i := range int32(messages + window) {
			if i >= window {
				if r := c.Next(); r.Op != wire.OpSendAck || r.Seq != i-window {
					t.Fatalf("received %s", r)
				}
			}
			if i < messages {
				c.Send(wire.OpSend, i, send("x"))
			}
		}
	})
}
