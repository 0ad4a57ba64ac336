package protocol

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// text is a send of a text.
func text(id, to, words string) string {
	return fmt.Sprintf(`{"client_msg_id":%q,"to":{"user_id":%q},"content":{"type":"text","text":%s}}`, id, to, quoted(words))
}

// A message is acknowledged with its ids and is one entry for every member, the
// sender included, on all their devices. Only the sender's own copies name the device
// and the client_msg_id.
func testAMessage(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		annToo := w.device(t, ann.user, "d2", "ios")
		bobToo := w.device(t, bob.user, "d2", "ios")
		sender := w.login(t, f, ann)
		others := []*client{w.login(t, tcpProto(), annToo), w.login(t, wsText(), bob), w.login(t, f, bobToo)}
		body := fmt.Sprintf(`{"client_msg_id":"m1","to":{"user_id":%q},"attributes":{"k":"v"},"options":{"expires_in":60},
			"content":{"type":"text","text":"héllo","data":{"a":[1,null,"x"],"b":{"c":true}},"file_id":"f1","mentions":["all"]}}`, bob.user)
		ack := sender.ask("send", 5, body, "send_ack", fmt.Sprintf(
			`{"client_msg_id":"m1","message_id":"*","conversation_id":%q,"conversation_seq":"1","sent_at_ms":"*","duplicate":null}`, direct(ann, bob)))
		want := fmt.Sprintf(`{"seq":"1","kind":"message","at_ms":"*","has_read":null,"message":{"message_id":%q,"conversation_id":%q,
			"conversation_type":"direct","conversation_seq":"1","sender_id":%q,"sent_at_ms":%q,"version":1,"expires_at_ms":"*",
			"recalled":null,"deleted":null,"edited_at_ms":null,"reactions":null,"attributes":{"k":"v"},
			"content":{"type":"text","text":"héllo","data":{"a":[1,null,"x"],"b":{"c":true}},"file_id":"f1","mentions":["all"],
			"reply_to":null,"thread_id":null,"forwarded_from":null},`,
			ack["message_id"], direct(ann, bob), ann.user, ack["sent_at_ms"])
		for i, c := range append(others, sender) {
			own := `"sender_device_id":"d1","client_msg_id":"m1"}}`
			if i == 1 || i == 2 {
				own = `"sender_device_id":null,"client_msg_id":null}}`
			}
			entry := c.upto(1)
			if err := match(wanted(t, want+own), entry); err != nil {
				t.Errorf("device %d: %v in %v", i, err, entry)
			}
			if sent, expires := number(ack["sent_at_ms"]), number(path(t, entry, "message", "expires_at_ms")); expires != sent+60_000 {
				t.Errorf("sent at %d, expires at %d", sent, expires)
			}
		}
		names := fmt.Sprintf(`"content":{"type":"text","text":"x","reply_to":%[1]q,"thread_id":%[1]q,"forwarded_from":%[1]q}`, ack["message_id"])
		sender.ask("send", 6, fmt.Sprintf(`{"client_msg_id":"m2","to":{"user_id":%q},%s}`, bob.user, names), "send_ack", `{"conversation_seq":"2"}`)
		for i, c := range append(others, sender) {
			if err := match(wanted(t, `{"message":{`+names+`}}`), c.upto(2)); err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		}
	})
}

// A repeat is answered with the ids of the first and duplicate, however it comes: over
// a socket or HTTP, to the user or the conversation, with another after or other
// options. With other content or attributes it is a conflict. Another device's id, and
// the same id in another conversation, are other messages.
func testRepeats(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		phone := w.device(t, ann.user, "d2", "ios")
		c := w.login(t, f, ann)
		content := `"content":{"type":"text","text":"x","data":{"a":1,"b":2}},"attributes":{"k":"v","l":"w"}`
		toBob := fmt.Sprintf(`"to":{"user_id":%q}`, bob.user)
		toConversation := fmt.Sprintf(`"to":{"conversation_id":%q}`, direct(ann, bob))
		first := c.ask("send", 1, `{"client_msg_id":"m1",`+toBob+`,`+content+`}`, "send_ack", `{"duplicate":null,"conversation_seq":"1"}`)
		again := fmt.Sprintf(`{"client_msg_id":"m1","message_id":%q,"conversation_id":%q,"conversation_seq":"1","sent_at_ms":%q,"duplicate":true}`,
			first["message_id"], first["conversation_id"], first["sent_at_ms"])
		for i, body := range []string{
			`{"client_msg_id":"m1",` + toBob + `,` + content + `}`,
			`{"client_msg_id":"m1",` + toConversation + `,` + content + `}`,
			`{"client_msg_id":"m1",` + toBob + `,` + content + `,"after":"never-sent"}`,
			`{"client_msg_id":"m1",` + toBob + `,` + content + `,"options":{"no_push":true}}`,
			`{"attributes":{"l":"w","k":"v"},"content":{"data":{"b":2,"a":1},"text":"x","type":"text"},` + toBob + `,"client_msg_id":"m1"}`,
		} {
			c.ask("send", int32(10+i), body, "send_ack", again)
			w.call(t, ann.token, "POST", "/v1/messages", body).is(200, again)
		}
		for i, body := range []string{
			`{"client_msg_id":"m1",` + toBob + `,"content":{"type":"text","text":"y"}}`,
			`{"client_msg_id":"m1",` + toConversation + `,"content":{"type":"text","text":"x","data":{"a":1,"b":2}}}`,
			`{"client_msg_id":"m1",` + toBob + `,"content":{"type":"text","text":"x","data":{"a":1,"b":2}},"attributes":{"k":"v","l":"other"}}`,
		} {
			c.refused("send", int32(20+i), body, "conflict")
			w.call(t, ann.token, "POST", "/v1/messages", body).problem("conflict")
		}
		w.call(t, phone.token, "POST", "/v1/messages", `{"client_msg_id":"m1",`+toBob+`,`+content+`}`).is(200, `{"duplicate":null,"conversation_seq":"2"}`)
		c.ask("send", 30, text("m1", ann.user, "to oneself"), "send_ack", `{"duplicate":null,"conversation_seq":"1"}`)
		w.waitHead(t, bob, 2)
		page := w.call(t, bob.token, "GET", "/v1/inbox?after=0", "").is(200, `{"head":"2"}`)
		if n := len(list(page["entries"])); n != 2 {
			t.Errorf("%d entries: %v", n, page)
		}
	})
}

// A message sent over HTTP is a repeat when it comes again over a socket, in any form.
func testARepeatOfHTTP(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		first := w.message(t, ann, bob.user, "m1", "x")
		w.login(t, f, ann).ask("send", 1, text("m1", bob.user, "x"), "send_ack",
			fmt.Sprintf(`{"message_id":%q,"conversation_seq":"1","duplicate":true}`, first["message_id"]))
	})
}

// client_msg_id has 1 to 64 bytes.
func testClientMsgIDs(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		c.ask("send", 1, text("a", me.user, "x"), "send_ack", `{"client_msg_id":"a"}`)
		c.ask("send", 2, text(strings.Repeat("a", 64), me.user, "x"), "send_ack", `{}`)
		c.refused("send", 3, text(strings.Repeat("a", 65), me.user, "x"), "invalid")
		c.refused("send", 4, text("", me.user, "x"), "invalid")
		c.refused("send", 5, text("a\nb", me.user, "x"), "invalid")
		for _, id := range []string{"a\x00", strings.Repeat("a", 65)} {
			w.call(t, me.token, "POST", "/v1/messages", text(id, me.user, "x")).problem("invalid")
		}
		// Over HTTP who gives none is given one: there is nothing to resend after a reconnect.
		w.call(t, me.token, "POST", "/v1/messages", text("", me.user, "x")).is(200, `{"client_msg_id":"*"}`)
	})
}

// A message whose after is not stored is out_of_order, which is not final: once the
// predecessor is in, the same message is. A refused predecessor refuses its successors.
func testAfter(t *testing.T, w *world) {
	after := func(id, after, to, words string) string {
		return fmt.Sprintf(`{"client_msg_id":%q,"after":%q,"to":{"user_id":%q},"content":{"type":"text","text":%q}}`, id, after, to, words)
	}
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		c := w.login(t, f, ann)
		c.refused("send", 1, after("m2", "m1", bob.user, "2"), "out_of_order")
		w.call(t, ann.token, "POST", "/v1/messages", after("m2", "m1", bob.user, "2")).problem("out_of_order")
		var data []byte // the first is refused for good, so is what builds on it
		for i, body := range []string{
			`{"client_msg_id":"m1","to":{"user_id":"` + bob.user + `"},"content":{"type":"text"}}`,
			after("m2", "m1", bob.user, "2"), after("m3", "m2", bob.user, "3"),
		} {
			data = append(data, c.sealed(f.frame(t, "send", int32(10+i), body))...)
		}
		c.raw(data)
		codes := map[int32]any{}
		for range 3 {
			h := c.hearOp("error")
			codes[h.seq] = h.body["code"]
		}
		if codes[10] != "invalid" || codes[11] != "out_of_order" || codes[12] != "out_of_order" {
			t.Errorf("answered %v", codes)
		}
		data = nil
		for i, body := range []string{text("m1", bob.user, "1"), after("m2", "m1", bob.user, "2"), after("m3", "m2", bob.user, "3")} {
			data = append(data, c.sealed(f.frame(t, "send", int32(20+i), body))...)
		}
		c.raw(data)
		for range 3 {
			h := c.hearOp("send_ack")
			c.check(h, "send_ack", h.seq, fmt.Sprintf(`{"conversation_seq":"%d","duplicate":null}`, h.seq-19))
		}
		// It counts per device and per conversation.
		phone := w.login(t, f, w.device(t, ann.user, "d2", "ios"))
		phone.refused("send", 5, after("p1", "m1", bob.user, "x"), "out_of_order")
		c.refused("send", 6, after("m4", "m3", ann.user, "x"), "out_of_order")
		c.refused("send", 7, after("m5", strings.Repeat("a", 65), bob.user, "x"), "invalid")
		w.call(t, ann.token, "POST", "/v1/messages", after("m6", "m3", bob.user, "x")).is(200, `{"conversation_seq":"4"}`)
	})
}

// Sends of one connection to one conversation are carried out in the order sent.
func testOrder(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob, cid := w.someone(t), w.someone(t), w.someone(t)
		c, there := w.login(t, f, ann), w.login(t, f, bob)
		const n = 120
		var data []byte
		for i := 1; i <= n; i++ {
			data = append(data, c.sealed(f.frame(t, "send", int32(i), text(fmt.Sprint("b", i), bob.user, fmt.Sprint(i))))...)
			data = append(data, c.sealed(f.frame(t, "send", int32(-i), text(fmt.Sprint("c", i), cid.user, fmt.Sprint(i))))...)
		}
		c.raw(data)
		for range 2 * n {
			h := c.hearOp("send_ack")
			if seq := number(h.body["conversation_seq"]); seq != int64(max(h.seq, -h.seq)) {
				t.Fatalf("send %d has conversation_seq %d", h.seq, seq)
			}
		}
		there.upto(n)
		for i, entry := range there.entries {
			if path(t, entry, "message", "content", "text") != fmt.Sprint(i+1) || number(path(t, entry, "message", "conversation_seq")) != int64(i+1) {
				t.Fatalf("entry %d is %v", i+1, entry)
			}
		}
	})
}

// One may send to oneself: one entry. Who does not exist, a conversation that one is
// not in, and an id that is none are not_found.
func testTo(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me, ann, bob := w.someone(t), w.someone(t), w.someone(t)
		w.message(t, ann, bob.user, "m", "between others")
		c := w.login(t, f, me)
		c.ask("send", 1, text("m1", me.user, "x"), "send_ack", fmt.Sprintf(`{"conversation_id":%q,"conversation_seq":"1"}`, direct(me, me)))
		if entry := c.upto(1); path(t, entry, "message", "conversation_id") != direct(me, me) {
			t.Errorf("the entry is %v", entry)
		}
		c.ask("heartbeat", 2, `{}`, "heartbeat_reply", `{"head":"1"}`)
		content := `"content":{"type":"text","text":"x"}}`
		for i, to := range []string{
			`{"user_id":"nobody"}`, `{"conversation_id":"` + direct(ann, bob) + `"}`, `{"conversation_id":"` + direct(me, ann) + `"}`,
			`{"conversation_id":"nonsense"}`, `{"group_id":"nothing"}`,
		} {
			body := fmt.Sprintf(`{"client_msg_id":"n%d","to":%s,%s`, i, to, content)
			c.refused("send", int32(10+i), body, "not_found")
			w.call(t, me.token, "POST", "/v1/messages", body).problem("not_found")
		}
		for i, to := range []string{`{}`, `null`} {
			body := fmt.Sprintf(`{"client_msg_id":"n%d","to":%s,%s`, i, to, content)
			c.refused("send", int32(20+i), body, "invalid")
			w.call(t, me.token, "POST", "/v1/messages", body).problem("invalid")
		}
		room := `{"client_msg_id":"r","to":{"room_id":"r1"},` + content
		w.call(t, me.token, "POST", "/v1/messages", room).problem("forbidden")
		c.alive()
	})
}

// The protobuf encoding of a Content is at most 60 KiB.
func testTooLarge(t *testing.T, w *world) {
	content := func(size int) string {
		words := strings.Repeat("x", size-proto.Size(&imv1.Content{Type: "text", Text: strings.Repeat("x", 60000)})+60000)
		if n := proto.Size(&imv1.Content{Type: "text", Text: words}); n != size {
			t.Fatalf("a content of %d bytes, want %d", n, size)
		}
		return words
	}
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		c.ask("send", 1, text("m1", me.user, content(60<<10)), "send_ack", `{"message_id":"*"}`)
		c.refused("send", 2, text("m2", me.user, content(60<<10+1)), "too_large")
		c.upto(1)
		w.call(t, me.token, "POST", "/v1/messages", text("m3", me.user, content(60<<10))).is(200, `{}`)
		w.call(t, me.token, "POST", "/v1/messages", text("m4", me.user, content(60<<10+1))).problem("too_large")
		w.call(t, me.token, "POST", "/v1/messages", text("m5", me.user, strings.Repeat("x", 2<<20))).problem("too_large")
	})
}
