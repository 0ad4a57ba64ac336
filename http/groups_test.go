package http

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// lastChange is what the pipeline was asked to do to a group.
func (w *world) lastChange() *imv1.GroupChange {
	w.t.Helper()
	change := new(imv1.GroupChange)
	if err := change.UnmarshalVT(w.pipeline.published[len(w.pipeline.published)-1].GetChange()); err != nil {
		w.t.Fatal(err)
	}
	return change
}

func TestMakingAGroup(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("ann")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1, ConversationSeq: 1})
	body := `{"name":"G","member_ids":["bob","cy"]}`
	first := w.call("POST", "/v1/groups", token, body, "Idempotency-Key", "k1").ok("make", 201)
	if change := w.lastChange(); change.GroupId != first.str("group_id") || change.ClientId != "k1" ||
		change.Membership.Action != "created" || fmt.Sprint(change.Membership.UserIds) != "[bob cy]" ||
		change.Membership.Data.Fields["name"].GetStringValue() != "G" {
		t.Errorf("asked for %v", change)
	}
	if got := first.str("conversation_id"); got != im.GroupConversation(first.str("group_id")) {
		t.Errorf("conversation_id %q", got)
	}
	again := w.call("POST", "/v1/groups", token, body, "Idempotency-Key", "k1").ok("make again", 201)
	if again.str("group_id") != first.str("group_id") {
		t.Errorf("a repeat makes %q, not %q", again.str("group_id"), first.str("group_id"))
	}
	other := w.call("POST", "/v1/groups", token, body).ok("make another", 201)
	if other.str("group_id") == first.str("group_id") {
		t.Error("another group has the same id")
	}
	w.call("POST", "/v1/groups", token, body, "Idempotency-Key", string(make([]byte, 65))).refused("long key", im.Invalid)
	w.call("POST", "/v1/groups", "", body).refused("no token", im.Unauthenticated)
	w.pipeline.reply = errorOf(im.NotFound, 0)
	w.call("POST", "/v1/groups", token, body).refused("no such user", im.NotFound)
}

func TestWhatEachGroupRequestAsksFor(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1})
	for _, c := range []struct{ method, path, body, action, users, data string }{
		{"POST", "/v1/groups/g/members", `{"user_ids":["bob","cy"]}`, "joined", "[bob cy]", ""},
		{"DELETE", "/v1/groups/g/members/bob", ``, "removed", "[bob]", ""},
		{"DELETE", "/v1/groups/g/members/" + ann, ``, "left", "[]", ""},
		{"PATCH", "/v1/groups/g/members/bob", `{"role":"admin"}`, "role", "[bob]", `role:"admin"`},
		{"PATCH", "/v1/groups/g/members/bob", `{"muted_until_ms":"5"}`, "muted", "[bob]", `muted_until_ms:"5"`},
		{"PATCH", "/v1/groups/g/members/bob", `{"muted_until_ms":0}`, "muted", "[bob]", `muted_until_ms:"0"`},
		{"PATCH", "/v1/groups/g", `{"announcement":"","later":1}`, "changed", "[]", `announcement:""`},
		{"PATCH", "/v1/groups/g", `{"mute_all":true}`, "changed", "[]", `mute_all:true`},
		{"PUT", "/v1/groups/g/owner", `{"user_id":"bob"}`, "owner", "[bob]", ""},
		{"DELETE", "/v1/groups/g", ``, "dissolved", "[]", ""},
		{"POST", "/v1/groups/g/requests", `{"text":"please"}`, "requested", "[]", `text:"please"`},
		{"PUT", "/v1/groups/g/requests/bob", `{"accept":true}`, "accepted", "[bob]", ""},
		{"PUT", "/v1/groups/g/requests/bob", `{"accept":false}`, "refused", "[bob]", ""},
		{"DELETE", "/v1/groups/g/members/me", ``, "left", "[]", ""},
	} {
		w.call(c.method, c.path, token, c.body, "Idempotency-Key", "k").ok(c.method+" "+c.path, 204)
		change := w.lastChange()
		data := ""
		for key, value := range change.Membership.Data.GetFields() {
			encoded, _ := value.MarshalJSON()
			data = key + ":" + string(encoded)
		}
		if change.GroupId != "g" || change.ClientId != "k" || change.Membership.Action != c.action ||
			fmt.Sprint(change.Membership.UserIds) != c.users || data != c.data {
			t.Errorf("%s %s %s asks for %v", c.method, c.path, c.body, change)
		}
	}
	w.call("PATCH", "/v1/groups/g/members/bob", token, `{}`).refused("no change of a member", im.Invalid)
}

// Both changes of a member are made, the second under a key of its own.
func TestARoleAndAMuteAtOnce(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("ann")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1})
	keys := map[string]bool{}
	for range 2 {
		before := len(w.pipeline.published)
		w.call("PATCH", "/v1/groups/g/members/bob", token, `{"role":"member","muted_until_ms":5}`, "Idempotency-Key", "k").ok("both", 204)
		if n := len(w.pipeline.published) - before; n != 2 {
			t.Fatalf("%d changes, want 2", n)
		}
		keys[w.lastChange().ClientId] = true
	}
	if keys["k"] || len(keys) != 1 {
		t.Errorf("the second change has the keys %v", keys)
	}
}

// group puts a group into the store, of which the caller of a token is a member.
func (w *world) group(id string, settings *imv1.GroupSettings, members ...im.Member) {
	w.t.Helper()
	encoded, err := settings.MarshalVT()
	if err != nil {
		w.t.Fatal(err)
	}
	conversation := im.GroupConversation(id)
	for i := range members {
		members[i].ConversationID, members[i].LeftSeq = conversation, im.Forever
		w.store.stays[im.ReadKey{UserID: members[i].UserID, ConversationID: conversation}] = members[i : i+1]
	}
	w.store.states[conversation] = im.ConversationState{
		Conversation: im.Conversation{ID: conversation, Type: im.Group, Key: id, Settings: encoded}, Exists: true, Members: members,
	}
}

func TestReadingAGroup(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	_, stranger := w.token("eve")
	w.group("g", &imv1.GroupSettings{Name: "G", History: "joined", Join: "request", Requests: []*imv1.JoinRequest{
		{UserId: "dan", Text: "hi", AtMs: 7}, {UserId: "al", AtMs: 12}, {UserId: "bo", AtMs: 12},
	}},
		im.Member{UserID: "~zoe" /* behind every id */, JoinedSeq: 2, Role: "member", MutedUntilMs: 9}, im.Member{UserID: ann, JoinedSeq: 1, Role: "owner"})
	w.call("GET", "/v1/groups/g", token, nil).ok("group", 200).is("", fmt.Sprintf(
		`{"group_id":"g","name":"G","history":"joined","join":"request","conversation_id":%q,"owner_id":%q,"members":2,"role":"owner"}`,
		im.GroupConversation("g"), ann))
	page := w.call("GET", "/v1/groups/g/members?limit=1", token, nil).ok("members", 200)
	page.is("members", fmt.Sprintf(`[{"user_id":%q,"role":"owner","joined_seq":"1"}]`, ann))
	w.call("GET", "/v1/groups/g/members?limit=1&cursor="+page.str("next"), token, nil).ok("more members", 200).
		is("", `{"members":[{"user_id":"~zoe","role":"member","muted_until_ms":"9","joined_seq":"2"}]}`)
	page = w.call("GET", "/v1/groups/g/requests?limit=2", token, nil).ok("requests", 200)
	page.is("requests", `[{"user_id":"dan","text":"hi","at_ms":"7"},{"user_id":"al","at_ms":"12"}]`)
	w.call("GET", "/v1/groups/g/requests?cursor="+page.str("next"), token, nil).ok("more requests", 200).
		is("", `{"requests":[{"user_id":"bo","at_ms":"12"}]}`)
	for _, path := range []string{"/v1/groups/g", "/v1/groups/g/members", "/v1/groups/g/requests", "/v1/groups/none"} {
		w.call("GET", path, stranger, nil).refused("by a stranger "+path, im.NotFound)
		w.call("GET", path, "", nil).refused("without a token "+path, im.Unauthenticated)
	}
	w.call("GET", "/v1/groups/g/members?cursor=%21", token, nil).refused("bad cursor", im.Invalid)
	w.call("GET", "/v1/groups/g/members?limit=-1", token, nil).refused("bad limit", im.Invalid)
}

func TestRequestsAreForThoseWhoAnswerThem(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.group("g", &imv1.GroupSettings{Name: "G"}, im.Member{UserID: ann, JoinedSeq: 1, Role: "member"})
	w.call("GET", "/v1/groups/g/requests", token, nil).refused("by a member", im.Forbidden)
}

// A new member sees what was before where the group is set so, and only as a member.
func TestTheFormerHistoryOfAGroup(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	id := im.GroupConversation("g")
	for seq := int64(1); seq <= 4; seq++ {
		w.store.events[id] = append(w.store.events[id], im.Event{ConversationID: id, Seq: seq, Kind: im.KindMessage})
	}
	seen := func(settings string) int {
		w.group("g", &imv1.GroupSettings{Name: "G", History: settings}, im.Member{UserID: ann, JoinedSeq: 3, Role: "member"})
		messages, _ := w.call("GET", "/v1/conversations/"+id+"/messages", token, nil).ok("history", 200).content["messages"].([]any)
		return len(messages)
	}
	if joined, all := seen("joined"), seen("all"); joined != 2 || all != 4 {
		t.Errorf("a member since 3 sees %d messages, with the whole history %d; want 2 and 4", joined, all)
	}
	w.store.stays[im.ReadKey{UserID: ann, ConversationID: id}] = []im.Member{{ConversationID: id, UserID: ann, JoinedSeq: 3, LeftSeq: 3}}
	messages, _ := w.call("GET", "/v1/conversations/"+id+"/messages", token, nil).ok("history", 200).content["messages"].([]any)
	if len(messages) != 1 {
		t.Errorf("who has left sees %d messages, want 1", len(messages))
	}
}
