package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// altering is a group with a member on each transport in each form; the first is its
// owner, the last comes late.
type altering struct {
	s            *server
	members      []*groupDevice
	group        string
	conversation string
}

func startAltering(t *testing.T, s *server) *altering {
	users := s.users("owner", "ann", "bob", "cy", "late")
	a := &altering{s: s}
	for i, user := range users {
		tokens := s.tokens(user, "d", "web")
		r, _ := s.raw(t, transports[i%len(transports)].websocket, transports[i%len(transports)].form, authOf(tokens, "d", "web"))
		a.members = append(a.members, &groupDevice{raw: r, id: user, api: s.api().WithToken(tokens.AccessToken)})
	}
	var err error
	if a.group, a.conversation, err = a.members[0].api.CreateGroup(t.Context(), "Five", users[1:4]...); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *altering) say(t *testing.T, who int, id string, content *imv1.Content, options *imv1.SendOptions) int64 {
	t.Helper()
	ack, err := a.members[who].raw.say(&imv1.Send{ClientMsgId: id, To: client.ToGroup(a.group), Content: content, Options: options})
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return ack.GetMessageId()
}

// whatBecame writes the entries of changes as lines, with the sender's names for messages.
func whatBecame(entries []*imv1.Entry, names map[int64]string) (lines []string) {
	for _, e := range entries {
		switch {
		case e.GetRecall() != nil:
			lines = append(lines, fmt.Sprint("recall ", names[e.GetRecall().GetMessageId()], " ", e.GetRecall().GetConversationSeq()))
		case e.GetEdit() != nil:
			edit := e.GetEdit()
			lines = append(lines, fmt.Sprint("edit ", names[edit.GetMessageId()], " ", edit.GetContent().GetText(), edit.GetVersion(), " ", edit.GetConversationSeq()))
		case e.GetReaction() != nil:
			r := e.GetReaction()
			lines = append(lines, fmt.Sprint("reaction ", names[r.GetMessageId()], " ", r.GetEmoji(), r.GetRemoved(), " ", r.GetConversationSeq()))
		}
	}
	return lines
}

func value[T any](t *testing.T) func(T, error) T {
	return func(got T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// What becomes of messages reaches every member's device in one order, whatever the
// transport, and who reads them later sees them as they are.
func TestMessagesChange(t *testing.T) {
	t.Parallel()
	a := startAltering(t, startHere(t, nil))
	owner, ann, bob, late := a.members[0], a.members[1], a.members[2], a.members[4]
	changed := value[*imv1.Message](t)
	one := a.say(t, 1, "one", client.TextContent("one"), nil)
	two := a.say(t, 1, "two", client.TextContent("two"), nil)
	three := a.say(t, 2, "three", client.TextContent("three"), nil)
	names := map[int64]string{one: "one", two: "two", three: "three"}
	if err := owner.api.AddMembers(t.Context(), a.group, late.id); err != nil {
		t.Fatal(err)
	}
	m := changed(ann.api.Edit(t.Context(), one, client.TextContent("uno"), 1))
	if m.GetContent().GetText() != "uno" || m.GetVersion() != 2 || m.GetEditedAtMs() == 0 {
		t.Errorf("edited: %v", m)
	}
	m = changed(bob.api.React(t.Context(), one, "👍"))
	if len(m.GetReactions()) != 1 || m.GetReactions()[0].GetCount() != 1 || !m.GetReactions()[0].GetMine() {
		t.Errorf("reacted to: %v", m)
	}
	if again := changed(bob.api.React(t.Context(), one, "👍")); len(again.GetReactions()) != 1 || again.GetReactions()[0].GetCount() != 1 {
		t.Errorf("reacted to again: %v", again)
	}
	changed(bob.api.React(t.Context(), one, "❤️"))
	changed(bob.api.Unreact(t.Context(), one, "❤️"))
	m = changed(ann.api.Recall(t.Context(), two))
	if !m.GetRecalled() || m.GetContent() != nil {
		t.Errorf("recalled: %v", m)
	}
	changed(owner.api.Recall(t.Context(), three))
	a.members[3].until("the last recall", func() bool { return len(whatBecame(a.members[3].entries, names)) == 6 })
	want := whatBecame(a.members[3].entries, names)
	if first := strings.Join(want, "; "); first !=
		"edit one uno2 6; reaction one 👍false 7; reaction one ❤️false 8; reaction one ❤️true 9; recall two 10; recall three 11" {
		t.Errorf("what became: %s", first)
	}
	for _, member := range a.members[:4] {
		member.until("all changes", func() bool { return len(whatBecame(member.entries, names)) == 6 })
		if got := whatBecame(member.entries, names); !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", member.id, got, want)
		}
		a.readsLater(t, member, one)
	}
	late.heartbeat()
	if got := whatBecame(late.entries, names); len(got) != 0 {
		t.Errorf("who came late is told %v", got)
	}
	for what, err := range map[string]error{
		"edit": second(late.api.Edit(t.Context(), one, client.TextContent("x"), 0)), "recall": second(late.api.Recall(t.Context(), one)),
		"react": second(late.api.React(t.Context(), one, "👍")),
	} {
		if codeOf(err) != im.NotFound {
			t.Errorf("%s by who does not see it: %v", what, err)
		}
	}
	for what, c := range map[string]struct {
		err  error
		want im.Code
	}{
		"edit by another":      {second(bob.api.Edit(t.Context(), one, client.TextContent("x"), 0)), im.Forbidden},
		"recall by another":    {second(bob.api.Recall(t.Context(), one)), im.Forbidden},
		"edit of an old one":   {second(ann.api.Edit(t.Context(), one, client.TextContent("x"), 1)), im.Conflict},
		"empty edit":           {second(ann.api.Edit(t.Context(), one, client.TextContent(""), 0)), im.Invalid},
		"reaction by a word":   {second(ann.api.React(t.Context(), one, "ok")), im.Invalid},
		"edit of a recalled":   {second(ann.api.Edit(t.Context(), two, client.TextContent("x"), 0)), im.Forbidden},
		"recall of nothing":    {second(ann.api.Recall(t.Context(), 5)), im.NotFound},
		"reaction to recalled": {second(bob.api.React(t.Context(), two, "👍")), im.Forbidden},
	} {
		if codeOf(c.err) != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
}

func second(_ *imv1.Message, err error) error { return err }

// readsLater: inbox, history and list show messages as they are, and unread is what is
// shown as unread.
func (a *altering) readsLater(t *testing.T, member *groupDevice, one int64) {
	t.Helper()
	page := value[*imv1.SyncReply](t)(member.api.Inbox(t.Context(), client.InboxQuery{After: new(int64), Limit: 200}))
	var inbox []*imv1.Message
	unread := 0
	for _, e := range page.GetEntries() {
		if m := e.GetMessage(); m != nil {
			inbox = append(inbox, m)
			if !e.GetHasRead() && !m.GetRecalled() && !m.GetNoUnread() && m.GetSenderId() != member.id {
				unread++
			}
		}
	}
	history, _, err := member.api.History(t.Context(), a.conversation, client.HistoryQuery{Limit: 200})
	if err != nil || len(history) != 3 || len(inbox) != 3 {
		t.Fatalf("%d of history, %d of inbox: %v", len(history), len(inbox), err)
	}
	for i, m := range history {
		if m.String() != inbox[i].String() {
			t.Errorf("history has %v, the inbox %v", m, inbox[i])
		}
	}
	if m := history[0]; m.GetMessageId() != one || m.GetContent().GetText() != "uno" || m.GetVersion() != 2 || len(m.GetReactions()) != 1 {
		t.Errorf("%s reads %v", member.id, m)
	}
	if !history[1].GetRecalled() || history[1].GetContent() != nil || !history[2].GetRecalled() {
		t.Errorf("%s reads %v and %v", member.id, history[1], history[2])
	}
	list := value[client.ConversationPage](t)(member.api.Conversations(t.Context(), client.ConversationQuery{}))
	if c := list.Conversations[0]; c.Unread != unread || !c.LastMessage.GetRecalled() {
		t.Errorf("%s has %d unread entries; the list %+v", member.id, unread, c)
	}
}

// What a message may name, whom it may mention, and for how long it is shown.
func TestWhatMessagesSayOfOthers(t *testing.T) {
	t.Parallel()
	a := startAltering(t, startHere(t, nil))
	owner, ann, bob, late := a.members[0], a.members[1], a.members[2], a.members[4]
	root := a.say(t, 1, "root", client.TextContent("root"), nil)
	reply := client.TextContent("reply")
	reply.ReplyTo, reply.ThreadId = root, root
	inThread := a.say(t, 2, "reply", reply, nil)
	mention := client.TextContent("@bob")
	mention.Mentions = []string{bob.id}
	a.say(t, 1, "mention", mention, nil)
	all := client.TextContent("@all")
	all.Mentions = []string{im.MentionAll}
	a.say(t, 0, "all", all, nil)
	forward := client.TextContent("forwarded")
	forward.ForwardedFrom = root
	if _, err := ann.raw.say(&imv1.Send{ClientMsgId: "f", To: client.ToUser(late.id), Content: forward}); err != nil {
		t.Errorf("forwarded to another conversation: %v", err)
	}
	nested := client.TextContent("nested")
	nested.ThreadId = inThread
	nowhere := client.TextContent("nowhere")
	nowhere.ReplyTo = 5
	stranger := client.TextContent("@late")
	stranger.Mentions = []string{late.id}
	for what, c := range map[string]struct {
		who     *groupDevice
		to      *imv1.To
		content *imv1.Content
		want    im.Code
	}{
		"a reply to nothing":              {ann, client.ToGroup(a.group), nowhere, im.NotFound},
		"a reply to another conversation": {ann, client.ToUser(bob.id), reply, im.NotFound},
		"a thread in a thread":            {ann, client.ToGroup(a.group), nested, im.Invalid},
		"forwarded by who does not see":   {late, client.ToUser(ann.id), forward, im.NotFound},
		"all, by a member":                {ann, client.ToGroup(a.group), all, im.Forbidden},
		"who is no member":                {ann, client.ToGroup(a.group), stranger, im.Invalid},
		"an image without a file":         {ann, client.ToGroup(a.group), &imv1.Content{Type: "image"}, im.Invalid},
		"a link to nowhere":               {ann, client.ToGroup(a.group), &imv1.Content{Type: "link", Text: "x"}, im.Invalid},
		"an empty markdown":               {ann, client.ToGroup(a.group), &imv1.Content{Type: "markdown"}, im.Invalid},
		"a card without data":             {ann, client.ToGroup(a.group), &imv1.Content{Type: "card"}, im.Invalid},
		"an empty custom":                 {ann, client.ToGroup(a.group), &imv1.Content{Type: "custom"}, im.Invalid},
	} {
		if _, err := c.who.raw.say(&imv1.Send{ClientMsgId: what, To: c.to, Content: c.content}); codeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
	thread, _, err := owner.api.History(t.Context(), a.conversation, client.HistoryQuery{ThreadID: root})
	if err != nil || len(thread) != 1 || thread[0].GetMessageId() != inThread {
		t.Errorf("the thread has %v (%v)", thread, err)
	}
	mentions := func(of *groupDevice) (unread, mentions int) {
		list := value[client.ConversationPage](t)(of.api.Conversations(t.Context(), client.ConversationQuery{}))
		for _, c := range list.Conversations {
			if c.ConversationID == a.conversation {
				return c.Unread, c.Mentions
			}
		}
		t.Fatal("the group is not in the list")
		return 0, 0
	}
	if unread, n := mentions(bob); unread != 3 || n != 2 {
		t.Errorf("bob has %d unread, %d mentions, want 3 and 2", unread, n)
	}
	if unread, n := mentions(a.members[3]); unread != 4 || n != 1 {
		t.Errorf("cy has %d unread, %d mentions, want 4 and 1", unread, n)
	}
	a.say(t, 1, "quiet", client.TextContent("quiet"), &imv1.SendOptions{NoUnread: true})
	gone := a.say(t, 1, "short", client.TextContent("short"), &imv1.SendOptions{ExpiresIn: 1})
	bob.until("the short one", func() bool {
		return slices.ContainsFunc(bob.messages(), func(m *imv1.Message) bool { return m.GetMessageId() == gone && m.GetContent() != nil })
	})
	messages := bob.messages()
	<-time.After(time.Until(time.UnixMilli(messages[len(messages)-1].GetExpiresAtMs())))
	history, _, err := bob.api.History(t.Context(), a.conversation, client.HistoryQuery{Limit: 200})
	if err != nil || slices.ContainsFunc(history, func(m *imv1.Message) bool { return m.GetMessageId() == gone }) {
		t.Errorf("the history has what has expired (%v)", err)
	}
	if unread, _ := mentions(bob); unread != 3 {
		t.Errorf("bob has %d unread, want 3: what is quiet or has expired does not count", unread)
	}
	page := value[*imv1.SyncReply](t)(bob.api.Inbox(t.Context(), client.InboxQuery{After: new(int64), Limit: 200}))
	for _, e := range page.GetEntries() {
		if m := e.GetMessage(); m.GetMessageId() == gone && m.GetContent() != nil {
			t.Errorf("an expired message is shown as %v", m)
		}
	}
	if _, err := bob.api.React(t.Context(), gone, "👍"); codeOf(err) != im.NotFound {
		t.Errorf("a reaction to an expired message: %v", err)
	}
}

// A change that is asked for again with its key is made once, also after a restart; with
// another meaning the key is refused.
func TestAChangeOfAMessageIsRepeatable(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob")
	as := func(i int) *client.API { return s.api().WithToken(s.tokens(users[i], "d", "web").AccessToken) }
	ann, bob := as(0), as(1)
	ack := value[client.Ack](t)(ann.SendMessage(t.Context(), &imv1.Send{
		ClientMsgId: "m1", To: client.ToUser(users[1]), Content: client.TextContent("one"), Attributes: map[string]string{"k": "v"},
	}))
	edit := func() (*imv1.Message, error) {
		return ann.WithKey("e1").Edit(t.Context(), ack.MessageID, client.TextContent("two"), 1)
	}
	value[*imv1.Message](t)(edit())
	for range 2 {
		m := value[*imv1.Message](t)(edit())
		if m.GetVersion() != 2 || m.GetContent().GetText() != "two" || m.GetAttributes()["k"] != "v" {
			t.Errorf("edited again: %v", m)
		}
		s.restart()
		ann, bob = as(0), as(1)
	}
	if _, err := ann.WithKey("e1").Recall(t.Context(), ack.MessageID); codeOf(err) != im.Conflict {
		t.Errorf("a recall with the key of an edit: %v", err)
	}
	value[*imv1.Message](t)(ann.WithKey("r1").Recall(t.Context(), ack.MessageID))
	value[*imv1.Message](t)(ann.WithKey("r1").Recall(t.Context(), ack.MessageID))
	value[*imv1.Message](t)(ann.Recall(t.Context(), ack.MessageID))
	page := value[*imv1.SyncReply](t)(bob.Inbox(t.Context(), client.InboxQuery{After: new(int64), Limit: 200}))
	kinds := make([]string, 0, len(page.GetEntries()))
	for _, e := range page.GetEntries() {
		kinds = append(kinds, e.GetKind())
	}
	if got := strings.Join(kinds, " "); got != "message edit recall" {
		t.Errorf("bob's inbox has %s", got)
	}
	list := value[client.ConversationPage](t)(bob.Conversations(t.Context(), client.ConversationQuery{}))
	if c := list.Conversations[0]; c.Unread != 0 || !c.LastMessage.GetRecalled() || c.LastMessage.GetContent() != nil {
		t.Errorf("bob's list has %+v", c)
	}
}
