package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func of[T any](v T) *T { return &v }

// contacts are the contact entries among those of a connection, as lines.
func (r *raw) contacts() (lines []string) {
	for _, e := range r.entries {
		if c := e.GetContact(); c != nil {
			data := c.GetData().GetFields()
			words := []string{c.GetAction(), c.GetUserId(), data["by"].GetStringValue(), data["text"].GetStringValue(), data["remark"].GetStringValue()}
			lines = append(lines, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
		}
	}
	return lines
}

func (r *raw) untilContacts(want ...string) {
	r.t.Helper()
	r.until(fmt.Sprint(len(want), " contact entries"), func() bool { return len(r.contacts()) >= len(want) })
	if got := r.contacts(); !slices.Equal(got, want) {
		r.t.Errorf("contact entries:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Two users become contacts, and part, over either transport: every device of both
// learns of it, and the lists say the same. Who may not changes nothing.
func TestContactsMeetAndPart(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			names := []string{fmt.Sprint("ann", i), fmt.Sprint("bob", i), fmt.Sprint("eve", i)}
			users := s.users(names...)
			ann, bob := users[0], users[1]
			connect := func(user, device, platform string) (*raw, *client.API) {
				tokens := s.tokens(user, device, platform)
				conn, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, device, platform))
				return conn, s.api().WithToken(tokens.AccessToken)
			}
			annWeb, annAPI := connect(ann, "w", "web")
			annPhone, _ := connect(ann, "p", "ios")
			bobWeb, bobAPI := connect(bob, "w", "web")
			_, eveAPI := connect(users[2], "w", "web")
			for what, err := range map[string]error{
				"agreeing to nobody":     bobAPI.AnswerContact(t.Context(), ann, true),
				"refusing nobody":        bobAPI.AnswerContact(t.Context(), ann, false),
				"naming who is none":     bobAPI.RemarkContact(t.Context(), ann, "x"),
				"asking whom there isnt": bobAPI.AskContact(t.Context(), "nobody", ""),
			} {
				if codeOf(err) != im.NotFound {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := annAPI.AskContact(t.Context(), ann, ""); codeOf(err) != im.Invalid {
				t.Errorf("asking oneself: %v", err)
			}
			do := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			do(annAPI.AskContact(t.Context(), bob, "hello"))
			bobWeb.untilContacts("requested " + ann + " " + ann + " hello")
			requests, _, err := bobAPI.ContactRequests(t.Context(), "", 0)
			if err != nil || len(requests) != 1 || !requests[0].Incoming || requests[0].Text != "hello" || requests[0].Username != names[0] {
				t.Errorf("requests of bob: %+v (%v)", requests, err)
			}
			if err := eveAPI.AnswerContact(t.Context(), ann, true); codeOf(err) != im.NotFound {
				t.Errorf("who was not asked agrees: %v", err)
			}
			do(bobAPI.AnswerContact(t.Context(), ann, true))
			do(bobAPI.RemarkContact(t.Context(), ann, "Annie"))
			entries := []string{"requested " + bob + " " + ann + " hello", "added " + bob + " " + bob}
			annWeb.untilContacts(entries...)
			annPhone.untilContacts(entries...)
			bobWeb.untilContacts("requested "+ann+" "+ann+" hello", "added "+ann+" "+bob, "changed "+ann+" "+bob+" Annie")
			contacts, _, err := bobAPI.Contacts(t.Context(), "", 0)
			if err != nil || len(contacts) != 1 || contacts[0].UserID != ann || contacts[0].Remark != "Annie" || contacts[0].Username != names[0] {
				t.Errorf("contacts of bob: %+v (%v)", contacts, err)
			}
			do(annAPI.RemoveContact(t.Context(), bob))
			bobWeb.until("the end", func() bool { return len(bobWeb.contacts()) == 4 })
			for who, api := range map[string]*client.API{"ann": annAPI, "bob": bobAPI} {
				if contacts, _, err := api.Contacts(t.Context(), "", 0); err != nil || len(contacts) != 0 {
					t.Errorf("contacts of %s in the end: %+v (%v)", who, contacts, err)
				}
			}
		})
	}
}

// Who is blocked is refused, and told nothing: neither by an entry nor by a
// conversation that moves. What they sent before is answered with its ids.
func TestABlockRefusesAndTellsNothing(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			users := s.users(fmt.Sprint("blocker", i), fmt.Sprint("blocked", i))
			own, _ := s.phone(t, s.tokens(users[0], "p", "ios"), "p")
			api := s.api().WithToken(s.tokens(users[0], "w", "web").AccessToken)
			tokens := s.tokens(users[1], "w", "web")
			other, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "w", "web"))
			otherAPI := s.api().WithToken(tokens.AccessToken)
			first, err := other.say(text(users[0], "m1", "before"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.say(text(users[0], "m1b", "before too")); err != nil {
				t.Fatal(err)
			}
			other.untilMessages(2)
			own.untilMessages(2)
			before, err := otherAPI.Conversations(t.Context(), client.ConversationQuery{})
			if err != nil {
				t.Fatal(err)
			}
			if err := api.Block(t.Context(), users[1]); err != nil {
				t.Fatal(err)
			}
			if _, err := other.say(text(users[0], "m2", "after")); codeOf(err) != im.Forbidden {
				t.Errorf("who is blocked sends: %v", err)
			}
			if _, err := otherAPI.SendMessage(t.Context(), text(users[0], "m3", "by HTTP")); codeOf(err) != im.Forbidden {
				t.Errorf("who is blocked sends by HTTP: %v", err)
			}
			if again, err := other.say(text(users[0], "m1", "before")); err != nil || again.GetMessageId() != first.GetMessageId() || !again.GetDuplicate() {
				t.Errorf("a retry of what was sent before: %v, %v", again, err)
			}
			own.untilContacts("blocked " + users[1])

			// What the blocker gets and reads from now on is not told: no receipts, no marks, no passport.
			own.ack(own.last())
			for upto := int64(1); upto <= 2; upto++ { // the second waits for the tick that delivered receipts wait for
				own.call(wire.OpRead, &imv1.Read{ConversationId: first.GetConversationId(), Upto: upto}, wire.OpReadReply, &imv1.ReadReply{})
				own.untilReceipt("read", users[0], upto)
			}
			if reads, err := otherAPI.Reads(t.Context(), first.GetConversationId()); err != nil || len(reads) != 1 || reads[0].UserID != users[1] {
				t.Errorf("who is blocked is told of reads: %+v (%v)", reads, err)
			}
			if p, err := otherAPI.Passport(t.Context(), first.GetMessageId(), "", 0); err != nil || len(p.Recipients) != 1 || p.Recipients[0].UserID != users[1] {
				t.Errorf("who is blocked sees the way of a message: %+v (%v)", p, err)
			}
			if blocks, _, err := api.Blocks(t.Context(), "", 0); err != nil || len(blocks) != 1 || blocks[0].UserID != users[1] {
				t.Errorf("blocks: %+v (%v)", blocks, err)
			}
			after, err := otherAPI.Conversations(t.Context(), client.ConversationQuery{})
			if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the conversation has moved for who is blocked: %+v, was %+v (%v)", after, before, err)
			}
			if err := api.Unblock(t.Context(), users[1]); err != nil {
				t.Fatal(err)
			}
			if _, err := other.say(text(users[0], "m4", "again")); err != nil {
				t.Errorf("who is no longer blocked sends: %v", err)
			}
			own.untilMessages(3)
			other.untilMessages(3)
			if head := other.heartbeat(); head != 3 {
				t.Errorf("the head of who was blocked is %d", head)
			}
			if err := api.Block(t.Context(), "nobody"); codeOf(err) != im.NotFound {
				t.Errorf("a block of nobody: %v", err)
			}
		})
	}
}

// How a user sees a conversation reaches their other devices, shows in list, history
// and entries read later, and nobody else sees any of it.
func TestOnesOwnView(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			users := s.users(fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i))
			conversation := im.DirectConversation(users[0], users[1])
			tokens := s.tokens(users[1], "w", "web")
			web := s.api().WithToken(tokens.AccessToken)
			alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
			phone, _ := s.raw(t, transport.websocket, transport.form, authOf(s.tokens(users[1], "p", "ios"), "p", "ios"))
			sayMany(t, alice, users[1], 0, 6)
			phone.untilMessages(6)
			ids := map[int64]int64{}
			for _, m := range phone.messages() {
				ids[m.GetConversationSeq()] = m.GetMessageId()
			}
			stranger := s.api().WithToken(s.tokens(users[2], "w", "web").AccessToken)
			for what, err := range map[string]error{
				"deletes": stranger.DeleteMessages(t.Context(), ids[1]), "deletes many": stranger.DeleteMessages(t.Context(), ids[1], ids[2]),
				"mutes": stranger.ChangeView(t.Context(), conversation, client.ViewChanges{Muted: of(true)}),
			} {
				if codeOf(err) != im.NotFound {
					t.Errorf("a stranger %s: %v", what, err)
				}
			}
			if err := web.DeleteMessages(t.Context(), ids[1], 5); codeOf(err) != im.NotFound {
				t.Errorf("one of two is not there: %v", err)
			}
			for _, err := range []error{
				web.ChangeView(t.Context(), conversation, client.ViewChanges{Muted: of(true), Pinned: of(true), Unread: of(true)}),
				web.ChangeView(t.Context(), conversation, client.ViewChanges{Pinned: of(false), ClearedUpto: of(int64(2))}),
				web.DeleteMessages(t.Context(), ids[6]), web.DeleteMessages(t.Context(), ids[4], ids[6]),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			phone.until("what was done on the web", func() bool { return len(phone.entries) == 11 })
			var kinds []string
			for _, e := range phone.entries[6:] {
				kinds = append(kinds, e.GetKind())
			}
			if want := []string{"conversation", "conversation", "deleted", "deleted", "deleted"}; !slices.Equal(kinds, want) {
				t.Errorf("entries %v, want %v", kinds, want)
			}
			page, err := web.Conversations(t.Context(), client.ConversationQuery{})
			if err != nil || len(page.Conversations) != 1 {
				t.Fatalf("conversations: %+v (%v)", page, err)
			}
			c := page.Conversations[0]
			if c.Unread != 2 || !c.Muted || c.Pinned || !c.MarkedUnread || c.ClearedUpto != 2 || c.LastMessage.GetConversationSeq() != 5 {
				t.Errorf("conversation %+v", c)
			}
			history, more, err := web.History(t.Context(), conversation, client.HistoryQuery{})
			if err != nil || more || len(history) != 2 || history[0].GetMessageId() != ids[3] || history[1].GetMessageId() != ids[5] {
				t.Errorf("history %v, %v (%v)", history, more, err)
			}
			inbox, err := web.Inbox(t.Context(), client.InboxQuery{After: of(int64(0)), Limit: 200})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range inbox.GetEntries() {
				if m := e.GetMessage(); m != nil {
					gone := slices.Contains([]int64{1, 2, 4, 6}, m.GetConversationSeq())
					if m.GetDeleted() != gone || (m.GetContent() == nil) != gone || m.GetMessageId() != ids[m.GetConversationSeq()] {
						t.Errorf("entry %v", e)
					}
				}
			}
			if history, _, err := alice.historyOf(s, users[0], conversation); err != nil || len(history) != 6 {
				t.Errorf("the other one's history: %d messages (%v)", len(history), err)
			}
			if head := alice.heartbeat(); head != 6 {
				t.Errorf("the other one's head is %d", head)
			}
		})
	}
}

// historyOf reads a conversation as its user sees it.
func (r *raw) historyOf(s *server, user, conversation string) ([]*imv1.Message, bool, error) {
	return s.api().WithToken(s.tokens(user, "h", "desktop").AccessToken).History(r.t.Context(), conversation, client.HistoryQuery{})
}

// What users have said of themselves and of others is there after a kill.
func TestOnesOwnSurvivesAKill(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	users := s.users("ann", "bob")
	apis := func() (ann, bob *client.API) {
		return s.api().WithToken(s.tokens(users[0], "w", "web").AccessToken), s.api().WithToken(s.tokens(users[1], "w", "web").AccessToken)
	}
	ann, bob := apis()
	ack, err := bob.SendMessage(t.Context(), text(users[0], "m1", "hi"))
	for _, err := range []error{
		err, ann.ChangeProfile(t.Context(), client.ProfileChanges{Nickname: of("Ann"), Bio: of("hello")}),
		ann.DeleteMessages(t.Context(), ack.MessageID), ann.ChangeView(t.Context(), ack.ConversationID, client.ViewChanges{Hidden: of(true)}),
		bob.AskContact(t.Context(), users[0], "hi"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asked, _ := s.phone(t, s.tokens(users[0], "p", "ios"), "p")
	asked.until("the request", func() bool { return len(asked.contacts()) == 1 }) // a block would keep it from being shown
	if err := ann.Block(t.Context(), users[1]); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.startProcess()
	ann, bob = apis()
	page, err := ann.Conversations(t.Context(), client.ConversationQuery{})
	if err != nil || len(page.Conversations) != 1 || !page.Conversations[0].Hidden || page.Conversations[0].LastMessage != nil {
		t.Errorf("conversations %+v (%v)", page, err)
	}
	if user, err := bob.User(t.Context(), users[0]); err != nil || user.Nickname != "Ann" || user.Bio != "hello" {
		t.Errorf("profile %+v (%v)", user, err)
	}
	if _, err := bob.SendMessage(t.Context(), text(users[0], "m2", "there?")); codeOf(err) != im.Forbidden {
		t.Errorf("who is blocked sends: %v", err)
	}
	conn, _ := s.phone(t, s.tokens(users[0], "p", "ios"), "p")
	conn.until("the request and the block", func() bool { return len(conn.contacts()) == 2 })
	conn.contiguous(0)
}

// Accounts change their passwords, are disabled and deleted: what was signed in is
// disconnected at once as revoked, on either transport, and its tokens are refused.
func TestAccountsEndTheirSessions(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprint("ann", i)
			id, err := s.api().Register(t.Context(), name, "password 1", "")
			if err != nil {
				t.Fatal(err)
			}
			login := func(password, device, platform string) (*raw, *client.API) {
				t.Helper()
				tokens, err := s.api().Login(t.Context(), name, password, device, platform)
				if err != nil {
					t.Fatal(err)
				}
				conn, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, device, platform))
				return conn, s.api().WithToken(tokens.AccessToken)
			}
			web, api := login("password 1", "w", "web")
			phone, phoneAPI := login("password 1", "p", "ios")
			if err := api.ChangePassword(t.Context(), "another", "password 2"); codeOf(err) != im.Forbidden {
				t.Errorf("with a wrong old password: %v", err)
			}
			web.heartbeat()
			phone.heartbeat()
			if err := api.ChangePassword(t.Context(), "password 1", "password 2"); err != nil {
				t.Fatal(err)
			}
			phone.endsWith(im.Revoked)
			web.heartbeat()
			if _, err := phoneAPI.User(t.Context(), id); codeOf(err) != im.Unauthenticated {
				t.Errorf("the token of a device that was signed out: %v", err)
			}
			if _, err := s.api().Login(t.Context(), name, "password 1", "p", "ios"); codeOf(err) != im.Unauthenticated {
				t.Errorf("with the old password: %v", err)
			}
			phone, _ = login("password 2", "p", "ios")

			if err := api.DisableUser(t.Context(), id, true); codeOf(err) != im.Unauthenticated {
				t.Errorf("a user disables: %v", err)
			}
			if err := s.service().DisableUser(t.Context(), id, true); err != nil {
				t.Fatal(err)
			}
			web.endsWith(im.Revoked)
			phone.endsWith(im.Revoked)
			if _, err := s.api().Login(t.Context(), name, "password 2", "p", "ios"); codeOf(err) != im.Forbidden {
				t.Errorf("who is disabled logs in: %v", err)
			}
			if err := s.service().DisableUser(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			web, api = login("password 2", "w", "web")
			heir := s.users(fmt.Sprint("heir", i))[0]
			group, _, err := api.CreateGroup(t.Context(), "inherited", heir)
			if err != nil {
				t.Fatal(err)
			}
			if err := api.DeleteAccount(t.Context()); err != nil {
				t.Fatal(err)
			}
			if now, err := s.api().WithToken(s.tokens(heir, "h", "web").AccessToken).Group(t.Context(), group); err != nil || now.OwnerID != heir || now.Members != 1 {
				t.Errorf("the group of who is gone: %+v, %v", now, err)
			}
			web.endsWith(im.Revoked)
			if _, err := api.User(t.Context(), id); codeOf(err) != im.Unauthenticated {
				t.Errorf("the token of who is gone: %v", err)
			}
			if _, err := s.api().Login(t.Context(), name, "password 2", "w", "web"); codeOf(err) != im.Unauthenticated {
				t.Errorf("who is gone logs in: %v", err)
			}
			if _, err := s.api().Register(t.Context(), name, "password 3", ""); codeOf(err) != im.Conflict {
				t.Errorf("the name of who is gone: %v", err)
			}
		})
	}
}
