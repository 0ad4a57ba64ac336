package protocol

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/transfer"
)

// Who sends too fast is rate_limited, with a time to try again, over a socket and
// HTTP alike; others are not.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *configs.Config, _ *app.Options) { c.Limits.SendsPerSecond, c.Limits.SendBurst = 0.01, 1 })
	inEvery(t, func(t *testing.T, f form) {
		me, other := w.someone(t), w.someone(t)
		c := w.login(t, f, me)
		c.ask("send", 1, text("m1", me.user, "x"), "send_ack", `{}`)
		body := c.refused("send", 2, text("m2", me.user, "x"), "rate_limited")
		if after, _ := body["retry_after_ms"].(float64); after <= 0 {
			t.Errorf("retry_after_ms is %v", body["retry_after_ms"])
		}
		problem := w.call(t, me.token, "POST", "/v1/messages", text("m2", me.user, "x")).problem("rate_limited")
		if after, _ := problem["retry_after_ms"].(float64); after <= 0 {
			t.Errorf("retry_after_ms is %v", problem["retry_after_ms"])
		}
		c.alive()
		w.login(t, f, other).ask("send", 1, text("m1", me.user, "x"), "send_ack", `{}`)
	})
}

// out is a store that does not give inboxes for a while.
type out struct {
	transfer.Store
	gone *atomic.Bool
}

func (o out) Blocks(ctx context.Context, userID string, after int64, limit int) (im.InboxPage, error) {
	if o.gone.Load() {
		return im.InboxPage{}, errors.New("the store is out")
	}
	return o.Store.Blocks(ctx, userID, after, limit)
}

// What can not be done now is unavailable, with a time to try again; the session goes
// on, and so does delivery once the store is back.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	gone := new(atomic.Bool)
	w := start(t, storeBehind(func(s transfer.Store) transfer.Store { return out{s, gone} }))
	people := map[string]device{}
	for _, f := range forms() {
		me := w.someone(t)
		w.fill(t, me, me, 3)
		people[f.name] = me
	}
	gone.Store(true)
	var all []*client
	for _, f := range forms() {
		me := people[f.name]
		c := w.login(t, f, me)
		body := c.refused("sync", 2, `{"after":"0"}`, "unavailable")
		if after, _ := body["retry_after_ms"].(float64); after <= 0 {
			t.Errorf("%s: retry_after_ms is %v", f.name, body["retry_after_ms"])
		}
		problem := w.call(t, me.token, "GET", "/v1/inbox?after=0", "").problem("unavailable")
		if problem["retry_after_ms"] == nil {
			t.Errorf("no retry_after_ms: %v", problem)
		}
		c.alive()
		all = append(all, c)
	}
	gone.Store(false)
	for _, c := range all {
		c.upto(3)
	}
}

// An error has a code, a message and, where it is not final, may say when to retry;
// nothing of what is inside is in it.
func testTheShapeOfErrors(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		for seq, row := range map[int32]struct{ op, body, code string }{
			2: {"send", `{}`, "invalid"}, 3: {"send", text("m", "nobody", "x"), "not_found"}, 4: {"join", `{"room_id":"r"}`, "not_found"},
			5: {"sync", `{"limit":-1}`, "invalid"}, 6: {"auth", `{"device_id":"d1","platform":"web"}`, "unauthenticated"},
		} {
			body := c.refused(row.op, seq, row.body, row.code)
			for field := range body {
				if field != "code" && field != "message" && field != "retry_after_ms" {
					t.Errorf("%s: field %s", row.code, field)
				}
			}
			if body["retry_after_ms"] != nil {
				t.Errorf("%s is final and says when to retry: %v", row.code, body)
			}
		}
	})
}

// A trace comes along; what can be none is invalid and does no harm.
func testTraces(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		send := func(id, b3 string) string {
			return fmt.Sprintf(`{"client_msg_id":%q,"to":{"user_id":%q},"content":{"type":"text","text":"x"},"b3":%s}`, id, me.user, quoted(b3))
		}
		c.ask("send", 1, send("m1", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"), "send_ack", `{}`)
		c.upto(1)
		c.refused("send", 2, send("m2", string(make([]byte, 200))), "invalid")
		c.alive()
	})
}
