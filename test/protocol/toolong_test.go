package protocol

import (
	"fmt"
	"testing"
	"time"
)

// too_long: last_seq is above the head, or the inbox_epoch is not the store's. Then
// resume_from is the head, stored only by the client's next ack.
func testTooLong(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 3)
		first := w.connect(t, f).auth(me, "") // the cursor is 0 from here on
		epoch := first["inbox_epoch"]
		for _, more := range []string{
			`,"last_seq":"4"`, `,"last_seq":"9223372036854775807"`, `,"inbox_epoch":"another"`, `,"last_seq":"2","inbox_epoch":"another"`,
			fmt.Sprintf(`,"last_seq":"4","inbox_epoch":%q`, epoch),
		} {
			reply := w.connect(t, f).auth(me, more)
			if reply["too_long"] != true || reply["resume_from"] != "3" || reply["head"] != "3" || reply["inbox_epoch"] != epoch {
				t.Errorf("auth with %s: %v", more, reply)
			}
		}
		c := w.connect(t, f)
		reply := c.auth(me, fmt.Sprintf(`,"inbox_epoch":%q`, epoch))
		if reply["too_long"] != nil || reply["resume_from"] != nil {
			t.Errorf("the store's own epoch, and nothing was stored: %v", reply)
		}
		c.upto(3)
		c = w.connect(t, f)
		c.auth(me, `,"last_seq":"99"`)
		w.message(t, me, me.user, "next", "x") // it goes on from the head
		c.upto(4)
		c.ask("ack", 5, `{"seq":"4"}`, "ack_reply", `{"seq":"4"}`)
		c.ask("sync", 6, `{}`, "sync_reply", `{"entries":[],"too_long":null}`)
	})
}

// In pages after stands for last_seq: no entries, and too_long.
func testTooLongPages(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 3)
		c := w.login(t, f, me)
		for i, body := range []string{
			`{"after":"4"}`, `{"after":"9223372036854775807"}`, `{"after":"1","inbox_epoch":"another"}`, `{"inbox_epoch":"another"}`,
		} {
			page := c.ask("sync", int32(i), body, "sync_reply", `{"too_long":true,"head":"3","inbox_epoch":"*"}`)
			if len(list(page["entries"])) > 0 {
				t.Errorf("%s: %v", body, page)
			}
		}
		c.ask("sync", 9, fmt.Sprintf(`{"after":"3","inbox_epoch":%q}`, c.ask("sync", 8, `{}`, "sync_reply", `{}`)["inbox_epoch"]),
			"sync_reply", `{"too_long":null}`)
		for _, query := range []string{"?after=4", "?after=1&inbox_epoch=another", "?inbox_epoch=another"} {
			page := w.call(t, me.token, "GET", "/v1/inbox"+query, "").is(200, `{"too_long":true,"head":"3","inbox_epoch":"*"}`)
			if len(list(page["entries"])) > 0 {
				t.Errorf("%s: %v", query, page)
			}
		}
	})
}

// heartbeat_reply carries the newest seq of the user's inbox.
func TestHeartbeatHead(t *testing.T) {
	t.Parallel()
	w := start(t, window(1))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		c.ask("heartbeat", 2, `{}`, "heartbeat_reply", `{"head":null}`)
		w.fill(t, me, me, 3)
		// The owner of the inbox notes a commit a moment after the store shows it.
		deadline := time.Now().Add(patience)
		for seq := int32(3); ; seq++ {
			reply := c.ask("heartbeat", seq, `{}`, "heartbeat_reply", `{}`)
			if number(reply["head"]) == 3 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("heartbeat_reply = %v, want head 3", reply)
			}
		}
	})
}
