package http

import (
	"fmt"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// passportWorld has a group of ann (owner), bob, cy (admin) and dan, who has left, in which
// bob has sent event 7 at seq 5.
func passportWorld(t *testing.T) (w *world, ids, tokens map[string]string) {
	w = newWorld(t)
	ids, tokens = map[string]string{}, map[string]string{}
	conversation := im.GroupConversation("g")
	for name, role := range map[string]im.Role{"ann": im.RoleOwner, "bob": im.RoleMember, "cy": im.RoleAdmin, "dan": im.RoleMember, "eve": "", "new": im.RoleAdmin} {
		ids[name], tokens[name] = w.token(name)
		stay := im.Member{UserID: ids[name], JoinedSeq: 1, LeftSeq: im.Forever, Role: string(role)}
		switch name {
		case "dan":
			stay.LeftSeq = 8
		case "new": // an admin who came later, and sees nothing of what was before
			stay.JoinedSeq = 9
		case "eve":
			continue
		}
		w.store.stays[im.ReadKey{UserID: ids[name], ConversationID: conversation}] = []im.Member{stay}
	}
	w.store.events[conversation] = []im.Event{
		{ID: 7, ConversationID: conversation, Seq: 5, Kind: im.KindMessage, SenderID: ids["bob"], AtMs: 1000, AcceptedAtMs: 990,
			B3: "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"},
		{ID: 8, ConversationID: conversation, Seq: 6, Kind: im.KindMembership, SenderID: ids["bob"]},
	}
	return w, ids, tokens
}

func receiptOf(user, conversation string, upto int64) im.InboxEntry {
	data, _ := (&imv1.Entry{Receipt: &imv1.Receipt{ConversationId: conversation, UserId: user, Kind: "read", Upto: upto}}).MarshalVT()
	return im.InboxEntry{Kind: im.KindReceipt, ConversationID: conversation, ConversationSeq: upto, Data: data}
}

func TestAPassport(t *testing.T) {
	w, ids, tokens := passportWorld(t)
	conversation := im.GroupConversation("g")
	message := im.InboxEntry{Kind: im.KindMessage, MessageID: 7, ConversationID: conversation, ConversationSeq: 5}
	other := im.InboxEntry{Kind: im.KindMessage, MessageID: 6}
	w.store.blocks = []im.Block{
		{UserID: ids["ann"], FirstSeq: 1, AtMs: 1010, Entries: []im.InboxEntry{other, message}},
		{UserID: ids["ann"], FirstSeq: 3, AtMs: 1500, Entries: []im.InboxEntry{receiptOf(ids["ann"], conversation, 4), receiptOf(ids["bob"], conversation, 9)}},
		{UserID: ids["ann"], FirstSeq: 5, AtMs: 2000, Entries: []im.InboxEntry{receiptOf(ids["ann"], conversation, 6)}},
		{UserID: ids["bob"], FirstSeq: 4, AtMs: 1008, Entries: []im.InboxEntry{message}},
		{UserID: ids["cy"], FirstSeq: 1, AtMs: 1012, Entries: []im.InboxEntry{message}},
	}
	w.store.marks[conversation] = []im.ReadMark{
		{UserID: ids["ann"], ReadUpto: 6}, {UserID: ids["bob"], ReadUpto: 9}, {UserID: ids["cy"], ReadUpto: 7}, {UserID: ids["dan"], ReadUpto: 4},
	}
	w.store.cursors = []im.Cursor{{UserID: ids["ann"], DeviceID: "d1", Seq: 2}, {UserID: ids["bob"], DeviceID: "d1", Seq: 3}}
	w.store.progress = []im.Progress{
		{UserID: ids["ann"], DeviceID: "d1", AtMs: 1100, Written: 2, Acked: 1}, {UserID: ids["ann"], DeviceID: "d1", AtMs: 1200, Written: 2, Acked: 2},
		{UserID: ids["bob"], DeviceID: "d1", AtMs: 1300, Written: 4, Acked: 3},
	}
	byUser := map[string]string{
		ids["ann"]: `{"user_id":"` + ids["ann"] + `","inbox_seq":"2","inboxed_at_ms":"1010","read":true,"read_at_ms":"2000",
			"devices":[{"platform":"web","acked":true,"written_at_ms":"1100","acked_at_ms":"1200"}]}`,
		ids["bob"]: `{"user_id":"` + ids["bob"] + `","inbox_seq":"4","inboxed_at_ms":"1008","devices":[{"device_id":"d1","platform":"web","written_at_ms":"1300"}]}`,
		ids["cy"]:  `{"user_id":"` + ids["cy"] + `","inbox_seq":"1","inboxed_at_ms":"1012","read":true,"devices":[]}`,
		ids["dan"]: `{"user_id":"` + ids["dan"] + `","devices":[]}`,
	}
	seen := 0
	for cursor, more := "", true; more; more = cursor != "" {
		page := w.call("GET", "/v1/messages/7/passport?limit=3&cursor="+cursor, tokens["bob"], nil).ok("read", 200)
		for field, want := range map[string]string{
			"message_id": `"7"`, "conversation_seq": `"5"`, "sender_id": `"` + ids["bob"] + `"`, "accepted_at_ms": `"990"`, "sequenced_at_ms": `"1000"`,
			"trace_id": `"463ac35c9f6413ad48485a3953bb6124"`, "conversation_id": `"` + conversation + `"`,
		} {
			page.is(field, want)
		}
		recipients := page.content["recipients"].([]any)
		for i, r := range recipients {
			user := r.(map[string]any)["user_id"].(string)
			said{t: t, content: map[string]any{"": nil, "r": r}}.is("r", byUser[user])
			if seen++; seen > 1 && i > 0 && user < recipients[i-1].(map[string]any)["user_id"].(string) {
				t.Error("recipients are not in order")
			}
		}
		cursor, _ = page.content["next"].(string)
	}
	if seen != 4 {
		t.Errorf("%d recipients", seen)
	}
	own := w.call("GET", "/v1/messages/7/passport", tokens["ann"], nil).ok("as owner", 200)
	if own.str("stored_by_ms") != "1008" || !strings.Contains(own.text, `"device_id":"d1"`) {
		t.Errorf("the owner sees %s", own.text)
	}
}

func TestWhoMaySeeAPassport(t *testing.T) {
	w, ids, tokens := passportWorld(t)
	for name, code := range map[string]im.Code{"ann": "", "bob": "", "cy": "", "dan": im.NotFound, "eve": im.NotFound, "new": im.NotFound} {
		answer := w.call("GET", "/v1/messages/7/passport", tokens[name], nil)
		if code != "" {
			answer.refused(name, code)
		} else {
			answer.ok(name, 200)
		}
	}
	for _, id := range []string{"8", "99", "0", "-7", "x", "99999999999999999999"} {
		w.call("GET", "/v1/messages/"+id+"/passport", tokens["bob"], nil).refused(id, im.NotFound)
	}
	w.call("GET", "/v1/messages/7/passport", "", nil).refused("no token", im.Unauthenticated)
	w.call("GET", "/v1/messages/7/passport?limit=-1", tokens["bob"], nil).refused("negative limit", im.Invalid)
	w.call("GET", "/v1/messages/7/passport?cursor=!", tokens["bob"], nil).refused("odd cursor", im.Invalid)

	// A member who is neither, and the other one of a direct conversation.
	key := im.ReadKey{UserID: ids["cy"], ConversationID: im.GroupConversation("g")}
	w.store.stays[key][0].Role = string(im.RoleMember)
	w.call("GET", "/v1/messages/7/passport", tokens["cy"], nil).refused("a member", im.Forbidden)
	direct := im.DirectConversation(ids["ann"], ids["eve"])
	w.store.events[direct] = []im.Event{{ID: 9, ConversationID: direct, Seq: 1, Kind: im.KindMessage, SenderID: ids["ann"]}}
	for _, name := range []string{"ann", "eve"} {
		w.store.stays[im.ReadKey{UserID: ids[name], ConversationID: direct}] = []im.Member{{JoinedSeq: 1, LeftSeq: im.Forever}}
	}
	w.call("GET", "/v1/messages/9/passport", tokens["ann"], nil).ok("the sender", 200)
	w.call("GET", "/v1/messages/9/passport", tokens["eve"], nil).refused("the peer", im.Forbidden)
	w.call("GET", "/v1/messages/9/passport", tokens["bob"], nil).refused("a stranger", im.NotFound)
	w.store.fail = func(call string) error {
		if call == "FindDeliveries" {
			return fmt.Errorf("away")
		}
		return nil
	}
	w.call("GET", "/v1/messages/9/passport", tokens["ann"], nil).refused("the store is away", im.Internal)
}
