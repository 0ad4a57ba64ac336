package protocol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
)

// What a server sends is at most max_frame bytes, also where JSON makes a message six
// times as long; pages are then shorter than asked for, and say that there is more.
func testMaxFrame(t *testing.T, w *world) {
	me := w.someone(t)
	const n, maxFrame = 7, 1 << 20
	c := w.login(t, tcpProto(), w.device(t, me.user, "filler", "other"))
	for i := range n {
		c.say("send", int32(i), text(fmt.Sprint("m", i), me.user, strings.Repeat("\x01", 60_000)))
	}
	for range n {
		c.hearOp("send_ack")
	}
	w.waitHead(t, me, n)
	for i, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t, f)
			c.auth(w.device(t, me.user, fmt.Sprint("d", i), []string{"web", "ios", "android", "tablet", "desktop"}[i]), "")
			c.upto(n)
			if c.largest > maxFrame {
				t.Errorf("a deliver of %d bytes", c.largest)
			}
			seen := int64(0)
			for more := true; more; {
				c.say("sync", 5, fmt.Sprintf(`{"after":"%d","limit":200}`, seen))
				h := c.hear()
				c.check(h, "sync_reply", 5, `{"head":"7"}`)
				if h.size > maxFrame || len(list(h.body["entries"])) == 0 {
					t.Fatalf("a page of %d bytes, %d entries", h.size, len(list(h.body["entries"])))
				}
				for _, e := range list(h.body["entries"]) {
					if seen++; number(object(e)["seq"]) != seen {
						t.Fatalf("entry %v comes as %d", object(e)["seq"], seen)
					}
				}
				more = h.body["has_more"] == true
			}
			if seen != n {
				t.Errorf("has_more ends at %d", seen)
			}
		})
	}
}

// Every request is answered, however many come at once.
func testManyRequestsAtOnce(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 3)
		c := w.login(t, f, me)
		c.upto(3)
		const n = 300
		requests := []struct{ op, body, reply string }{
			{"send", `{"client_msg_id":"fill-1","to":{"user_id":"` + me.user + `"},"content":{"type":"text","text":"1"}}`, "send_ack"},
			{"read", `{"conversation_id":"` + direct(me, me) + `"}`, "read_reply"}, {"ack", `{"seq":"1"}`, "ack_reply"},
			{"sync", `{"after":"2"}`, "sync_reply"}, {"heartbeat", `{}`, "heartbeat_reply"}, {"join", `{}`, "error"},
		}
		var data []byte
		for i := range n {
			r := requests[i%len(requests)]
			data = append(data, c.sealed(f.frame(t, r.op, int32(i), r.body))...)
		}
		c.raw(data)
		answered := map[int32]bool{}
		for range n {
			h := c.hear()
			if want := requests[int(h.seq)%len(requests)].reply; h.op != want || answered[h.seq] {
				t.Fatalf("answered %s %d %v, want %s", h.op, h.seq, h.body, want)
			}
			answered[h.seq] = true
		}
	})
}

// A server that is full asks to try another one.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *configs.Config, _ *app.Options) { c.Session.MaxConnections = 1 })
	for _, f := range []form{wsText(), tcpJSON()} {
		first := w.login(t, f, w.someone(t))
		w.connect(t, f).disconnected("unavailable", f.first())
		first.alive()
	}
}
