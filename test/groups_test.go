package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/bench"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// A group has a member on each transport in each form. All of them see one order of
// messages and of comings and goings; who is not there when something happens does not
// see it, neither live nor in the history.
func TestAGroupIsOneOrderForAll(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("owner", "ann", "bob", "cy", "dan")
	members := make([]*groupDevice, len(users))
	for i, user := range users {
		tokens := s.tokens(user, "d", "web")
		r, _ := s.raw(t, transports[i].websocket, transports[i].form, authOf(tokens, "d", "web"))
		members[i] = &groupDevice{raw: r, id: user, api: s.api().WithToken(tokens.AccessToken)}
	}
	owner, guest := members[0], members[4]
	group, conversation, err := owner.api.CreateGroup(t.Context(), "Five", users[1:4]...)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, m := range members[:4] { // they talk while the guest comes and goes
		wait.Go(func() {
			for n := range 20 {
				if _, err := m.say(toGroup(group, fmt.Sprint("m", n), fmt.Sprint(n))); err != nil {
					t.Errorf("say: %v", err)
				}
			}
		})
	}
	for range 5 {
		if err := owner.api.AddMembers(t.Context(), group, guest.id); err != nil {
			t.Fatal(err)
		}
		if err := guest.api.RemoveMember(t.Context(), group, guest.id); err != nil {
			t.Fatal(err)
		}
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	const events = 1 + 80 + 10
	for _, m := range members[:4] {
		m.until(fmt.Sprint(events, " entries"), func() bool { return len(m.entries) >= events })
		m.contiguous(0)
		for i, e := range m.entries {
			if seqOf(e) != int64(i+1) || idOf(e) != idOf(owner.entries[i]) {
				t.Fatalf("entry %d of %s is %v, of the owner %v", i, m.id, e, owner.entries[i])
			}
		}
	}
	guest.until("the last leaving", func() bool { return count(guest.entries, "left") == 5 })
	if head := guest.heartbeat(); head != guest.last() {
		t.Errorf("the guest's head is %d behind the last leaving at %d", head, guest.last())
	}
	stays := map[int64]bool{} // by seq
	inside := false
	for _, e := range owner.entries {
		action, about := e.GetMembership().GetAction(), e.GetMembership().GetUserIds()
		if action == "joined" {
			inside = about[0] == guest.id
		}
		if stays[seqOf(e)] = inside; action == "left" {
			inside = false
		}
	}
	want := 0
	for _, e := range owner.entries {
		if stays[seqOf(e)] {
			if idOf(e) != idOf(guest.entries[want]) {
				t.Fatalf("entry %d of the guest is %v, want %v", want, guest.entries[want], e)
			}
			want++
		}
	}
	if want != len(guest.entries) {
		t.Errorf("the guest has %d entries, want %d", len(guest.entries), want)
	}
	history, _, err := guest.api.History(t.Context(), conversation, client.HistoryQuery{Forward: true, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range history {
		if !stays[m.GetConversationSeq()] {
			t.Errorf("the guest's history has %v", m)
		}
	}
	if _, err := guest.say(toGroup(group, "late", "x")); codeOf(err) != im.NotFound {
		t.Errorf("who has left sends: %v", err)
	}
	if _, err := guest.api.Group(t.Context(), group); codeOf(err) != im.NotFound {
		t.Errorf("who has left reads the group: %v", err)
	}
	list, err := guest.api.Conversations(t.Context(), client.ConversationQuery{})
	if err != nil || len(list.Conversations) != 1 || list.Conversations[0].GroupName != "" || list.Conversations[0].GroupID != group {
		t.Errorf("the guest's list is %+v (%v)", list.Conversations, err)
	}
	list, err = owner.api.Conversations(t.Context(), client.ConversationQuery{})
	if err != nil || len(list.Conversations) != 1 || list.Conversations[0].GroupName != "Five" || list.Conversations[0].Unread != 60 {
		t.Errorf("the owner's list is %+v (%v)", list.Conversations, err)
	}
}

// groupDevice is a user's connection and their HTTP API.
type groupDevice struct {
	*raw
	id  string
	api *client.API
}

func toGroup(group, id, words string) *imv1.Send {
	return &imv1.Send{ClientMsgId: id, To: client.ToGroup(group), Content: client.TextContent(words)}
}

func seqOf(e *imv1.Entry) int64 {
	return max(e.GetMessage().GetConversationSeq(), e.GetMembership().GetConversationSeq())
}

// idOf is what tells an entry of a group from others.
func idOf(e *imv1.Entry) string {
	if m := e.GetMembership(); m != nil {
		return fmt.Sprint(m.GetConversationSeq(), m.GetAction(), m.GetUserIds(), m.GetBy())
	}
	return fmt.Sprint(e.GetMessage().GetConversationSeq(), e.GetMessage().GetMessageId(), e.GetMessage().GetContent().GetText())
}

func count(entries []*imv1.Entry, action string) (n int) {
	for _, e := range entries {
		if e.GetMembership().GetAction() == action {
			n++
		}
	}
	return n
}

// What a group is set to, and what its members are, is there after a restart.
func TestAGroupOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob", "cy", "eve")
	apis := make([]*client.API, len(users))
	as := func() {
		for i, user := range users {
			apis[i] = s.api().WithToken(s.tokens(user, "d", "web").AccessToken)
		}
	}
	as()
	ann, bob := apis[0], apis[1]
	group, conversation, err := ann.CreateGroup(t.Context(), "Three", users[1], users[2])
	join, text, muted := "request", "news", true
	for _, err := range []error{
		err, ann.GiveRole(t.Context(), group, users[1], "admin"), bob.Mute(t.Context(), group, users[2], 1<<52),
		bob.ChangeGroup(t.Context(), group, client.GroupChanges{Join: &join, Announcement: &text, MuteAll: &muted}),
		apis[3].AskToJoin(t.Context(), group, "please"), ann.ChangeGroupOwner(t.Context(), group, users[1]),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.restart()
	as()
	ann, bob = apis[0], apis[1]
	got, err := ann.Group(t.Context(), group)
	want := client.Group{
		GroupID: group, ConversationID: conversation, Name: "Three", Announcement: text, History: "joined", Join: join,
		MuteAll: true, OwnerID: users[1], Members: 3, Role: "admin",
	}
	if err != nil || got != want {
		t.Errorf("group %+v (%v), want %+v", got, err, want)
	}
	roles := map[string]string{}
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := ann.Members(t.Context(), group, cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			roles[m.UserID] = fmt.Sprint(m.Role, m.MutedUntilMs, m.JoinedSeq)
		}
		cursor = next
	}
	if len(roles) != 3 || roles[users[0]] != "admin0 1" || roles[users[1]] != "owner0 1" || roles[users[2]] != fmt.Sprint("member", 1<<52, " 1") {
		t.Errorf("members %v", roles)
	}
	requests, _, err := ann.JoinRequests(t.Context(), group, "", 0)
	if err != nil || len(requests) != 1 || requests[0].UserID != users[3] || requests[0].Text != "please" {
		t.Errorf("requests %v (%v)", requests, err)
	}
	if err := ann.AnswerJoinRequest(t.Context(), group, users[3], true); err != nil {
		t.Fatal(err)
	}
	if got, err := apis[3].Group(t.Context(), group); err != nil || got.Members != 4 || got.Role != "member" {
		t.Errorf("who was let in sees %+v (%v)", got, err)
	}
	if err := bob.DissolveGroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	for i, api := range apis {
		if _, err := api.Group(t.Context(), group); codeOf(err) != im.NotFound {
			t.Errorf("%d reads a dissolved group: %v", i, err)
		}
	}
}

// Every member's every device gets everything that is written to its group, once and in
// one order: judged by check.
func TestManyWriteToTheirGroups(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	key, err := os.ReadFile(filepath.Join(s.settings["data_dir"], "service.key"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := bench.Run(t.Context(), bench.Config{
		Mode: bench.Groups, Server: s.http, ServiceKey: strings.TrimSpace(string(key)), Transport: bench.Mixed,
		Groups: 2, Members: 20, Senders: 3, Devices: 2, Messages: 50, Duration: time.Minute,
	}, bench.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	if v := report.Verdict; !v.OK() || v.Acknowledged != 2*3*50 || report.Whole.Delivered != 2*3*50*20*2 {
		t.Errorf("%d acknowledged, %d delivered, verdict %+v", v.Acknowledged, report.Whole.Delivered, v)
	}
}
