package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// A signal is passed on to the members who are online, one's other devices among
// them, not to the session that sent it; there is no reply, and nothing is stored.
func testSignals(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		annToo := w.device(t, ann.user, "d2", "ios")
		sender, other, peer, text := w.login(t, f, ann), w.login(t, f, annToo), w.login(t, f, bob), w.login(t, wsText(), w.device(t, bob.user, "d2", "ios"))
		want := fmt.Sprintf(`{"from":{"user_id":%q,"device_id":"d1"},"conversation_id":%q,"type":"typing","data":{"on":true,"n":[1.5]},"to":null}`,
			ann.user, direct(ann, bob))
		// Before there is a conversation, and to a conversation.
		sender.say("signal", 5, fmt.Sprintf(`{"to":{"user_id":%q},"type":"typing","data":{"on":true,"n":[1.5]}}`, bob.user))
		for _, c := range []*client{peer, text, other} {
			c.expect("signal", 0, want)
		}
		w.message(t, ann, bob.user, "m1", "x")
		sender.upto(1)
		sender.say("signal", 6, fmt.Sprintf(`{"to":{"conversation_id":%q},"type":"typing","data":{"on":true,"n":[1.5]}}`, direct(ann, bob)))
		for _, c := range []*client{peer, text, other} {
			c.expect("signal", 0, want)
		}
		// What a client says of itself does not count; types of 32 bytes and data that is left out are fine.
		sender.say("signal", 7, fmt.Sprintf(`{"to":{"user_id":%q},"type":%q,"from":{"user_id":"x"},"conversation_id":"y"}`, bob.user, strings.Repeat("t", 32)))
		peer.expect("signal", 0, fmt.Sprintf(`{"from":{"user_id":%q,"device_id":"d1"},"conversation_id":%q,"type":%q,"data":null}`,
			ann.user, direct(ann, bob), strings.Repeat("t", 32)))
		sender.ask("heartbeat", 8, `{}`, "heartbeat_reply", `{"head":"1"}`)
	})
}

// Errors are the only replies to a signal.
func testRefusedSignals(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		me, ann, bob := w.someone(t), w.someone(t), w.someone(t)
		w.message(t, ann, bob.user, "m", "x")
		c := w.login(t, f, me)
		toAnn := fmt.Sprintf(`"to":{"user_id":%q}`, ann.user)
		for i, row := range []struct{ body, code string }{
			{`{` + toAnn + `}`, "invalid"}, {`{` + toAnn + `,"type":""}`, "invalid"},
			{`{` + toAnn + `,"type":"` + strings.Repeat("t", 33) + `"}`, "invalid"},
			{`{` + toAnn + `,"type":"presence"}`, "invalid"}, {`{` + toAnn + `,"type":"read"}`, "invalid"},
			{`{"type":"typing"}`, "invalid"}, {`{"to":{"user_id":"nobody"},"type":"typing"}`, "not_found"},
			{`{"to":{"conversation_id":"nonsense"},"type":"typing"}`, "not_found"},
			{`{"to":{"conversation_id":"` + direct(ann, bob) + `"},"type":"typing"}`, "not_found"},
			{`{"to":{"conversation_id":"` + direct(me, ann) + `"},"type":"typing"}`, "not_found"},
			{`{"to":{"group_id":"g"},"type":"typing"}`, "not_found"}, {`{"to":{"room_id":"r"},"type":"typing"}`, "not_found"},
		} {
			c.refused("signal", int32(10+i), row.body, row.code)
		}
		c.alive()
	})
}
