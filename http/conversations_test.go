package http

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// textEvent is a message event as the store has it.
func textEvent(t *testing.T, conversation, sender string, seq int64) im.Event {
	t.Helper()
	body, err := (&imv1.Message{Content: &imv1.Content{Type: "text", Text: fmt.Sprint("text ", seq)}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return im.Event{
		ID: 1000 + seq, ConversationID: conversation, Seq: seq, Kind: im.KindMessage, Counted: true, SenderID: sender, DeviceID: sender + "'s",
		ClientID: fmt.Sprint("c", seq), AtMs: 5000 + seq, Body: body,
	}
}

func TestListingConversations(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.call("GET", "/v1/conversations", token, nil).ok("none yet", 200).
		is("", `{"conversations":[],"inbox_head":"0","inbox_epoch":"epoch1"}`)
	w.store.heads[id] = im.InboxHead{Head: 12}
	bob, group := im.DirectConversation(id, "bob"), im.GroupConversation("g")
	last := textEvent(t, bob, "bob", 3)
	settings, err := (&imv1.GroupSettings{Name: "G", History: "all", Join: "open", MuteAll: true}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	w.store.views[id] = []im.ConversationView{
		{Conversation: im.Conversation{ID: bob, Type: im.Direct}, Head: 3, Mark: im.ReadMark{ReadUpto: 1}, Unread: 2, PeerID: "bob", LastAtMs: 50, Last: &last},
		{Conversation: im.Conversation{ID: group, Type: im.Group, Key: "g", Settings: settings}, Head: 8, LastAtMs: 40, Present: true},
	}
	w.store.calls = nil
	first := fmt.Sprintf(`{"conversation_id":%q,"type":"direct","peer_id":"bob","head":"3","read_upto":"1","unread":2,"last_message":{
		"message_id":"1003","conversation_id":%q,"conversation_type":"direct","conversation_seq":"3","sender_id":"bob",
		"content":{"type":"text","text":"text 3"},"sent_at_ms":"5003","version":1}}`, bob, bob)
	second := fmt.Sprintf(`{"conversation_id":%q,"type":"group","group":{"group_id":"g","name":"G","history":"all","join":"open",
		"mute_all":true},"head":"8","read_upto":"0","unread":0}`, group)
	w.call("GET", "/v1/conversations", token, nil).ok("all", 200).
		is("", `{"conversations":[`+first+`,`+second+`],"inbox_head":"12","inbox_epoch":"epoch1"}`)
	if slices.Index(w.store.calls, "Heads") > slices.Index(w.store.calls, "ConversationList") {
		t.Errorf("calls %v: the head must be read before the list", w.store.calls)
	}
	page := w.call("GET", "/v1/conversations?limit=1", token, nil).ok("first page", 200)
	page.is("conversations", `[`+first+`]`)
	page = w.call("GET", "/v1/conversations?limit=1&cursor="+page.str("next"), token, nil).ok("second page", 200)
	page.is("conversations", `[`+second+`]`)
	if page.content["next"] != nil {
		t.Errorf("next at the end: %s", page.text)
	}
	w.store.views[id] = w.store.views[id][1:]
	w.store.views[id][0].Present = false
	w.call("GET", "/v1/conversations", token, nil).ok("after leaving", 200).is("conversations", fmt.Sprintf(
		`[{"conversation_id":%q,"type":"group","group":{"group_id":"g"},"head":"8","read_upto":"0","unread":0}]`, group))
}

func TestTheDirectConversationWithAUser(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	for _, peer := range []string{"carol", "bob", id} {
		w.store.views[id] = append(w.store.views[id], im.ConversationView{
			Conversation: im.Conversation{ID: im.DirectConversation(id, peer), Type: im.Direct}, PeerID: peer,
		})
	}
	for _, peer := range []string{"bob", id} {
		found := w.call("GET", "/v1/conversations?user_id="+peer, token, nil).ok(peer, 200)
		list, _ := found.content["conversations"].([]any)
		if len(list) != 1 || !strings.Contains(found.text, im.DirectConversation(id, peer)) || found.content["next"] != nil {
			t.Errorf("with %s: %s", peer, found.text)
		}
	}
	w.call("GET", "/v1/conversations?user_id=dave", token, nil).ok("none", 200).is("conversations", `[]`)
	w.call("GET", "/v1/conversations?user_id="+strings.Repeat("x", 65), token, nil).refused("no id", im.Invalid)
}

func TestConversationListsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	for _, query := range []string{"?limit=-1", "?limit=x", "?cursor=%21", "?cursor=abc", "?cursor=bnVtYmVy"} {
		w.call("GET", "/v1/conversations"+query, token, nil).refused(query, im.Invalid)
	}
}

// seqs lists the conversation seqs of a history.
func seqs(answer said) (list []string) {
	messages, _ := answer.content["messages"].([]any)
	for _, message := range messages {
		list = append(list, message.(map[string]any)["conversation_seq"].(string))
	}
	return list
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	conversation := im.DirectConversation(id, "bob")
	w.store.stays[im.ReadKey{UserID: id, ConversationID: conversation}] = []im.Member{{JoinedSeq: 1, LeftSeq: im.Forever}}
	for _, seq := range []int64{1, 2, 4, 5, 6} { // 3 was something else
		w.store.events[conversation] = append(w.store.events[conversation], textEvent(t, conversation, "bob", seq))
	}
	for query, want := range map[string]struct {
		seqs string
		more bool
	}{
		"":                          {"1 2 4 5 6", false},
		"?limit=2":                  {"5 6", true},
		"?limit=2&before=5":         {"2 4", true},
		"?limit=2&before=4":         {"1 2", false},
		"?before=1":                 {"", false},
		"?before=0&limit=1":         {"6", true},
		"?after=0&limit=2":          {"1 2", true},
		"?after=2&limit=2":          {"4 5", true},
		"?after=4&limit=2":          {"5 6", false},
		"?after=6":                  {"", false},
		"?after=1&before=5":         {"2 4", false},
		"?after=1&before=5&limit=1": {"2", true},
		"?after=&before=&limit=":    {"1 2 4 5 6", false},
		"?limit=1000":               {"1 2 4 5 6", false},
	} {
		page := w.call("GET", "/v1/conversations/"+conversation+"/messages"+query, token, nil).ok(query, 200)
		if got := strings.Join(seqs(page), " "); got != want.seqs || page.content["has_more"] != want.more {
			t.Errorf("%q: got %q, %v; want %q, %v", query, got, page.content["has_more"], want.seqs, want.more)
		}
	}
	for _, query := range []string{"?limit=-1", "?before=-1", "?after=-1", "?after=x", "?before=1e3"} {
		w.call("GET", "/v1/conversations/"+conversation+"/messages"+query, token, nil).refused(query, im.Invalid)
	}
}

// Only the sender's own copies say which device sent it and what it called it.
func TestMessagesOfAHistory(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	conversation := im.DirectConversation(id, "bob")
	w.store.stays[im.ReadKey{UserID: id, ConversationID: conversation}] = []im.Member{{JoinedSeq: 1, LeftSeq: im.Forever}}
	mine := textEvent(t, conversation, id, 2)
	mine.ExpiresAtMs = 1 << 50
	w.store.events[conversation] = []im.Event{textEvent(t, conversation, "bob", 1), mine}
	common := fmt.Sprintf(`"conversation_id":%q,"conversation_type":"direct","version":1`, conversation)
	w.call("GET", "/v1/conversations/"+conversation+"/messages", token, nil).ok("history", 200).is("messages", fmt.Sprintf(`[
		{"message_id":"1001","conversation_seq":"1","sender_id":"bob","sent_at_ms":"5001","content":{"type":"text","text":"text 1"},%s},
		{"message_id":"1002","conversation_seq":"2","sender_id":%q,"sent_at_ms":"5002","expires_at_ms":"1125899906842624",
		"content":{"type":"text","text":"text 2"},"sender_device_id":%q,"client_msg_id":"c2",%s}]`, common, id, id+"'s", common))
}

func TestHistoryIsForMembers(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	group := im.GroupConversation("g")
	for seq := int64(1); seq <= 9; seq++ {
		w.store.events[group] = append(w.store.events[group], textEvent(t, group, "bob", seq))
	}
	for _, conversation := range []string{group, im.DirectConversation("bob", "carol"), "nonsense", "%00", strings.Repeat("x", 200)} {
		w.call("GET", "/v1/conversations/"+conversation+"/messages", token, nil).refused(conversation, im.NotFound)
		w.call("GET", "/v1/conversations/"+conversation+"/reads", token, nil).refused(conversation, im.NotFound)
	}
	w.store.stays[im.ReadKey{UserID: id, ConversationID: group}] = []im.Member{{JoinedSeq: 2, LeftSeq: 3}, {JoinedSeq: 6, LeftSeq: 7}}
	page := w.call("GET", "/v1/conversations/"+group+"/messages", token, nil).ok("past stays", 200)
	if got := strings.Join(seqs(page), " "); got != "2 3 6 7" {
		t.Errorf("past stays show %q", got)
	}
	w.call("GET", "/v1/conversations/"+group+"/reads", token, nil).refused("who has left", im.NotFound)
}

func TestReads(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	conversation := im.DirectConversation(id, "bob")
	w.store.stays[im.ReadKey{UserID: id, ConversationID: conversation}] = []im.Member{{JoinedSeq: 1, LeftSeq: im.Forever}}
	w.store.marks[conversation] = []im.ReadMark{{UserID: id, ReadUpto: 5}, {UserID: "bob"}}
	w.call("GET", "/v1/conversations/"+conversation+"/reads", token, nil).ok("reads", 200).
		is("", fmt.Sprintf(`{"reads":[{"user_id":%q,"upto":"5"},{"user_id":"bob","upto":"0"}]}`, id))
}
