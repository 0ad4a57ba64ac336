package protocol

import (
	"fmt"
	"testing"
	"time"
)

// resume_from is last_seq if given, else the device's stored cursor, else what start
// says; that first one is stored. last_seq moves no stored cursor.
func testResumeFrom(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 5)
		from := func(d device, more string, want int64) *client {
			t.Helper()
			c := w.connect(t, f)
			if reply := c.auth(d, more); number(reply["resume_from"]) != want || reply["too_long"] != nil {
				t.Errorf("auth with %s: %v, want resume_from %d", more, reply, want)
			}
			return c
		}
		from(me, "", 0).upto(5)
		newest := w.device(t, me.user, "d2", "ios")
		from(newest, `,"start":"newest"`, 5)
		from(newest, "", 5)                        // it was stored
		from(newest, `,"start":"oldest"`, 5)       // start is for the first auth alone
		from(newest, `,"last_seq":"2"`, 2).upto(5) // last_seq wins
		from(newest, "", 5)                        // and moves nothing
		from(newest, `,"last_seq":"5"`, 5)         // the head itself is not too long
		oldest := w.device(t, me.user, "d3", "android")
		from(oldest, `,"start":"oldest"`, 0).upto(5)
		from(oldest, `,"start":"newest"`, 0).upto(5)
		from(oldest, `,"last_seq":"4"`, 4).upto(5)
		from(oldest, "", 0).upto(5)
	})
}

// An ack moves the cursor, only up, and is answered with the cursor in force when its
// sequence is not 0.
func testAck(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 5)
		c := w.login(t, f, me)
		c.upto(5)
		c.ask("ack", 2, `{"seq":"3"}`, "ack_reply", `{"seq":"3"}`)
		c.ask("ack", 3, `{"seq":"2"}`, "ack_reply", `{"seq":"3"}`)
		c.ask("ack", 4, `{"seq":"0"}`, "ack_reply", `{"seq":"3"}`)
		c.say("ack", 0, `{"seq":"4"}`)
		c.alive() // no reply came before
		c.ask("ack", 5, `{"seq":"1"}`, "ack_reply", `{"seq":"4"}`)
		c.refused("ack", 6, `{"seq":"-1"}`, "invalid")
		c.ask("sync", 7, `{}`, "sync_reply", `{"entries":[{"seq":"5"}]}`)
		// Within a second it is stored.
		for deadline := time.Now().Add(2 * time.Second); ; {
			reply := w.connect(t, f).auth(me, "")
			if number(reply["resume_from"]) == 4 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the stored cursor is %v, want 4", reply["resume_from"])
			}
		}
	})
}

// An acked cursor over HTTP is stored before the answer; it is the same cursor.
func testAckByHTTP(t *testing.T, w *world) {
	me := w.someone(t)
	w.fill(t, me, me, 5)
	epoch := w.call(t, me.token, "GET", "/v1/inbox", "").is(200, `{"inbox_epoch":"*"}`)["inbox_epoch"]
	for i, row := range []struct{ body, seq string }{
		{`{"seq":"2"}`, "2"}, {`{"seq":"1"}`, "2"}, {fmt.Sprintf(`{"seq":3,"inbox_epoch":%q}`, epoch), "3"}, {`{}`, "3"},
	} {
		w.call(t, me.token, "POST", "/v1/inbox/ack", row.body).is(200, fmt.Sprintf(`{"seq":%q}`, row.seq))
		c := w.connect(t, forms()[i])
		if reply := c.auth(me, ""); reply["resume_from"] != row.seq {
			t.Errorf("after %s: %v", row.body, reply)
		}
	}
	w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"4","inbox_epoch":"another"}`).problem("invalid")
	w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"6"}`).problem("invalid")
	w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"-1"}`).problem("invalid")
	w.call(t, me.token, "GET", "/v1/inbox", "").is(200, `{"entries":[{"seq":"4"},{"seq":"5"}]}`)
}

// An ack above the head, as the store has it, ends the session with protocol_error.
func testAckAboveTheHead(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 2)
		for _, seq := range []int32{0, 7} {
			c := w.login(t, f, me)
			c.upto(2)
			c.say("ack", seq, `{"seq":"3"}`)
			c.out("protocol_error")
		}
		if reply := w.connect(t, f).auth(me, ""); reply["resume_from"] != nil {
			t.Errorf("the cursor moved: %v", reply)
		}
	})
}

// Each device has its own cursor; what one acks is not another's.
func testEachDeviceHasItsCursor(t *testing.T, w *world) {
	me := w.someone(t)
	w.fill(t, me, me, 3)
	phone := w.device(t, me.user, "d2", "ios")
	w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"2"}`).is(200, `{"seq":"2"}`)
	w.call(t, phone.token, "GET", "/v1/inbox", "").is(200, `{"entries":[{"seq":"1"},{"seq":"2"},{"seq":"3"}]}`)
	w.login(t, tcpProto(), phone).upto(3)
	w.call(t, me.token, "GET", "/v1/inbox", "").is(200, `{"entries":[{"seq":"3"}]}`)
}

// deliver pauses while window entries are out above the highest of resume_from and
// what the device has acked in any way.
func TestTheWindow(t *testing.T) {
	t.Parallel()
	const size = 8
	w := start(t, window(size))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 40)
		c := w.connect(t, f)
		c.auth(me, `,"last_seq":"0"`)
		c.paused(size)
		c.say("ack", 0, `{"seq":"3"}`)
		c.paused(size + 3)
		c.ask("ack", 5, `{"seq":"10"}`, "ack_reply", `{"seq":"10"}`)
		c.paused(size + 10)
		c.say("ack", 0, `{"seq":"4"}`) // lower: nothing opens
		c.paused(size + 10)
		w.message(t, me, me.user, "live", "x") // a new one waits its turn
		w.waitHead(t, me, 41)
		c.paused(size + 10)
		c.ask("heartbeat", 6, `{}`, "heartbeat_reply", `{"head":"41"}`)
		for c.last < 41 {
			c.say("ack", 0, fmt.Sprintf(`{"seq":"%d"}`, c.last))
			c.upto(min(41, c.last+size))
		}
	})
}

// paused expects delivery to come to seq and to stop there.
func (c *client) paused(seq int64) {
	c.t.Helper()
	c.upto(seq)
	for range 2 {
		c.alive()
	}
	if c.last != seq {
		c.t.Fatalf("delivered to %d, want a pause at %d", c.last, seq)
	}
}

// The window counts from what the device acked before it came with a lower last_seq.
func TestTheWindowAndEarlierAcks(t *testing.T) {
	t.Parallel()
	const size = 8
	w := start(t, window(size))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 40)
		w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"10"}`).is(200, `{}`)
		c := w.connect(t, f)
		c.auth(me, `,"last_seq":"5"`)
		c.paused(size + 10)
	})
}

// The window of a live session opens for what its device acks over HTTP.
func TestTheWindowAndAcksByHTTP(t *testing.T) {
	t.Parallel()
	const size = 8
	w := start(t, window(size))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 40)
		c := w.login(t, f, me)
		c.paused(size)
		c.ask("ack", 5, `{"seq":"2"}`, "ack_reply", `{"seq":"2"}`)
		c.paused(size + 2)
		w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"5"}`).is(200, `{"seq":"5"}`)
		c.paused(size + 5)
		c.ask("sync", 6, `{"limit":1}`, "sync_reply", `{"entries":[{"seq":"6"}]}`)
	})
}

// A page without after begins at the device's cursor, which an ack over HTTP has moved
// once it is answered.
//
// This fails now and then: a session that has acked before takes its own acked for the
// cursor (session/pull.go, beginSync), and may hear of the other one later than the
// client does.
func testAPageAfterAnAckByHTTP(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 40)
		c := w.login(t, f, me)
		c.upto(40)
		for seq := 2; seq < 40; seq += 2 {
			c.ask("ack", 5, fmt.Sprintf(`{"seq":"%d"}`, seq-1), "ack_reply", `{}`)
			w.call(t, me.token, "POST", "/v1/inbox/ack", fmt.Sprintf(`{"seq":"%d"}`, seq)).is(200, fmt.Sprintf(`{"seq":"%d"}`, seq))
			c.ask("sync", 6, `{"limit":1}`, "sync_reply", fmt.Sprintf(`{"entries":[{"seq":"%d"}]}`, seq+1))
		}
	})
}

// A device that makes no progress while others wait on it is disconnected slow; one
// that acks is not.
func TestSlow(t *testing.T) {
	t.Parallel()
	w := start(t, window(4), slowTimeout(time.Second))
	for _, f := range []form{wsText(), tcpProto()} {
		me, other := w.someone(t), w.someone(t)
		w.fill(t, me, me, 20)
		w.fill(t, other, other, 4)
		slow, full := w.login(t, f, me), w.login(t, f, other)
		slow.upto(4)
		full.upto(4)
		slow.out("slow")
		full.alive() // nothing waits for it
	}
}

// A page is contiguous from after on and moves nothing.
func TestSync(t *testing.T) {
	t.Parallel()
	w := start(t, window(300))
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 210)
		c := w.connect(t, f)
		reply := c.auth(me, `,"start":"newest"`)
		for i, row := range []struct {
			body string
			most int
		}{
			{`{"after":"0"}`, 50}, {`{"after":"0","limit":0}`, 50}, {`{"after":"0","limit":1}`, 1}, {`{"after":"100","limit":7}`, 7},
			{`{"after":"0","limit":200}`, 200}, {`{"after":"0","limit":201}`, 200}, {`{"after":"0","limit":2147483647}`, 200},
			{`{"after":"205","limit":50}`, 5}, {`{"after":"210"}`, 0},
		} {
			page := c.ask("sync", int32(i), row.body, "sync_reply", fmt.Sprintf(`{"head":"210","too_long":null,"inbox_epoch":%q}`, reply["inbox_epoch"]))
			checkPage(t, row.body, page, row.most)
		}
		c.refused("sync", 100, `{"limit":-1}`, "invalid")
		c.refused("sync", 101, `{"after":"-1"}`, "invalid")
		// Page by page it is the whole inbox.
		seen := int64(0)
		for more := true; more; {
			page := c.ask("sync", 200, fmt.Sprintf(`{"after":"%d","limit":60}`, seen), "sync_reply", `{}`)
			for _, e := range list(page["entries"]) {
				if seen++; number(object(e)["seq"]) != seen {
					t.Fatalf("entry %v comes as %d", e, seen)
				}
			}
			more = page["has_more"] == true
		}
		if seen != 210 {
			t.Errorf("has_more ends at %d", seen)
		}
		c.ask("sync", 201, `{}`, "sync_reply", `{"entries":[],"has_more":null}`)
		if reply := w.connect(t, f).auth(me, ""); reply["resume_from"] != "210" {
			t.Errorf("a page moved the cursor: %v", reply)
		}
	})
}

// checkPage wants a page to have at most so many entries (as many, unless they are
// too large), contiguous, and has_more while there are.
func checkPage(t *testing.T, what string, page map[string]any, most int) {
	t.Helper()
	entries := list(page["entries"])
	if len(entries) != most {
		t.Errorf("%s: %d entries, want %d", what, len(entries), most)
	}
	last := int64(0)
	for i, e := range entries {
		seq := number(object(e)["seq"])
		if i > 0 && seq != last+1 {
			t.Errorf("%s: %d after %d", what, seq, last)
		}
		last = seq
	}
	if more := page["has_more"] == true; len(entries) > 0 && more != (last < number(page["head"])) {
		t.Errorf("%s: has_more is %v at %d of %v", what, more, last, page["head"])
	}
}

// The same pages over HTTP.
func testInboxByHTTP(t *testing.T, w *world) {
	me := w.someone(t)
	w.fill(t, me, me, 210)
	for query, most := range map[string]int{
		"": 50, "?after=0": 50, "?after=0&limit=0": 50, "?limit=1": 1, "?after=100&limit=7": 7, "?limit=200": 200, "?limit=201": 200,
		"?limit=1000000": 200, "?after=205": 5, "?after=210": 0,
	} {
		page := w.call(t, me.token, "GET", "/v1/inbox"+query, "").is(200, `{"head":"210","too_long":null,"inbox_epoch":"*"}`)
		checkPage(t, query, page, most)
	}
	for _, query := range []string{"?limit=-1", "?after=-1", "?limit=x", "?after=x", "?after=9223372036854775808"} {
		w.call(t, me.token, "GET", "/v1/inbox"+query, "").problem("invalid")
	}
}

// An entry is the same however it comes: delivered live, delivered later, in a page,
// over HTTP; but has_read turns true once it is read.
func testAnEntryIsTheSameEverywhere(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		c := w.login(t, f, bob)
		w.message(t, ann, bob.user, "m1", "one")
		w.message(t, bob, ann.user, "m2", "two")
		c.upto(2)
		w.login(t, f, ann).upto(2)                                                 // their inboxes are two
		w.call(t, ann.token, "POST", "/v1/inbox/ack", `{"seq":"1"}`).is(200, `{}`) // a delivered receipt for nobody: m1 is ann's own
		w.call(t, ann.token, "POST", "/v1/inbox/read", `{"conversation_id":"`+direct(ann, bob)+`","upto":"2"}`).is(200, `{}`)
		c.upto(3)
		again := w.connect(t, f)
		again.auth(bob, `,"last_seq":"0"`)
		again.upto(3)
		pages := [][]any{
			list(again.ask("sync", 5, `{"after":"0"}`, "sync_reply", `{}`)["entries"]),
			list(w.call(t, bob.token, "GET", "/v1/inbox?after=0", "").is(200, `{}`)["entries"]),
			{again.entries[0], again.entries[1], again.entries[2]},
		}
		for i, page := range pages {
			for j := range 3 {
				if err := same(any(c.entries[j]), page[j]); err != nil {
					t.Errorf("page %d, entry %d: %v", i, j, err)
				}
			}
		}
	})
}
