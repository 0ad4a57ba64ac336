package http

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

func sendAckOf(ack *imv1.SendAck) *imv1.Reply {
	return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: ack}}
}

func errorOf(code im.Code, after int32) *imv1.Reply {
	return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: string(code), Message: "no", RetryAfterMs: after}}}
}

// lastSend is what the pipeline was asked to send, and for whom.
func (w *world) lastSend() (*imv1.Publish, *imv1.Send) {
	w.t.Helper()
	publish := w.pipeline.published[len(w.pipeline.published)-1]
	send := new(imv1.Send)
	if err := send.UnmarshalVT(publish.GetSend()); err != nil {
		w.t.Fatal(err)
	}
	return publish, send
}

func TestSendingAMessage(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{
		ClientMsgId: "c1", MessageId: 1 << 60, ConversationId: "d1", ConversationSeq: 7, SentAtMs: 1772366400000, Duplicate: true,
	})
	w.call("POST", "/v1/messages", token, `{"client_msg_id":"c1","after":"c0","to":{"user_id":"bob"},"later":[1],
		"content":{"type":"text","text":"hi","reply_to":"9007199254740993","thread_id":5,"data":{"x":[1,null]}},
		"attributes":{"k":"v"},"options":{"no_push":true,"expires_in":60}}`).ok("send", 200).is("",
		`{"client_msg_id":"c1","message_id":"1152921504606846976","conversation_id":"d1","conversation_seq":"7",
		"sent_at_ms":"1772366400000","duplicate":true}`)
	publish, send := w.lastSend()
	if publish.GetUserId() != id || publish.GetDeviceId() != "d1" {
		t.Errorf("published for %q, %q", publish.GetUserId(), publish.GetDeviceId())
	}
	want := &imv1.Send{
		ClientMsgId: "c1", After: "c0", To: &imv1.To{To: &imv1.To_UserId{UserId: "bob"}},
		Content:    &imv1.Content{Type: "text", Text: "hi", ReplyTo: 9007199254740993, ThreadId: 5, Data: send.GetContent().GetData()},
		Attributes: map[string]string{"k": "v"}, Options: &imv1.SendOptions{NoPush: true, ExpiresIn: 60},
	}
	if !proto.Equal(send, want) {
		t.Errorf("published %v, want %v", send, want)
	}
}

func TestTheIdempotencyKeyActsAsClientMsgID(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{})
	for name, c := range map[string]struct{ key, body, want string }{
		"key alone":         {"k1", `{"to":{"user_id":"bob"}}`, "k1"},
		"the body wins":     {"k1", `{"client_msg_id":"c1","to":{"user_id":"bob"}}`, "c1"},
		"neither: accept's": {"", `{"to":{"user_id":"bob"}}`, ""},
	} {
		w.call("POST", "/v1/messages", token, c.body, "Idempotency-Key", c.key).ok(name, 200)
		if _, send := w.lastSend(); send.GetClientMsgId() != c.want {
			t.Errorf("%s: client_msg_id %q, want %q", name, send.GetClientMsgId(), c.want)
		}
	}
	w.call("POST", "/v1/messages", token, `{}`, "Idempotency-Key", strings.Repeat("k", 65)).refused("a long key", im.Invalid)
}

func TestSendsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	for name, c := range map[string]struct {
		body string
		code im.Code
	}{
		"to a room":                      {`{"to":{"room_id":"r"},"content":{"type":"text","text":"hi"}}`, im.Forbidden},
		"to a room by its conversation":  {`{"to":{"conversation_id":"` + im.RoomConversation("r") + `"}}`, im.Forbidden},
		"not JSON":                       {`{"to":`, im.Invalid},
		"a list":                         {`[]`, im.Invalid},
		"to two at once":                 {`{"to":{"user_id":"a","group_id":"b"}}`, im.Invalid},
		"text is a number":               {`{"content":{"text":5}}`, im.Invalid},
		"a seq that is no number":        {`{"content":{"reply_to":"x"}}`, im.Invalid},
		"a number beyond int64":          {`{"content":{"reply_to":"9223372036854775808"}}`, im.Invalid},
		"data is a list":                 {`{"content":{"data":[]}}`, im.Invalid},
		"nothing":                        {``, im.Invalid},
		"not UTF-8":                      {`{"content":{"text":"` + "\xed\xa0\x80" + `"}}`, im.Invalid},
		"more than the server will read": {`{"content":{"text":"` + strings.Repeat("x", 100_000) + `"}}`, im.TooLarge},
	} {
		w.call("POST", "/v1/messages", token, c.body).refused(name, c.code)
	}
	if len(w.pipeline.published) != 0 {
		t.Errorf("published %v", w.pipeline.published)
	}
}

// Every code that the pipeline answers has its status, and asks for a retry where
// the outcome is open.
func TestThePipelinesRefusalsAreTheClients(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	for _, row := range im.Codes {
		if row.Code == im.Unauthenticated {
			continue // not a pipeline's
		}
		w.pipeline.reply = errorOf(row.Code, 0)
		w.call("POST", "/v1/messages", token, `{}`).refused(string(row.Code), row.Code)
	}
	w.pipeline.reply = errorOf(im.Unavailable, 1500)
	late := w.call("POST", "/v1/messages", token, `{}`)
	late.is("retry_after_ms", "1500")
	if late.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q, want 2: never before retry_after_ms", late.header.Get("Retry-After"))
	}
	w.pipeline.err = im.Retry(im.Unavailable, 2*time.Second, "no transfer lives")
	w.call("POST", "/v1/messages", token, `{}`).refused("the way is cut", im.Unavailable)
	w.pipeline.err = errors.New("boom")
	w.call("POST", "/v1/messages", token, `{}`).refused("a fault", im.Internal)
}
