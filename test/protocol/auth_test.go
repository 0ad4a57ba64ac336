package protocol

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// auth_reply says where the inbox is and what holds for the session.
func TestAuthReply(t *testing.T) {
	t.Parallel()
	w := start(t, window(17), heartbeatSeconds(45))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 2)
		c := w.connect(t, f)
		reply := c.auth(me, `,"last_seq":"1","client":{"name":"test","version":"1"}`)
		want := fmt.Sprintf(`{"user_id":%q,"session_id":"*","head":"2","resume_from":"1","too_long":null,"inbox_epoch":"*",
			"heartbeat_seconds":45,"window":17,"max_frame":1048576,"protocol":1,"expires_in":"*","server_version":"conformance"}`, me.user)
		if err := match(wanted(t, want), reply); err != nil {
			t.Error(err)
		}
		if ends := reply["expires_in"].(float64); ends < 850 || ends > 900 {
			t.Errorf("expires_in is %v, the token's life 900", ends)
		}
		if len(reply["inbox_epoch"].(string)) > 64 || len(reply["session_id"].(string)) > 64 {
			t.Errorf("ids are at most 64 bytes: %v", reply)
		}
		c.upto(2)
		other := w.connect(t, f).auth(me, "")
		if other["session_id"] == reply["session_id"] || other["inbox_epoch"] != reply["inbox_epoch"] {
			t.Errorf("sessions %v and %v", reply, other)
		}
	})
}

// The server answers the highest protocol that it speaks up to the client's.
func testProtocolVersions(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		for _, asked := range []string{"", `,"protocol":0`, `,"protocol":1`, `,"protocol":2`, `,"protocol":2147483647`} {
			if reply := w.connect(t, f).auth(me, asked); reply["protocol"] != 1.0 {
				t.Errorf("asked %s, answered %v", asked, reply["protocol"])
			}
		}
		c := w.connect(t, f)
		c.say("auth", 1, me.auth(`,"protocol":-1`))
		c.out("version")
	})
}

// A refused auth ends in disconnect unauthenticated after its error, and what was
// sent right behind it is not done.
func testRefusedAuth(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		out := w.device(t, w.user(t), "d1", "web")
		w.call(t, out.token, "DELETE", "/v1/sessions/current", "").done()
		again := w.device(t, w.user(t), "d1", "web")
		w.device(t, again.user, "d1", "web") // ends the tokens that it had
		with := func(change func(*device)) string {
			d := me
			change(&d)
			return d.auth("")
		}
		for _, row := range []struct{ name, body, code string }{
			{"no token", with(func(d *device) { d.token = "" }), "unauthenticated"},
			{"a token that is none", with(func(d *device) { d.token = "nonsense" }), "unauthenticated"},
			{"a token that is cut off", with(func(d *device) { d.token = d.token[:len(d.token)-2] }), "unauthenticated"},
			{"another secret", me.until(t, time.Now().Add(time.Hour), strings.Repeat("x", 32)).auth(""), "unauthenticated"},
			{"an expired token", me.until(t, time.Now().Add(-time.Hour), tokenSecret).auth(""), "unauthenticated"},
			{"the refresh token", with(func(d *device) { d.token = d.refresh }), "unauthenticated"},
			{"the service key", with(func(d *device) { d.token = serviceKey }), "unauthenticated"},
			{"signed out", out.auth(""), "unauthenticated"},
			{"signed in anew", again.auth(""), "unauthenticated"},
			{"another device", with(func(d *device) { d.id = "d2" }), "forbidden"},
			{"another platform", with(func(d *device) { d.platform = "ios" }), "forbidden"},
			{"an unknown platform", with(func(d *device) { d.platform = "toaster" }), "invalid"},
			{"no device", with(func(d *device) { d.id = "" }), "invalid"},
			{"a device_id of 65 bytes", with(func(d *device) { d.id = strings.Repeat("d", 65) }), "invalid"},
			{"an unknown start", me.auth(`,"start":"middle"`), "invalid"},
			{"a negative last_seq", me.auth(`,"last_seq":"-1"`), "invalid"},
		} {
			c := w.connect(t, f)
			behind := c.sealed(f.frame(t, "send", 8, `{"client_msg_id":"m","to":{"user_id":"`+me.user+`"},"content":{"type":"text","text":"x"}}`))
			behind = append(behind, c.sealed(f.frame(t, "heartbeat", 9, `{}`))...)
			c.raw(append(c.sealed(f.frame(t, "auth", 7, row.body)), behind...))
			h := c.hear()
			if h.op != "error" || h.seq != 7 || h.body["code"] != row.code || h.body["message"] == nil {
				t.Errorf("%s: %s %d %v, want error 7 %s", row.name, h.op, h.seq, h.body, row.code)
			}
			c.out("unauthenticated")
		}
		c := w.connect(t, f)
		if reply := c.auth(me, ""); reply["head"] != nil {
			t.Errorf("something was sent behind a refused auth: %v", reply)
		}
	})
}

// A body that is none is a refused auth too.
func testAuthWithABadBody(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		c := w.connect(t, f)
		if f.version == versionProto {
			c.whole(packet(18, 16, f.version, 7, 7, []byte{0x0a, 0x05}))
		} else {
			c.say("auth", 7, `{"token":5}`)
		}
		c.expect("error", 7, `{"code":"invalid"}`)
		c.out("unauthenticated")
	})
}

// Anything but auth first ends in disconnect unauthenticated, in the form of that
// frame. A frame that is bad besides is answered before.
func testAuthIsNotFirst(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		for _, op := range operations() {
			if op.name == "auth" {
				continue
			}
			c := w.connect(t, f)
			c.say(op.name, 5, `{}`)
			h := c.hear()
			if h.op == "error" {
				c.check(h, "error", 5, `{"code":"invalid"}`)
			} else {
				c.aside = append(c.aside, h)
			}
			c.out("unauthenticated")
		}
		c := w.connect(t, f)
		if f.version == 0 {
			c.whole([]byte("no JSON"))
			c.expect("error", 0, `{"code":"invalid"}`)
		} else {
			c.whole(packet(16, 16, f.version, 99, 5, nil))
			c.expect("error", 5, `{"code":"invalid"}`)
		}
		c.out("unauthenticated")
	})
}

// A client may send on right behind auth.
func testSendingOnBehindAuth(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.connect(t, f)
		data := c.sealed(f.frame(t, "auth", 1, me.auth("")))
		for i := range 20 {
			data = append(data, c.sealed(f.frame(t, "send", int32(100+i), fmt.Sprintf(
				`{"client_msg_id":"m%d","to":{"user_id":%q},"content":{"type":"text","text":"%d"}}`, i, me.user, i)))...)
		}
		c.raw(data)
		c.expect("auth_reply", 1, `{"resume_from":null}`)
		c.ready = true
		for i := range 20 {
			ack := c.hearOp("send_ack")
			if seq := number(ack.body["conversation_seq"]); int64(ack.seq) != 99+seq || seq < 1 || seq > 20 {
				t.Errorf("send_ack %d of %d: %v", ack.seq, i, ack.body)
			}
		}
		c.upto(20)
	})
}

// Nothing, or not the whole of an auth, in time ends in disconnect unauthenticated;
// the time runs from the connection.
func TestNoAuthInTime(t *testing.T) {
	t.Parallel()
	w := start(t, authTimeout(500*time.Millisecond))
	began := time.Now()
	var silent, half []*client
	for _, f := range forms() {
		c := w.connect(t, f)
		auth := c.sealed(f.frame(t, "auth", 1, w.someone(t).auth("")))
		c.raw(auth[:len(auth)-1])
		silent, half = append(silent, w.connect(t, f)), append(half, c)
	}
	for _, c := range append(silent, half...) {
		c.disconnected("unauthenticated", c.form.first())
		if waited := time.Since(began); waited < 500*time.Millisecond {
			t.Errorf("%s: ended after %v", c.form.name, waited)
		}
	}
	w.login(t, tcpJSON(), w.someone(t)).alive()
}
