package session_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
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

// A session that may have much on its way, or has large messages, is told by a code as well
// where nothing is answered any more. Its heartbeats are answered, and it lives.
func TestWhoHasMuchOnItsWayIsRefusedToo(t *testing.T) {
	for _, story := range []struct {
		name           string
		bytes          int   // of each message
		sends, refused int32 // once nothing is answered
	}{
		{"many", 1, 300, 300 - 256},
		{"large", 60_000, 30, 30 - 18},
	} {
		t.Run(story.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := sessiontest.New(t, 1)
				var stands atomic.Bool
				cluster.OnPublish = func(*imv1.Publish) *imv1.Reply {
					if stands.Load() {
						return nil
					}
					time.Sleep(time.Millisecond) // so that all the room is used
					return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
				}
				c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
				c.Login("ann", "d1")
				sends := func(n int32, text string) {
					m := send("x")
					m.Content.Text = text
					for i := range n {
						c.Send(wire.OpSend, i, m)
					}
				}
				const before = 3000
				go sends(before, "x")
				for range before {
					if r := c.Next(); r.Op != wire.OpSendAck {
						t.Fatalf("received %s", r)
					}
				}
				stands.Store(true)
				began := time.Now()
				go func() {
					sends(story.sends, strings.Repeat("x", story.bytes))
					c.Send(wire.OpHeartbeat, 1000, &imv1.Heartbeat{})
				}()
				for i := range story.refused {
					c.Expect(fmt.Sprintf("error %d unavailable", story.sends-story.refused+i), nil)
				}
				c.Expect("heartbeat_reply 1000", nil)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("that took %v", took)
				}
				time.Sleep(50 * time.Second) // longer than it has been idle, and the sends are unanswered for
				c.Send(wire.OpHeartbeat, 1001, &imv1.Heartbeat{})
				c.Expect("heartbeat_reply 1001", nil)
				time.Sleep(50 * time.Second)
				c.Send(wire.OpHeartbeat, 1002, &imv1.Heartbeat{})
				c.Expect("heartbeat_reply 1002", nil)
			})
		})
	}
}

// Reads that are answered at once say nothing of how long sends take, nor do refusals.
func TestOnlyAcksOfSendsSayHowLongSendsTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		cluster.OnPublish = func(p *imv1.Publish) *imv1.Reply {
			switch {
			case p.GetRead() != nil:
				return &imv1.Reply{What: &imv1.Reply_ReadReply{ReadReply: &imv1.ReadReply{}}}
			case len(p.GetSend()) > 1000:
				return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: string(im.Invalid)}}}
			}
			return nil
		}
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		const each = 1000
		wrong := send("x")
		wrong.Content.Text = strings.Repeat("x", 1000)
		go func() {
			for i := range int32(each) {
				c.Send(wire.OpRead, each+i, &imv1.Read{ConversationId: "x", Upto: 1})
				c.Send(wire.OpSend, 2*each+i, wrong)
				c.Send(wire.OpSend, i, send("x"))
				time.Sleep(20 * time.Millisecond)
			}
			c.Send(wire.OpHeartbeat, 3*each, &imv1.Heartbeat{})
		}()
		refused := 0
		for r := c.Next(); r.Op != wire.OpHeartbeatReply; r = c.Next() {
			if r.Op == wire.OpDisconnect {
				t.Fatalf("received %s", r)
			}
			if r.Op == wire.OpError && r.Seq < each {
				refused++
			}
		}
		if refused < each-20 {
			t.Errorf("%d of %d sends were refused by a server that answers none", refused, each)
		}
	})
}
