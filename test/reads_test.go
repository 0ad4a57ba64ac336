package test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// receipt returns the newest receipt of a kind among entries.
func (r *raw) receipt(kind, userID string) *imv1.Receipt {
	for _, e := range slices.Backward(r.entries) {
		if of := e.GetReceipt(); of.GetKind() == kind && of.GetUserId() == userID {
			return of
		}
	}
	return nil
}

func (r *raw) untilReceipt(kind, userID string, upto int64) {
	r.t.Helper()
	r.until(fmt.Sprint("receipt ", kind, " up to ", upto), func() bool { return r.receipt(kind, userID).GetUpto() == upto })
}

// unread is what the conversation list says of a user's one conversation.
func unread(t *testing.T, web *client.API) (int, int64) {
	t.Helper()
	page, err := web.Conversations(t.Context(), client.ConversationQuery{})
	if err != nil || len(page.Conversations) != 1 {
		t.Fatalf("conversations: %+v, %v", page, err)
	}
	return page.Conversations[0].Unread, page.Conversations[0].ReadUpto
}

// hasRead are the conversation seqs of messages that the inbox shows as read.
func hasRead(t *testing.T, web *client.API) []int64 {
	t.Helper()
	from := int64(0)
	page, err := web.Inbox(t.Context(), client.InboxQuery{After: &from, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	for _, e := range page.GetEntries() {
		if e.GetHasRead() {
			seqs = append(seqs, e.GetMessage().GetConversationSeq())
		}
	}
	return seqs
}

// Reading moves one mark, which all of the reader's devices and, in a direct chat,
// the other side learn of; over either transport and over HTTP.
func TestReadingAndReceipts(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			users := s.users(fmt.Sprint("a", i), fmt.Sprint("b", i))
			alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
			tokens := s.tokens(users[1], "b", "web")
			bob, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "b", "web"))
			tablet, _ := s.raw(t, false, wire.Proto, authOf(s.tokens(users[1], "t", "tablet"), "t", "tablet"))
			web := s.api().WithToken(tokens.AccessToken)
			conversation := im.DirectConversation(users[0], users[1])
			sayMany(t, alice, users[1], 0, 5)
			bob.untilMessages(5)
			if n, upto := unread(t, web); n != 5 || upto != 0 {
				t.Errorf("before reading: %d unread, read up to %d", n, upto)
			}
			if alice.receipt("delivered", users[1]) != nil {
				t.Error("a delivered receipt before the first ack")
			}
			bob.ack(bob.last())
			alice.untilReceipt("delivered", users[1], 5)

			read := func(upto, want int64, left int32) {
				t.Helper()
				var reply imv1.ReadReply
				bob.call(wire.OpRead, &imv1.Read{ConversationId: conversation, Upto: upto}, wire.OpReadReply, &reply)
				if reply.GetConversationId() != conversation || reply.GetUpto() != want || reply.GetUnread() != left {
					t.Errorf("read up to %d: %v, want %d with %d unread", upto, &reply, want, left)
				}
			}
			read(3, 3, 2)
			alice.untilReceipt("read", users[1], 3)
			bob.untilReceipt("read", users[1], 3)
			tablet.untilReceipt("read", users[1], 3)
			read(2, 3, 2)
			if n, upto := unread(t, web); n != 2 || upto != 3 {
				t.Errorf("%d unread, read up to %d", n, upto)
			}
			if got := hasRead(t, web); !slices.Equal(got, []int64{1, 2, 3}) {
				t.Errorf("has_read of %v", got)
			}
			marks, err := s.api().WithToken(tokens.AccessToken).Reads(t.Context(), conversation)
			if err != nil || !slices.Contains(marks, client.ReadMark{UserID: users[1], Upto: 3}) {
				t.Errorf("reads: %v, %v", marks, err)
			}

			// By HTTP, and above the head.
			reply, err := web.ReadConversation(t.Context(), conversation, 4)
			if err != nil || reply.GetUpto() != 4 || reply.GetUnread() != 1 {
				t.Errorf("read by HTTP: %v, %v", reply, err)
			}
			read(1000, 5, 0)
			alice.untilReceipt("read", users[1], 5)
			tablet.untilReceipt("read", users[1], 5)
			if got := hasRead(t, web); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
				t.Errorf("has_read of %v", got)
			}
			err = bob.request(wire.OpRead, &imv1.Read{ConversationId: im.DirectConversation("x", "y"), Upto: 1}, wire.OpReadReply, &imv1.ReadReply{})
			if codeOf(err) != im.NotFound {
				t.Errorf("read of a conversation that is not ours: %v", err)
			}
			alice.contiguous(0)
			bob.contiguous(0)
			tablet.contiguous(0)
		})
	}
}

// Marks and receipts are there after a kill.
func TestReadsSurviveAKill(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	users := s.users("alice", "bob")
	alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	tokens := s.tokens(users[1], "b", "ios")
	web := s.api().WithToken(tokens.AccessToken)
	bob, _ := s.phone(t, tokens, "b")
	sayMany(t, alice, users[1], 0, 5)
	bob.untilMessages(5)
	page, err := web.Inbox(t.Context(), client.InboxQuery{})
	if err != nil || len(page.GetEntries()) != 5 {
		t.Fatalf("inbox: %v, %v", page, err)
	}
	if _, err := web.AckInbox(t.Context(), 5, page.GetInboxEpoch()); err != nil {
		t.Fatal(err)
	}
	if _, err := web.ReadConversation(t.Context(), im.DirectConversation(users[0], users[1]), 4); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.startProcess()
	web = s.api().WithToken(tokens.AccessToken)
	if n, upto := unread(t, web); n != 1 || upto != 4 {
		t.Errorf("%d unread, read up to %d", n, upto)
	}
	alice, _ = s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	alice.until("both receipts", func() bool {
		return alice.receipt("read", users[1]).GetUpto() == 4 && alice.receipt("delivered", users[1]).GetUpto() == 5
	})
	alice.contiguous(0)
	if _, reply := s.phone(t, tokens, "b"); reply.GetResumeFrom() != 5 {
		t.Errorf("resumes from %d, want 5", reply.GetResumeFrom())
	}
}

// An ack by HTTP counts for the next session at once.
func TestAcknowledgingByHTTP(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.window": "5"})
	users := s.users("alice", "bob")
	alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	tokens := s.tokens(users[1], "b", "ios")
	web := s.api().WithToken(tokens.AccessToken)
	sayMany(t, alice, users[1], 0, 20)
	for arrived := int64(0); arrived < 20; { // a send is acknowledged before it has arrived
		bob, reply := s.phone(t, tokens, "b")
		arrived = reply.GetHead()
		bob.conn.Close()
	}
	for seq := int64(3); seq <= 9; seq += 3 {
		if got, err := web.AckInbox(t.Context(), seq, ""); got != seq || err != nil {
			t.Fatalf("ack: %d, %v", got, err)
		}
		page, err := web.Inbox(t.Context(), client.InboxQuery{Limit: 1})
		if err != nil || len(page.GetEntries()) != 1 || page.GetEntries()[0].GetSeq() != seq+1 {
			t.Errorf("the page behind the cursor: %v, %v", page, err)
		}
		bob, reply := s.phone(t, tokens, "b")
		if reply.GetResumeFrom() != seq {
			t.Errorf("resumes from %d, want %d", reply.GetResumeFrom(), seq)
		}
		bob.untilMessages(5)
		bob.contiguous(seq)
		bob.conn.Close()
	}
	if _, err := web.AckInbox(t.Context(), 21, ""); codeOf(err) != im.Invalid {
		t.Errorf("ack above the head: %v", err)
	}
}

// An ack by HTTP opens the window of a live session.
func TestAnAckByHTTPOpensTheWindow(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.window": "5"})
	users := s.users("alice", "bob")
	alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	tokens := s.tokens(users[1], "b", "ios")
	sayMany(t, alice, users[1], 0, 20)
	bob, _ := s.phone(t, tokens, "b")
	bob.untilMessages(5)
	bob.heartbeat() // the window is full: nothing more comes before the answer
	if n := len(bob.entries); n != 5 {
		t.Errorf("%d entries are out, the window is 5", n)
	}
	if _, err := s.api().WithToken(tokens.AccessToken).AckInbox(t.Context(), 3, ""); err != nil {
		t.Fatal(err)
	}
	for range 300 { // at the latest a heartbeat tells the session
		if bob.heartbeat(); len(bob.entries) >= 8 {
			break
		}
	}
	if n := len(bob.messages()); n != 8 {
		t.Errorf("%d entries are out, 3 are acknowledged and the window is 5", n)
	}
	bob.contiguous(0)
}
