package protocol

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// auth again on a live session renews the token and nothing else: what would be
// about the inbox is ignored, nothing is delivered again.
func testRenewal(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 3)
		short := me.until(t, time.Now().Add(100*time.Second), tokenSecret)
		c := w.connect(t, f)
		first := c.auth(short, "")
		if first["expires_in"].(float64) > 100 {
			t.Errorf("expires_in %v", first["expires_in"])
		}
		c.upto(3)
		c.say("auth", 5, me.auth(`,"last_seq":"1","start":"middle","inbox_epoch":"another"`))
		reply := c.expect("auth_reply", 5, fmt.Sprintf(`{"user_id":%q,"head":"3","too_long":null}`, me.user))
		if reply["session_id"] != first["session_id"] || reply["expires_in"].(float64) < 800 {
			t.Errorf("first %v, then %v", first, reply)
		}
		c.alive()
		w.message(t, me, me.user, "after", "x")
		c.upto(4)
	})
}

// A renewal for another user, device or platform is forbidden, a token that is not
// valid unauthenticated; the old one stands and the session goes on.
func testRefusedRenewal(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me, stranger := w.someone(t), w.someone(t)
		phone := w.device(t, me.user, "d2", "ios")
		elsewhere, otherPlatform := me, me
		elsewhere.id, otherPlatform.platform = "d2", "ios"
		c := w.login(t, f, me)
		for i, row := range []struct{ body, code string }{
			{stranger.auth(""), "forbidden"}, {phone.auth(""), "forbidden"},
			{elsewhere.auth(""), "forbidden"}, {otherPlatform.auth(""), "forbidden"},
			{device{me.user, me.id, me.platform, "nonsense", ""}.auth(""), "unauthenticated"},
			{me.until(t, time.Now().Add(-time.Hour), tokenSecret).auth(""), "unauthenticated"},
		} {
			c.refused("auth", int32(10+i), row.body, row.code)
		}
		if f.version != versionProto {
			c.refused("auth", 20, `[]`, "invalid")
		}
		c.alive()
	})
}

// A session ends with its token, token_expired, unless that was renewed; a refused
// renewal does not help.
func testTheTokenExpires(t *testing.T, w *world) {
	var ending, renewed []*client
	end := time.Now().Add(3 * time.Second)
	for _, f := range []form{wsText(), tcpProto()} {
		me, other := w.someone(t), w.someone(t)
		c, saved := w.login(t, f, me.until(t, end, tokenSecret)), w.login(t, f, other.until(t, end, tokenSecret))
		saved.ask("auth", 2, other.auth(""), "auth_reply", `{}`)
		c.refused("auth", 3, other.auth(""), "forbidden")
		ending, renewed = append(ending, c), append(renewed, saved)
	}
	for _, c := range ending {
		c.out("token_expired")
	}
	for _, c := range renewed {
		c.alive()
	}
}

// A session is idle after two and a half heartbeats without a frame. A WebSocket ping
// is answered, and none.
func TestIdle(t *testing.T) {
	t.Parallel()
	w := start(t, heartbeatSeconds(1))
	var all []*client
	began := time.Now()
	for _, f := range []form{wsText(), tcpJSON(), tcpProto(), wsJSON()} {
		all = append(all, w.login(t, f, w.someone(t)))
	}
	all[0].pingUntilHeard()
	for _, c := range all {
		c.out("idle")
		if waited := time.Since(began); waited < 2500*time.Millisecond {
			t.Errorf("%s: idle after %v", c.form.name, waited)
		}
	}
	if len(all[0].pongs) == 0 {
		t.Error("no ping was answered")
	}
}

// pingUntilHeard sends pings, a few a second, until something else than pongs comes.
func (c *client) pingUntilHeard() {
	for {
		c.raw(wsFrame(wsPing, true, []byte("p")))
		c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			head, err := c.in.Peek(1)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || head[0] != 0x80|wsPong {
				return
			}
			if _, payload, err := readFrame(c.in); err == nil {
				c.pongs = append(c.pongs, string(payload))
			}
		}
	}
}

// away is a store that can be away for those who log in.
type away struct {
	transfer.Store
	gone *atomic.Bool
}

func (a away) LoginState(ctx context.Context, userID, deviceID string) (im.LoginState, error) {
	if a.gone.Load() {
		return im.LoginState{}, errors.New("the store is away")
	}
	return a.Store.LoginState(ctx, userID, deviceID)
}

// Where an auth can not be judged the token is not at fault: unavailable, both the
// error and the disconnect, and a time to come back. A renewal leaves the session.
func TestAuthThatCanNotBeJudged(t *testing.T) {
	t.Parallel()
	gone := new(atomic.Bool)
	w := start(t, storeBehind(func(s transfer.Store) transfer.Store { return away{s, gone} }))
	live := map[string]*client{}
	people := map[string]device{}
	for _, f := range forms() {
		people[f.name] = w.someone(t)
		live[f.name] = w.login(t, f, people[f.name])
	}
	gone.Store(true)
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			c := w.connect(t, f)
			c.refused("auth", 5, people[f.name].auth(""), "unavailable")
			c.out("unavailable")
			body := live[f.name].refused("auth", 6, people[f.name].auth(""), "unavailable")
			if body["retry_after_ms"] == nil {
				t.Errorf("no time to try again: %v", body)
			}
			live[f.name].alive()
		})
	}
}
