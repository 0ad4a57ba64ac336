package http

import (
	"strings"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

func (w *world) page(t *testing.T, entries ...*imv1.Entry) *imv1.PullReply {
	t.Helper()
	page := &imv1.PullReply{Head: 9, HasMore: true, InboxEpoch: "epoch1"}
	for _, entry := range entries {
		encoded, err := entry.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		page.Entries = append(page.Entries, encoded)
	}
	return page
}

func TestReadingTheInbox(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.pipeline.page = w.page(t,
		&imv1.Entry{Seq: 4, Kind: "message", AtMs: 5, HasRead: true, Message: &imv1.Message{
			MessageId: 1 << 53, Version: 1, Content: &imv1.Content{Type: "text", Text: "hi <b>"}}},
		&imv1.Entry{Seq: 5, Kind: "receipt", Receipt: &imv1.Receipt{UserId: "bob", Kind: "read", Upto: 3}})
	w.call("GET", "/v1/inbox?after=3&limit=500&inbox_epoch=epoch1", token, nil).ok("page", 200).is("", `{"head":"9","has_more":true,
		"inbox_epoch":"epoch1","entries":[{"seq":"4","kind":"message","at_ms":"5","has_read":true,"message":{
		"message_id":"9007199254740992","version":1,"content":{"type":"text","text":"hi <b>"}}},
		{"seq":"5","kind":"receipt","receipt":{"user_id":"bob","kind":"read","upto":"3"}}]}`)
	pull := w.pipeline.pulled[0]
	if pull.GetUserId() != id || pull.GetDeviceId() != "d1" || pull.After == nil || pull.GetAfter() != 3 ||
		pull.GetLimit() != 200 || pull.GetInboxEpoch() != "epoch1" || pull.GetMaxBytes() == 0 {
		t.Errorf("pulled %v", pull)
	}
}

func TestInboxPagesAskedForInOtherWays(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	w.pipeline.page = &imv1.PullReply{TooLong: true, InboxEpoch: "epoch1"}
	w.call("GET", "/v1/inbox", token, nil).ok("from the cursor", 200).is("", `{"too_long":true,"inbox_epoch":"epoch1"}`)
	w.call("GET", "/v1/inbox?after=&limit=", token, nil).ok("empty is left out", 200)
	w.call("GET", "/v1/inbox?after=0&limit=0", token, nil).ok("from the beginning", 200)
	w.call("GET", "/v1/inbox?later=1&limit=7", token, nil).ok("unknown parameters", 200)
	for i, want := range []struct {
		given bool
		limit int32
	}{{false, 50}, {false, 50}, {true, 50}, {false, 7}} {
		if pull := w.pipeline.pulled[i]; (pull.After != nil) != want.given || pull.GetLimit() != want.limit {
			t.Errorf("%d: pulled %v, want %+v", i, pull, want)
		}
	}
	for _, query := range []string{"?limit=-1", "?limit=x", "?limit=1.5", "?after=-1", "?after=x", "?after=9223372036854775808"} {
		w.call("GET", "/v1/inbox"+query, token, nil).refused(query, im.Invalid)
	}
	w.pipeline.page = &imv1.PullReply{Error: &imv1.Error{Code: "unavailable", Message: "the store is away", RetryAfterMs: 1000}}
	w.call("GET", "/v1/inbox", token, nil).refused("an error in the page", im.Unavailable)
}

func TestAcknowledging(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.store.heads[id] = im.InboxHead{Head: 9}
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_AckReply{AckReply: &imv1.AckReply{Seq: 8}}}
	for _, body := range []string{`{"seq":"7"}`, `{"seq":7}`, `{"seq":7,"inbox_epoch":"epoch1"}`, `{"seq":9,"inbox_epoch":""}`} {
		w.call("POST", "/v1/inbox/ack", token, body).ok(body, 200).is("", `{"seq":"8"}`)
	}
	acked := w.pipeline.acked[0]
	if acked.GetUserId() != id || acked.GetDeviceId() != "d1" || acked.GetSeq() != 7 || !acked.GetDurable() {
		t.Errorf("acked %v", acked)
	}
	w.pipeline.acked = nil
	for _, body := range []string{
		`{"seq":10}`, `{"seq":"10"}`, `{"seq":-1}`, `{"seq":7,"inbox_epoch":"other"}`, `{"seq":true}`, `{"seq":1.5}`, `{"seq":"x"}`,
		`{"seq":[]}`, `7`, ``, `null`, ` null `,
	} {
		w.call("POST", "/v1/inbox/ack", token, body).refused(body, im.Invalid)
	}
	if long := w.call("POST", "/v1/inbox/ack", token, `{"seq":"`+strings.Repeat("x", 50_000)+`"}`); len(long.text) > 500 {
		t.Errorf("a long value is repeated: %d bytes", len(long.text))
	}
	if len(w.pipeline.acked) != 0 {
		t.Errorf("acked %v", w.pipeline.acked)
	}
	w.call("POST", "/v1/inbox/ack", token, `{}`).ok("nothing is 0", 200)
	w.pipeline.reply = errorOf(im.Unavailable, 1000)
	w.call("POST", "/v1/inbox/ack", token, `{"seq":7}`).refused("the pipeline's refusal", im.Unavailable)
}

func TestMarkingRead(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	conversation := im.DirectConversation(id, "bob")
	w.store.stays[im.ReadKey{UserID: id, ConversationID: conversation}] = []im.Member{{JoinedSeq: 1, LeftSeq: im.Forever}}
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_ReadReply{ReadReply: &imv1.ReadReply{ConversationId: conversation, Upto: 4, Unread: 2}}}
	w.call("POST", "/v1/inbox/read", token, `{"conversation_id":"`+conversation+`","upto":"5"}`).ok("read", 200).
		is("", `{"conversation_id":"`+conversation+`","upto":"4","unread":2}`)
	publish, read := w.pipeline.published[0], new(imv1.Read)
	if err := read.UnmarshalVT(publish.GetRead()); err != nil || read.GetUpto() != 5 || read.GetConversationId() != conversation ||
		publish.GetUserId() != id || publish.GetDeviceId() != "d1" {
		t.Errorf("published %v, read %v, %v", publish, read, err)
	}
	w.call("POST", "/v1/inbox/read", token, `{"conversation_id":"`+conversation+`","upto":-1}`).refused("negative", im.Invalid)
	w.call("POST", "/v1/inbox/read", token, `{"conversation_id":5}`).refused("wrong type", im.Invalid)
	w.call("POST", "/v1/inbox/read", token, `{"upto":5}`).refused("no conversation", im.NotFound)
	w.call("POST", "/v1/inbox/read", token, `{"conversation_id":"`+im.DirectConversation("bob", "carol")+`","upto":1}`).
		refused("not a member", im.NotFound)
}
