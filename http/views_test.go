package http

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// given puts a direct conversation with messages of a peer into the store.
func (w *world) given(userID, peerID string, n int64) string {
	id := im.DirectConversation(userID, peerID)
	for _, who := range []string{userID, peerID} {
		w.store.stays[im.ReadKey{UserID: who, ConversationID: id}] = []im.Member{{ConversationID: id, UserID: who, JoinedSeq: 1, LeftSeq: im.Forever}}
	}
	for seq := int64(1); seq <= n; seq++ {
		w.store.events[id] = append(w.store.events[id], im.Event{ID: 100 + seq, ConversationID: id, Seq: seq, Kind: im.KindMessage, SenderID: peerID})
	}
	w.store.states[id] = im.ConversationState{Conversation: im.Conversation{ID: id, Type: im.Direct}, Exists: true, Head: n}
	return id
}

func TestDeletingForOneself(t *testing.T) {
	w := newWorld(t)
	me, token := w.token("me")
	_, other := w.token("other")
	id := w.given(me, "peer", 4)
	w.store.deleted = []im.EventRef{{ConversationID: id, Seq: 4}}
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
	deleted := func() (seqs []int64) {
		for _, m := range w.pipeline.own(t).GetDelete().GetMessages() {
			if m.MessageId != 100+m.ConversationSeq || m.ConversationId != id {
				t.Errorf("published %v", m)
			}
			seqs = append(seqs, m.ConversationSeq)
		}
		return seqs
	}
	w.call("DELETE", "/v1/messages/102", token, nil, "Idempotency-Key", "k").ok("one", 204)
	if got := deleted(); !slices.Equal(got, []int64{2}) || w.pipeline.own(t).ClientId != "k" {
		t.Errorf("deleted %v", got)
	}
	w.call("POST", "/v1/messages/delete", token, `{"message_ids":["103","101",103,"104"]}`).ok("many", 204)
	if got := deleted(); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("deleted %v", got)
	}
	before := len(w.pipeline.published)
	w.call("DELETE", "/v1/messages/104", token, nil).ok("what is deleted already", 204)
	many := `{"message_ids":[1`
	for i := range 200 {
		many += fmt.Sprint(",", i)
	}
	w.call("DELETE", "/v1/messages/102", other, nil).refused("another's", im.NotFound)
	w.call("DELETE", "/v1/messages/999", token, nil).refused("none", im.NotFound)
	w.call("DELETE", "/v1/messages/x", token, nil).refused("no number", im.NotFound)
	w.call("POST", "/v1/messages/delete", token, `{"message_ids":["101","999"]}`).refused("one of two", im.NotFound)
	w.call("POST", "/v1/messages/delete", token, `{"message_ids":[]}`).refused("nothing", im.Invalid)
	w.call("POST", "/v1/messages/delete", token, many+`]}`).refused("too many", im.TooLarge)
	w.call("POST", "/v1/messages/delete", "", `{"message_ids":["101"]}`).refused("no token", im.Unauthenticated)
	if len(w.pipeline.published) != before {
		t.Error("a refused delete was published")
	}
}

func TestChangingTheView(t *testing.T) {
	w := newWorld(t)
	me, token := w.token("me")
	_, other := w.token("other")
	id := w.given(me, "peer", 4)
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
	yes, no := true, false
	for body, want := range map[string]*imv1.ViewChange{
		`{"muted":true,"pinned":false}`:    {ConversationId: id, Muted: &yes, Pinned: &no},
		`{"hidden":true,"unread":true}`:    {ConversationId: id, Hidden: &yes, Unread: &yes},
		`{"cleared_upto":"3"}`:             {ConversationId: id, ClearedUpto: 3},
		`{"cleared_upto":99,"muted":true}`: {ConversationId: id, ClearedUpto: 4, Muted: &yes},
	} {
		w.call("PATCH", "/v1/conversations/"+id, token, body).ok(body, 204)
		if got := w.pipeline.own(t).GetView(); !proto.Equal(got, want) {
			t.Errorf("%s published %v, want %v", body, got, want)
		}
	}
	before := len(w.pipeline.published)
	w.call("PATCH", "/v1/conversations/"+id, other, `{"muted":true}`).refused("who is no member", im.NotFound)
	w.call("PATCH", "/v1/conversations/x", token, `{"muted":true}`).refused("no conversation", im.NotFound)
	w.call("PATCH", "/v1/conversations/"+id, token, `{"muted":"yes"}`).refused("no bool", im.Invalid)
	w.call("PATCH", "/v1/conversations/"+id, "", `{"muted":true}`).refused("no token", im.Unauthenticated)
	if len(w.pipeline.published) != before {
		t.Error("a refused change was published")
	}
}
