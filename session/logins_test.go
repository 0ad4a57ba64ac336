package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// Where log-ins take too long for all who come, those who have waited for three seconds
// are told when to come again, in the form that they speak, and no transfer is asked.
func TestALogInDoesNotWaitForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		hub := cluster.Hub(t, session.Config{MaxLogins: 1})
		synctest.Wait()
		cluster.Transfer(0).Silence(true)
		first, second := connect(t, hub, wire.Proto), connect(t, hub, wire.Proto)
		auth := func(device string) *imv1.Auth {
			return &imv1.Auth{Token: sessiontest.Token("ann", device, "web", time.Hour), DeviceId: device, Platform: "web"}
		}
		began := time.Now()
		go first.Send(wire.OpAuth, 1, auth("d1"))
		synctest.Wait()
		go second.Send(wire.OpAuth, 2, auth("d2"))
		var refusal imv1.Error
		var end imv1.Disconnect
		second.Expect("error 2 unavailable", &refusal)
		second.Expect("disconnect 0 unavailable", &end)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("refused after %v", took)
		}
		if ms := refusal.RetryAfterMs; ms < 500 || ms > 1500 || end.RetryAfterMs < 1000 || !end.Reconnect {
			t.Errorf("asked to wait %d ms, then %d", ms, end.RetryAfterMs)
		}
		second.Wire.Close()
		first.Expect("error 1 unavailable", nil)
		first.Expect("disconnect 0 unavailable", nil)
		first.Wire.Close()
		cluster.Transfer(0).Silence(false)
		time.Sleep(time.Minute)
		connect(t, hub, wire.Proto).Login("ann", "d1")
	})
}

// The sessions of a draining server are spread over as long as their log-ins take at the
// rate that is configured, and over the servers that are named.
func TestADrainSpreadsItsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := sessiontest.New(t, 1).Hub(t, session.Config{ReturnRate: 2})
		var clients []*sessiontest.Client
		for _, user := range []string{"ann", "bob", "cid", "dan"} {
			c := connect(t, hub, wire.Proto)
			c.Login(user, "d1")
			clients = append(clients, c)
		}
		go hub.Drain(t.Context(), time.Millisecond, []string{"a:1", "b:1"}) //nolint:errcheck // ends with the sessions
		sent := map[string]int{}
		for _, c := range clients {
			var end imv1.Disconnect
			c.Expect("disconnect 0 draining", &end)
			if ms := end.RetryAfterMs; ms < 1000 || ms > 3000 {
				t.Errorf("one of 4 at 2 a second is asked to wait %d ms", ms)
			}
			sent[end.Address]++
			c.Wire.Close()
		}
		if sent["a:1"] != 2 || sent["b:1"] != 2 {
			t.Errorf("sent to %v", sent)
		}
	})
}
