package protocol

import (
	"fmt"
	"testing"
)

// read moves the mark up: above the head it is cut, below the present one it changes
// nothing. The answer holds the values in force, over a socket and HTTP alike.
func testRead(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob, cid := w.someone(t), w.someone(t), w.someone(t)
		for i := 1; i <= 5; i++ {
			w.message(t, ann, bob.user, fmt.Sprint("m", i), "x")
		}
		w.message(t, bob, ann.user, "own", "one's own counts for nothing") // 6
		w.call(t, ann.token, "POST", "/v1/messages", fmt.Sprintf(          // 7
			`{"client_msg_id":"quiet","to":{"user_id":%q},"content":{"type":"text","text":"x"},"options":{"no_unread":true}}`, bob.user)).is(200, `{}`)
		conversation := direct(ann, bob)
		c := w.login(t, f, bob)
		for i, row := range []struct{ upto, want string }{
			{"0", `"upto":null,"unread":5`}, {"2", `"upto":"2","unread":3`}, {"1", `"upto":"2","unread":3`},
			{"4", `"upto":"4","unread":1`}, {"99", `"upto":"7","unread":null`}, {"9223372036854775807", `"upto":"7","unread":null`},
			{"3", `"upto":"7","unread":null`},
		} {
			want := fmt.Sprintf(`{"conversation_id":%q,%s}`, conversation, row.want)
			body := fmt.Sprintf(`{"conversation_id":%q,"upto":%q}`, conversation, row.upto)
			c.ask("read", int32(i), body, "read_reply", want)
			w.call(t, bob.token, "POST", "/v1/inbox/read", body).is(200, want)
		}
		stranger := w.login(t, f, cid)
		for i, row := range []struct{ body, code string }{
			{fmt.Sprintf(`{"conversation_id":%q,"upto":"1"}`, conversation), "not_found"},
			{fmt.Sprintf(`{"conversation_id":%q,"upto":"1"}`, direct(cid, ann)), "not_found"},
			{`{"conversation_id":"nonsense","upto":"1"}`, "not_found"}, {`{"upto":"1"}`, "not_found"},
		} {
			stranger.refused("read", int32(20+i), row.body, row.code)
			w.call(t, cid.token, "POST", "/v1/inbox/read", row.body).problem(row.code)
		}
		negative := fmt.Sprintf(`{"conversation_id":%q,"upto":"-1"}`, conversation)
		c.refused("read", 30, negative, "invalid")
		w.call(t, bob.token, "POST", "/v1/inbox/read", negative).problem("invalid")
		c.alive()
	})
}

// A read makes a receipt in the reader's own inbox, for all their devices, and in the
// peer's; has_read of what is read turns true.
func testReadReceipts(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		bobToo := w.device(t, bob.user, "d2", "ios")
		w.message(t, ann, bob.user, "m1", "one")
		w.message(t, ann, bob.user, "m2", "two")
		w.waitHead(t, bob, 2)
		w.waitHead(t, ann, 2)
		sender, reader, other := w.login(t, f, ann), w.login(t, f, bob), w.login(t, f, bobToo)
		want := fmt.Sprintf(`{"seq":"3","kind":"receipt","at_ms":"*","message":null,
			"receipt":{"conversation_id":%q,"user_id":%q,"kind":"read","upto":"1"}}`, direct(ann, bob), bob.user)
		reader.ask("read", 5, fmt.Sprintf(`{"conversation_id":%q,"upto":"1"}`, direct(ann, bob)), "read_reply", `{"upto":"1","unread":1}`)
		for i, c := range []*client{sender, reader, other} {
			if err := match(wanted(t, want), c.upto(3)); err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		}
		again := reader.ask("sync", 6, `{"after":"0"}`, "sync_reply", `{"head":"3"}`)
		for i, read := range []any{true, nil} {
			if got := path(t, again, "entries", i, "has_read"); got != read {
				t.Errorf("has_read of entry %d is %v", i+1, got)
			}
		}
		if first := path(t, reader.entries[0], "has_read"); first != nil {
			t.Errorf("delivered as read: %v", first)
		}
	})
}

// A delivered receipt goes to the sender at the first ack by any of the receiver's
// devices, and once; receipts cause no receipts.
func testDeliveredReceipts(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		sender := w.login(t, f, ann)
		first, second := w.login(t, f, bob), w.login(t, f, w.device(t, bob.user, "d2", "ios"))
		sender.ask("send", 1, text("m1", bob.user, "x"), "send_ack", `{}`)
		sender.upto(1)
		receipt := func(upto int) any {
			return wanted(t, fmt.Sprintf(`{"kind":"receipt","receipt":{"conversation_id":%q,"user_id":%q,"kind":"delivered","upto":"%d"}}`,
				direct(ann, bob), bob.user, upto))
		}
		first.upto(1)
		first.ask("ack", 2, `{"seq":"1"}`, "ack_reply", `{}`)
		if err := match(receipt(1), sender.upto(2)); err != nil {
			t.Error(err)
		}
		second.upto(1)
		second.ask("ack", 2, `{"seq":"1"}`, "ack_reply", `{}`)             // not again
		sender.ask("ack", 3, `{"seq":"2"}`, "ack_reply", `{}`)             // nor for a receipt
		sender.ask("send", 4, text("m2", bob.user, "y"), "send_ack", `{}`) // the next one shows that nothing came between
		second.upto(2)
		second.ask("ack", 5, `{"seq":"2"}`, "ack_reply", `{}`)
		if entry := sender.upto(3); entry["kind"] != "message" {
			t.Errorf("between the messages came %v", entry)
		}
		if err := match(receipt(2), sender.upto(4)); err != nil {
			t.Error(err)
		}
		if entry := first.upto(2); entry["kind"] != "message" {
			t.Errorf("the receiver has %v", entry)
		}
		first.ask("heartbeat", 6, `{}`, "heartbeat_reply", `{"head":"2"}`)
	})
}

// In a self-chat there is nobody to tell that a message was delivered.
func testSelfChatReceipts(t *testing.T, w *world) {
	me := w.someone(t)
	c := w.login(t, tcpJSON(), me)
	w.message(t, me, me.user, "m1", "x")
	c.upto(1)
	c.ask("ack", 2, `{"seq":"1"}`, "ack_reply", `{}`)
	c.ask("read", 3, fmt.Sprintf(`{"conversation_id":%q,"upto":"1"}`, direct(me, me)), "read_reply", `{"unread":null}`)
	if entry := c.upto(2); path(t, entry, "receipt", "kind") != "read" {
		t.Errorf("after the message: %v", entry)
	}
	w.message(t, me, me.user, "m2", "x")
	if entry := c.upto(3); entry["kind"] != "message" {
		t.Errorf("one read makes one receipt in one's own inbox; then came %v", entry)
	}
}

// Receipts are coalesced: of many reads at once few are told, and the latest always is.
func testReceiptsAreCoalesced(t *testing.T, w *world) {
	ann, bob := w.someone(t), w.someone(t)
	const n = 30
	w.fill(t, ann, bob, n)
	c := w.login(t, wsProto(), bob)
	c.upto(n)
	var data []byte
	for i := 1; i <= n; i++ {
		data = append(data, c.sealed(c.form.frame(t, "read", int32(i), fmt.Sprintf(`{"conversation_id":%q,"upto":"%d"}`, direct(ann, bob), i)))...)
	}
	c.raw(data)
	last, receipts := int64(0), 0
	for last < n {
		receipt := object(c.upto(c.last + 1)["receipt"])
		if upto := number(receipt["upto"]); upto <= last {
			t.Errorf("a receipt for %d after %d", upto, last)
		}
		last = number(receipt["upto"])
		receipts++
	}
	if receipts > n/2 {
		t.Errorf("%d reads at once made %d receipts", n, receipts)
	}
}

// Unread is exact up to 1,000 and stays at 1,000 beyond.
func testUnreadStaysAt1000(t *testing.T, w *world) {
	ann, bob := w.someone(t), w.someone(t)
	w.fill(t, ann, bob, 1010)
	c := w.connect(t, tcpProto())
	c.auth(bob, `,"start":"newest"`)
	for i, row := range []struct{ upto, unread int }{{0, 1000}, {9, 1000}, {10, 1000}, {11, 999}, {1009, 1}} {
		c.ask("read", int32(i), fmt.Sprintf(`{"conversation_id":%q,"upto":"%d"}`, direct(ann, bob), row.upto), "read_reply",
			fmt.Sprintf(`{"unread":%d}`, row.unread))
	}
}
