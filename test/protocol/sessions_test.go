package protocol

import (
	"testing"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
)

// The same device connecting again supersedes its older connection; another device of
// the same platform replaces the oldest; on other platforms nobody notices. Where
// both apply it is superseded.
func testSupersededAndReplaced(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		user := w.user(t)
		web, phone, web2 := w.device(t, user, "d1", "web"), w.device(t, user, "d2", "ios"), w.device(t, user, "d3", "web")
		onWeb, onPhone := w.login(t, f, web), w.login(t, f, phone)
		again := w.login(t, f, web)
		onWeb.out("superseded")
		third := w.login(t, f, web2)
		again.out("replaced")
		onPhone.alive()
		third.alive()
		// The device that was replaced may come again, and replaces in its turn.
		back := w.login(t, f, web)
		third.out("replaced")
		back.alive()
	})
}

// A setting says how many devices may live on one platform; the oldest goes first.
func TestSeveralDevicesPerPlatform(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *configs.Config, _ *app.Options) { c.Session.PerPlatform = 2 })
	user := w.user(t)
	first := w.login(t, tcpProto(), w.device(t, user, "d1", "web"))
	second := w.login(t, wsText(), w.device(t, user, "d2", "web"))
	third := w.login(t, tcpJSON(), w.device(t, user, "d3", "web"))
	first.out("replaced")
	second.alive()
	again := w.login(t, wsJSON(), w.device(t, user, "d3", "web"))
	third.out("superseded")
	second.alive()
	again.alive()
}

// The same device on two connections at once: one stays, one is superseded.
func testTheSameDeviceTwiceAtOnce(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		a, b := w.connect(t, f), w.connect(t, f)
		a.say("auth", 1, me.auth(""))
		b.say("auth", 1, me.auth(""))
		// Who lost may not have had its auth_reply before.
		lost := func(c *client) bool {
			c.say("heartbeat", 2, `{}`)
			for {
				switch h := c.hear(); h.op {
				case "auth_reply":
				case "heartbeat_reply":
					return false
				case "disconnect":
					c.check(h, "disconnect", 0, `{"code":"superseded"}`)
					return true
				default:
					t.Fatalf("heard %s %v", h.op, h.body)
				}
			}
		}
		aLost, bLost := lost(a), lost(b)
		if !aLost && !bLost { // the word was still on its way
			aLost, bLost = lost(a), lost(b)
		}
		if aLost == bLost {
			t.Errorf("both lost: %v", aLost)
		}
	})
}

// Everyone connected is told that the server goes away, and when to come back.
func TestDraining(t *testing.T) {
	t.Parallel()
	w := start(t)
	var all []*client
	for _, f := range forms() {
		all = append(all, w.login(t, f, w.someone(t)))
	}
	silent := w.connect(t, wsText()) // no auth yet
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	for _, c := range all {
		c.out("draining")
		c.conn.Close()
	}
	silent.disconnected("draining", 0)
	silent.conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Signing out, and using a refresh token that was replaced long ago, close the live
// session of that device alone.
func testRevoked(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		other := w.device(t, me.user, "d2", "ios")
		c, onOther := w.login(t, f, me), w.login(t, f, other)
		w.call(t, me.token, "DELETE", "/v1/sessions/current", "").done()
		c.out("revoked")
		onOther.alive()
	})
}

// Joining and leaving belong to what is not built yet.
func testRoomsAndPresence(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		c := w.login(t, f, w.someone(t))
		c.refused("join", 2, `{"room_id":"r1"}`, "not_found")
		c.refused("leave", 3, `{"room_id":"r1"}`, "not_found")
		c.refused("watch", 4, `{"user_ids":[""]}`, "invalid")
		c.refused("send", 5, `{"client_msg_id":"m","to":{"room_id":"r1"},"content":{"type":"text","text":"x"}}`, "not_found")
		c.refused("send", 6, `{"client_msg_id":"m","to":{"group_id":"g1"},"content":{"type":"text","text":"x"}}`, "not_found")
		c.alive()
	})
}
