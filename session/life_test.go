package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// A session without a frame for two and a half heartbeats is idle; each frame
// begins the time anew.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		hub := cluster.Hub(t, session.Config{})
		c := connect(t, hub, wire.Proto)
		c.Login("ann", "d1")
		time.Sleep(70 * time.Second)
		c.Send(wire.OpHeartbeat, 2, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 2", nil)
		start := time.Now()
		var d imv1.Disconnect
		c.Expect("disconnect 0 idle", &d)
		if waited := time.Since(start); waited != 75*time.Second {
			t.Errorf("idle after %v", waited)
		}
		if !d.Reconnect {
			t.Error("idle does not ask to reconnect")
		}
		time.Sleep(2 * time.Second) // it lingers for one, then it is gone
		if n := hub.Connections(); n != 0 || cluster.Attached("ann") != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// The deadline is not moved with every frame: a frame that has begun when a former
// one passes is read to its end, and the session ends when it should.
func TestFrameAcrossAFormerDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, sessiontest.New(t, 1).Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		time.Sleep(30 * time.Second)
		c.Send(wire.OpHeartbeat, 2, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 2", nil)
		frame, err := wire.AppendMessage(nil, wire.Proto, wire.OpHeartbeat, 3, &imv1.Heartbeat{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(44 * time.Second)
		c.Raw(frame[:5])
		time.Sleep(2 * time.Second) // 76 s after the log-in
		c.Raw(frame[5:])
		c.Expect("heartbeat_reply 3", nil)
		start := time.Now()
		c.Expect("disconnect 0 idle", nil)
		if waited := time.Since(start); waited != 75*time.Second {
			t.Errorf("idle after %v", waited)
		}
	})
}

// Half a frame keeps no session alive.
func TestHalfFrameIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, sessiontest.New(t, 1).Hub(t, session.Config{HeartbeatSeconds: 4}), wire.Proto)
		c.Login("ann", "d1")
		start := time.Now()
		time.Sleep(9 * time.Second)
		c.Raw([]byte{0, 0, 0})
		c.Expect("disconnect 0 idle", nil)
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("idle after %v", waited)
		}
	})
}

// The session ends with its token, unless that is renewed.
func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, sessiontest.New(t, 1).Hub(t, session.Config{}), wire.Proto)
		auth := &imv1.Auth{Token: sessiontest.Token("ann", "d1", "web", 20*time.Second), DeviceId: "d1", Platform: "web"}
		if reply := c.Auth(auth); reply.ExpiresIn != 20 {
			t.Errorf("expires_in %d", reply.ExpiresIn)
		}
		time.Sleep(10 * time.Second)
		auth.Token = sessiontest.Token("ann", "d1", "web", 40*time.Second)
		c.Auth(auth)
		start := time.Now()
		var d imv1.Disconnect
		c.Expect("disconnect 0 token_expired", &d)
		if waited := time.Since(start); waited != 40*time.Second || d.Reconnect {
			t.Errorf("ended after %v, reconnect %t", waited, d.Reconnect)
		}
	})
}

// A session that has shown the token of a new sign-in does not end with the former one,
// whatever is still on its way of that; its next owner finds it to be of the new one.
func TestARenewedSessionIsOfItsNewSignIn(t *testing.T) {
	cluster := sessiontest.New(t, 2)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Login("ann", "d1")
	cluster.SignIn("ann", "d1", "anew")
	c.Auth(&imv1.Auth{Token: sessiontest.Token("ann", "d1", "web", 0), DeviceId: "d1", Platform: "web"})
	if n := cluster.KickSignIn("ann", im.Revoked, "d1"); n != 1 {
		t.Fatalf("%d sessions are told", n)
	}
	cluster.Append("ann", "1")
	c.Entries(1, 1)
	cluster.Move(1)
	sessiontest.Eventually(t, func() bool { return cluster.Attached("ann") == 1 })
	cluster.Append("ann", "2")
	c.Entries(2, 1)
	cluster.KickSignIn("ann", im.Revoked, "anew")
	c.Expect("disconnect 0 revoked", nil)
}

// While its inbox has no owner here that could say so, a session learns with its next
// heartbeat that its device has been signed out.
func TestWhoIsSignedOutGetsNoPages(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Login("ann", "d1")
	cluster.Move(-1)
	cluster.SignIn("ann", "d1", "")
	for ended := false; !ended; { // the first may still be answered by the former owner
		c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
		switch r := c.Next(); r.String() {
		case "disconnect 0 revoked":
			ended = true
		case "heartbeat_reply 5":
		default:
			t.Fatalf("received %s", r)
		}
	}
}

// A client that does not read is given up after a minute, and holds nothing.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		hub := cluster.Hub(t, session.Config{})
		c := connect(t, hub, wire.Proto)
		c.Login("ann", "d1")
		fill(cluster, "ann", 1, 100)
		time.Sleep(61 * time.Second)
		if n := hub.Connections(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// Draining tells every client, each with a time of its own, and whoever comes
// later.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := sessiontest.New(t, 1).Hub(t, session.Config{})
		clients := []*sessiontest.Client{connect(t, hub, wire.Proto), connect(t, hub, wire.JSON)}
		clients[0].Login("ann", "d1")
		synctest.Wait()
		go hub.Drain(t.Context(), 4*time.Second, nil) //nolint:errcheck // awaited below
		synctest.Wait()
		clients = append(clients, connect(t, hub, wire.JSON))
		for _, c := range clients {
			if c != clients[0] {
				c.Form = wire.JSON
			}
			var d imv1.Disconnect
			c.Expect("disconnect 0 draining", &d)
			if d.RetryAfterMs < 2000 || d.RetryAfterMs > 6000 || !d.Reconnect {
				t.Errorf("disconnect %v", &d)
			}
			c.Wire.Close()
		}
		if err := hub.Drain(t.Context(), time.Second, []string{"elsewhere:1"}); err != nil {
			t.Error(err)
		}
	})
}

// Drain and Stop are bounded by their contexts, and Stop may be called again.
func TestStop(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{})
	c := connect(t, hub, wire.Proto)
	c.Login("ann", "d1")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hub.Drain(done, time.Second, nil); err == nil {
		t.Error("drained at once")
	}
	for range 2 {
		if err := hub.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Too many connections are sent away.
func TestMaxConnections(t *testing.T) {
	hub := sessiontest.New(t, 1).Hub(t, session.Config{MaxConnections: 1})
	c := connect(t, hub, wire.Proto)
	c.Login("ann", "d1")
	second := connect(t, hub, wire.JSON)
	second.Expect("disconnect 0 unavailable", nil)
}

// The owner's kicks end a session with its code; the same device again
// supersedes.
func TestKicked(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	hub := cluster.Hub(t, session.Config{})
	c := connect(t, hub, wire.Proto)
	c.Login("ann", "d1")
	again := connect(t, hub, wire.Proto)
	again.Login("ann", "d1")
	c.Expect("disconnect 0 superseded", nil)
	cluster.Kick("ann", im.Revoked)
	var d imv1.Disconnect
	again.Expect("disconnect 0 revoked", &d)
	if d.Reconnect {
		t.Error("a revoked client is asked back")
	}
}

// An auth that nobody can judge is no refusal: the client is to come again.
func TestLoginUnavailable(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	cluster.OnLogin = func(*imv1.LoginRequest) *imv1.Error {
		return &imv1.Error{Code: "unavailable", RetryAfterMs: 1500}
	}
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Send(wire.OpAuth, 3, &imv1.Auth{Token: "t", DeviceId: "d", Platform: "ios"})
	c.Expect("error 3 unavailable", nil)
	var d imv1.Disconnect
	c.Expect("disconnect 0 unavailable", &d)
	if !d.Reconnect || d.RetryAfterMs != 1500 {
		t.Errorf("disconnect %v", &d)
	}
}

// Without an owner of the inbox a login ends as unavailable, in bounded time.
func TestLoginWithoutOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		hub := cluster.Hub(t, session.Config{})
		synctest.Wait()
		cluster.Transfer(0).Refuse(true)
		c := connect(t, hub, wire.Proto)
		start := time.Now()
		c.Send(wire.OpAuth, 3, &imv1.Auth{Token: sessiontest.Token("a", "d", "ios", 0), DeviceId: "d", Platform: "ios"})
		c.Expect("disconnect 0 unavailable", nil)
		if d := time.Since(start); d > 11*time.Second {
			t.Errorf("refused after %v", d)
		}
	})
}
