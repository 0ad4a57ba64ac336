package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// int64 are strings and int32 numbers, wherever the server writes JSON.
func testIntegersAsTheyAreWritten(t *testing.T, w *world) {
	for _, f := range []form{wsText(), wsJSON(), tcpJSON()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			me := w.someone(t)
			w.message(t, me, me.user, "m1", "one")
			w.waitHead(t, me, 1)
			c := w.connect(t, f)
			reply := c.auth(me, `,"last_seq":"1"`)
			for field, want := range map[string]any{
				"head": "1", "resume_from": "1", "heartbeat_seconds": 30.0, "window": 256.0, "max_frame": 1048576.0, "protocol": 1.0,
			} {
				if err := same(want, reply[field]); err != nil {
					t.Errorf("%s %v", field, err)
				}
			}
			if _, is := reply["expires_in"].(float64); !is {
				t.Errorf("expires_in is %v", reply["expires_in"])
			}
			c.ask("heartbeat", 2, `{}`, "heartbeat_reply", `{"head":"1"}`)
			ack := c.ask("send", 3, `{"client_msg_id":"m2","to":{"user_id":"`+me.user+`"},"content":{"type":"text","text":"x"}}`,
				"send_ack", `{"conversation_seq":"2"}`)
			for _, field := range []string{"message_id", "sent_at_ms"} {
				if number(ack[field]) == 0 {
					t.Errorf("%s is %v (%T)", field, ack[field], ack[field])
				}
			}
			c.ask("ack", 4, `{"seq":"1"}`, "ack_reply", `{"seq":"1"}`)
			c.ask("read", 5, `{"conversation_id":"`+direct(me, me)+`","upto":"1"}`, "read_reply", `{"upto":"1","unread":null}`)
			entry := c.upto(2)
			for _, field := range []string{"message_id", "conversation_seq", "sent_at_ms"} {
				if number(object(entry["message"])[field]) == 0 {
					t.Errorf("%s is %v", field, entry["message"])
				}
			}
			if number(entry["at_ms"]) == 0 {
				t.Errorf("at_ms is %v", entry["at_ms"])
			}
		})
	}
}

// int64 are accepted as strings and as numbers, int32 too; over HTTP as well.
func testIntegersAsTheyAreRead(t *testing.T, w *world) {
	for _, f := range []form{wsText(), wsJSON(), tcpJSON()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			me := w.someone(t)
			w.fill(t, me, me, 3)
			c := w.connect(t, f)
			c.auth(me, `,"last_seq":1,"protocol":1`)
			c.ask("ack", 2, `{"seq":1}`, "ack_reply", `{"seq":"1"}`)
			c.ask("ack", 3, `{"seq":"2"}`, "ack_reply", `{"seq":"2"}`)
			c.ask("sync", 4, `{"after":1,"limit":1}`, "sync_reply", `{"entries":[{"seq":"2"}]}`)
			c.ask("sync", 5, `{"after":"2","limit":1}`, "sync_reply", `{"entries":[{"seq":"3"}]}`)
			conversation := direct(me, me)
			c.ask("read", 6, `{"conversation_id":"`+conversation+`","upto":1}`, "read_reply", `{"upto":"1"}`)
			c.ask("read", 7, `{"conversation_id":"`+conversation+`","upto":"2"}`, "read_reply", `{"upto":"2"}`)
			w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":3}`).is(200, `{"seq":"3"}`)
			w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"3"}`).is(200, `{"seq":"3"}`)
			w.call(t, me.token, "POST", "/v1/inbox/read", `{"conversation_id":"`+conversation+`","upto":3}`).is(200, `{"upto":"3"}`)
		})
	}
}

// A field with its zero value may be left out, even all of them; where presence
// matters zero is not the same as left out.
func testZeroFields(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		w.fill(t, me, me, 2)
		c := w.connect(t, f)
		reply := c.auth(me, `,"start":"newest"`)
		if number(reply["resume_from"]) != 2 {
			t.Errorf("last_seq left out: %v", reply)
		}
		c.ask("ack", 2, `{"seq":"2"}`, "ack_reply", `{"seq":"2"}`)
		c.ask("sync", 3, `{}`, "sync_reply", `{"entries":[],"head":"2"}`)
		c.ask("sync", 4, `{"after":"0"}`, "sync_reply", `{"entries":[{"seq":"1"},{"seq":"2"}]}`)
		c.ask("ack", 5, `{}`, "ack_reply", `{"seq":"2"}`)
		if f.version != 0 {
			c.whole(packet(16, 16, f.version, 2, 6, nil))
			c.expect("heartbeat_reply", 6, `{"head":"2"}`)
			c.whole(packet(16, 16, f.version, 14, 7, nil))
			c.expect("sync_reply", 7, `{"head":"2"}`)
		}
		c = w.connect(t, f)
		if reply := c.auth(me, `,"last_seq":"0"`); number(reply["resume_from"]) != 0 {
			t.Errorf("last_seq 0: %v", reply)
		}
		c.upto(2)
	})
}

// Fields that are not known are ignored, at every depth.
func testUnknownFields(t *testing.T, w *world) {
	send := `{"client_msg_id":"%s","later":{"x":[1]},"to":{"user_id":"%s","later":true},
		"content":{"type":"text","text":"x","later":null},"options":{"later":"y"}}`
	for _, f := range []form{wsText(), wsJSON(), tcpJSON()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			me := w.someone(t)
			c := w.connect(t, f)
			c.auth(me, `,"later":[{}],"client":{"name":"n","version":"v","later":1}`)
			c.ask("send", 2, fmt.Sprintf(send, "m", me.user), "send_ack", `{"message_id":"*"}`)
			w.call(t, me.token, "POST", "/v1/messages", fmt.Sprintf(send, "m", me.user)).is(200, `{"duplicate":true}`)
			c.upto(1)
			w.call(t, me.token, "POST", "/v1/inbox/ack", `{"seq":"1","later":{}}`).is(200, `{"seq":"1"}`)
			w.call(t, me.token, "GET", "/v1/inbox?later=1", "").is(200, `{"head":"*"}`)
		})
	}
	for _, f := range []form{wsProto(), tcpProto()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t, f)
			unknown := []byte{0xfa, 0x7f, 0x03, 'n', 'e', 'w'} // field 2047
			body := append(f.body(t, "auth", w.someone(t).auth("")), unknown...)
			c.whole(packet(int32(16+len(body)), 16, f.version, 7, 1, body))
			c.expect("auth_reply", 1, `{}`)
			c.whole(packet(int32(16+len(unknown)), 16, f.version, 2, 2, unknown))
			c.expect("heartbeat_reply", 2, `{}`)
		})
	}
}

// Values that are out of bounds, or none of an enum's, are invalid; those at their
// bounds are not. Rows are sends without their client_msg_id and, where they have no
// "to", to oneself.
func testValues(t *testing.T, w *world) {
	attributes := func(n, key, value int) string {
		var fields []string
		for i := range n {
			name := fmt.Sprintf("%02d", i)
			fields = append(fields, fmt.Sprintf("%q:%q", name+strings.Repeat("k", key-2), strings.Repeat("v", value)))
		}
		return `"attributes":{` + strings.Join(fields, ",") + `}`
	}
	const text = `"content":{"type":"text","text":"x"}`
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	rows := []struct{ name, fields, code string }{
		{"16 attributes", text + "," + attributes(16, 2, 1), ""},
		{"17 attributes", text + "," + attributes(17, 2, 1), "invalid"},
		{"an attribute's key of 64 bytes", text + "," + attributes(1, 64, 1), ""},
		{"an attribute's key of 65 bytes", text + "," + attributes(1, 65, 1), "invalid"},
		{"an attribute's value of 1 KiB", text + "," + attributes(1, 2, 1024), ""},
		{"an attribute's value of 1 KiB and a byte", text + "," + attributes(1, 2, 1025), "invalid"},
		{"no content", `"attributes":{}`, "invalid"},
		{"an empty content", `"content":{}`, "invalid"},
		{"an unknown type", `"content":{"type":"poem","text":"x"}`, "invalid"},
		{"a type in capitals", `"content":{"type":"Text","text":"x"}`, "invalid"},
		{"an empty text", `"content":{"type":"text"}`, "invalid"},
		{"an empty text with data", `"content":{"type":"text","text":"","data":{"a":1}}`, "invalid"},
		{"an image", `"content":{"type":"image","file_id":"f1"}`, ""},
		{"an audio", `"content":{"type":"audio","file_id":"f1"}`, ""},
		{"a video", `"content":{"type":"video","file_id":"f1","data":{"seconds":3.5}}`, ""},
		{"a file", `"content":{"type":"file","file_id":"f1"}`, ""},
		{"a link", `"content":{"type":"link","text":"https://example.org"}`, ""},
		{"a markdown", `"content":{"type":"markdown","text":"*x*"}`, ""},
		{"a card", `"content":{"type":"card","data":{"a":[1,null,true,"x",{"b":{}}]}}`, ""},
		{"a custom", `"content":{"type":"custom","data":{}}`, ""},
		{"a file_id of 64 bytes", `"content":{"type":"file","file_id":"` + strings.Repeat("f", 64) + `"}`, ""},
		{"a file_id of 65 bytes", `"content":{"type":"file","file_id":"` + strings.Repeat("f", 65) + `"}`, "invalid"},
		{"data of some depth", `"content":{"type":"custom","data":` + deep(50) + `}`, ""},
		{"a mention of all", `"content":{"type":"text","text":"x","mentions":["all","u1"]}`, ""},
		{"a mention of 65 bytes", `"content":{"type":"text","text":"x","mentions":["` + strings.Repeat("u", 65) + `"]}`, "invalid"},
		{"a user_id of 65 bytes", text + `,"to":{"user_id":"` + strings.Repeat("u", 65) + `"}`, "invalid"},
		{"an empty to", text + `,"to":{}`, "invalid"},
		{"an empty user_id", text + `,"to":{"user_id":""}`, "invalid"},
		{"expires_in", text + `,"options":{"expires_in":60,"no_unread":true,"no_push":true}`, ""},
		{"a negative expires_in", text + `,"options":{"expires_in":-1}`, "invalid"},
	}
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		for i, row := range rows {
			body := fmt.Sprintf(`{"client_msg_id":"m%d",%s`, i, row.fields)
			if !strings.Contains(row.fields, `"to"`) {
				body += fmt.Sprintf(`,"to":{"user_id":%q}`, me.user)
			}
			c.judged(row.name, "send", int32(i), body+"}", "send_ack", row.code)
		}
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		me := w.someone(t)
		for i, row := range rows {
			body := fmt.Sprintf(`{"client_msg_id":"m%d",%s`, i, row.fields)
			if !strings.Contains(row.fields, `"to"`) {
				body += fmt.Sprintf(`,"to":{"user_id":%q}`, me.user)
			}
			answer := w.call(t, me.token, "POST", "/v1/messages", body+"}")
			answer.what = row.name
			if row.code == "" {
				answer.is(200, `{"message_id":"*"}`)
			} else {
				answer.problem(row.code)
			}
		}
	})
}

// judged sends what is answered by reply, or by an error with the code.
func (c *client) judged(name, op string, seq int32, body, reply, code string) {
	c.t.Helper()
	c.say(op, seq, body)
	h := c.hear()
	want := reply
	if code != "" {
		want = "error"
	}
	if h.op != want || h.seq != seq || code != "" && h.body["code"] != code {
		c.t.Errorf("%s: %s %d %v, want %s %d %s", name, h.op, h.seq, h.body, want, seq, code)
	}
}

// Bodies of the wrong types are invalid: JSON alone can say them.
func testWrongTypes(t *testing.T, w *world) {
	for _, f := range []form{wsText(), wsJSON(), tcpJSON()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			me := w.someone(t)
			c := w.login(t, f, me)
			for i, body := range []string{
				`{"client_msg_id":5}`, `{"to":"x"}`, `{"to":{"user_id":"a","group_id":"b"}}`, `{"content":"x"}`, `{"content":{"data":[1]}}`,
				`{"content":{"mentions":"all"}}`, `{"attributes":{"a":1}}`, `{"attributes":[]}`, `{"options":{"no_push":"yes"}}`,
				`{"options":{"expires_in":9999999999}}`, `{"content":{"reply_to":"x"}}`, `{"content":{"reply_to":9223372036854775808}}`,
				`{"client_msg_id":"a","client_msg_id":"b"}`, "{\"client_msg_id\":\"\xff\"}",
			} {
				seq := int32(i)
				if f.version == 0 && strings.Contains(body, "\xff") {
					seq = 0 // the whole text is no JSON then
				}
				c.say("send", int32(i), body)
				c.expect("error", seq, `{"code":"invalid"}`)
				w.call(t, me.token, "POST", "/v1/messages", body).problem("invalid")
			}
		})
	}
	for _, f := range []form{wsProto(), tcpProto()} {
		t.Run(f.name, func(t *testing.T) { // text that is not UTF-8
			t.Parallel()
			c := w.login(t, f, w.someone(t))
			c.whole(packet(19, 16, f.version, 4, 7, []byte{0x0a, 0x01, 0xff}))
			c.expect("error", 7, `{"code":"invalid"}`)
		})
	}
}

// data is at most 100 deep, its numbers are finite.
func testDataThatCanNotBeSaid(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me := w.someone(t)
		c := w.login(t, f, me)
		deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
		c.judged("200 deep", "send", 5, `{"client_msg_id":"m","to":{"user_id":"`+me.user+`"},"content":{"type":"custom","data":`+deep+`}}`,
			"send_ack", "invalid")
		c.judged("200 deep", "signal", 6, `{"to":{"user_id":"`+me.user+`"},"type":"x","data":`+deep+`}`, "", "invalid")
		c.alive()
	})
}
