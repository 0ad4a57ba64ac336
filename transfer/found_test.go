package transfer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// What a review of the code found, each as it was found.

// together publishes requests in one frame, so that they come into one batch, and returns
// the replies in their order.
func (g *gate) together(publishes ...*imv1.Publish) []*imv1.Reply {
	g.t.Helper()
	at := map[uint64]int{}
	for i, p := range publishes {
		p.Session, p.Request, p.DeviceId = uint64(i+1), g.request.Add(1), "d1"
		at[p.Request] = i
	}
	g.up(&imv1.ToTransfer{Publishes: publishes})
	replies := make([]*imv1.Reply, len(publishes))
	for range publishes {
		reply := recv(g.t, g.replies)
		replies[at[reply.Request]] = reply
	}
	return replies
}

func bytesOf(t *testing.T, m interface{ MarshalVT() ([]byte, error) }) []byte {
	t.Helper()
	encoded, err := m.MarshalVT()
	must(t, err)
	return encoded
}

// A request that names a message of another conversation, for which there is none, takes
// it from nobody else in the batch.
func TestAMessageIsNamedByWhomItIsFor(t *testing.T) {
	w := start(t)
	cy := "cy"
	for n := 0; im.Partition(im.DirectConversation("ann", "bob"), 2) != im.Partition(im.DirectConversation("ann", cy), 2); n++ {
		cy = fmt.Sprint("cy", n)
	}
	w.users("ann", "bob", cy)
	g := w.gate()
	m := g.send("ann", text("bob", "m1", "", "x")).GetSendAck()
	strange := text("ann", "c1", "", "y")
	strange.Content.ReplyTo = m.MessageId
	replies := g.together(
		&imv1.Publish{UserId: cy, What: &imv1.Publish_Send{Send: bytesOf(t, strange)}},
		&imv1.Publish{UserId: "ann", What: &imv1.Publish_MessageChange{MessageChange: bytesOf(t, recallOf(m))}, StampClientId: true},
	)
	if code(replies[0]) != string(im.NotFound) || replies[1].GetSendAck() == nil {
		t.Errorf("who names what is not there: %v; who recalls it: %v", replies[0], replies[1])
	}
}

// A repeat of an edit counts once for the edit behind it.
func TestAnEditBehindARepeat(t *testing.T) {
	bothKinds(t, func(t *testing.T, on option) {
		w := start(t, on)
		w.users("ann", "bob")
		g := w.gate()
		m := g.send("ann", text("bob", "m1", "", "x")).GetSendAck()
		first, second := editOf(m, "one", 0), editOf(m, "two", 2)
		first.ClientId, second.ClientId = "K1", "K2"
		g.alter("ann", first)
		w.restart(on) // nobody remembers K1
		for i, reply := range w.gate().together(
			&imv1.Publish{UserId: "ann", What: &imv1.Publish_MessageChange{MessageChange: bytesOf(t, first)}},
			&imv1.Publish{UserId: "ann", What: &imv1.Publish_MessageChange{MessageChange: bytesOf(t, second)}},
		) {
			if reply.GetSendAck() == nil {
				t.Errorf("edit %d: %v", i+1, reply)
			}
		}
		states, err := w.db.MessageStates(context.Background(), []im.MessageRef{{ConversationID: m.ConversationId, ID: m.MessageId}})
		if must(t, err); states[0].Version != 3 {
			t.Errorf("version %d, want 3", states[0].Version)
		}
	})
}

// areContacts reports whether both have it so.
func (w *world) areContacts(a, b string) func() bool {
	return func() bool {
		one, other := w.relation(a, b), w.relation(b, a)
		return one.Contact() && other.Contact()
	}
}

// Who was asked during a block is asked still when it is over, and both come to the same.
func TestARequestDuringABlock(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		g.block("bob", "ann", true)
		eventually(t, "the block", func() bool { return w.relation("bob", "ann").Blocked.On() })
		g.contact("ann", "bob", "request", "hi")
		eventually(t, "the request", func() bool { return w.relation("bob", "ann").Theirs.On() })
		if lines := w.lines("bob"); len(lines) != 1 {
			t.Errorf("who blocks is told %v", lines)
		}
		g.block("bob", "ann", false)
		eventually(t, "the end of the block", func() bool { return !w.relation("bob", "ann").Blocked.On() })
		if got := g.contact("bob", "ann", "request", "hi too"); got != "" {
			t.Errorf("bob asks: %s", got)
		}
		eventually(t, "both being contacts", w.areContacts("ann", "bob"))
	})
}

// withheld keeps from the queue what users tell each other, from a moment on: their
// process dies before.
type withheld struct {
	transfer.Queue
	on atomic.Bool
}

func (q *withheld) Publish(topic string, partition int, items []im.Pack, confirmed func(error)) {
	pack := &imv1.InboxPack{}
	if q.on.Load() && topic == transfer.TopicInbox && pack.UnmarshalVT(items[0].Body) == nil && pack.Envelopes[0].GetContact() != nil {
		return
	}
	q.Queue.Publish(topic, partition, items, confirmed)
}

// A contact is removed and asked again, and whoever did that dies before the first is told:
// the other one learns both.
func TestARemovalThatWasNotTold(t *testing.T) {
	var q *withheld
	on := func(_ *transfer.Config, w *world) {
		q = &withheld{Queue: w.queue}
		w.queue, w.store = q, storetest.WithoutOutbox(w.db)
	}
	w := start(t, on)
	w.users("ann", "bob")
	g := w.gate()
	g.contact("ann", "bob", "request", "")
	eventually(t, "the request", func() bool { return w.relation("bob", "ann").Theirs.On() })
	g.contact("bob", "ann", "accept", "")
	eventually(t, "both being contacts", w.areContacts("ann", "bob"))
	q.on.Store(true)
	if a, b := g.contact("ann", "bob", "remove", ""), g.contact("ann", "bob", "request", "again"); a+b != "" {
		t.Fatal(a, b)
	}
	w.restart(on)
	g = w.gate()
	eventually(t, "being told", func() bool {
		r := w.relation("bob", "ann")
		return r.Theirs.On() && !r.Mine.On()
	})
	if r := w.relation("ann", "bob"); r.Contact() {
		t.Errorf("ann has %+v", r)
	}
	g.contact("bob", "ann", "accept", "")
	eventually(t, "both being contacts again", w.areContacts("ann", "bob"))
}

// Outside groups nobody is mentioned who is not there.
func TestMentionsOfNobody(t *testing.T) {
	w := start(t)
	w.users("ann")
	g := w.gate()
	s := text("ann", "m1", "", "x")
	for i := range im.MaxMentions {
		s.Content.Mentions = append(s.Content.Mentions, fmt.Sprint("nobody-", i))
	}
	if reply := g.send("ann", s); reply.GetSendAck() == nil {
		t.Fatal(reply)
	}
	ids, err := w.db.UsersAfter(context.Background(), "", 1000)
	if must(t, err); len(ids) != 1 {
		t.Errorf("%d users are known, of one", len(ids))
	}
}

// What makes the rows of a direct conversation, and says nothing, shows nobody.
func TestWhoHasNotTalkedIsNotSeen(t *testing.T) {
	w := start(t)
	w.users("ann", "bob", "cy")
	g := w.gate()
	sees := func(whom string) bool {
		r, err := w.server.Visible(context.Background(), &imv1.VisibleRequest{UserId: "ann", UserIds: []string{whom}})
		must(t, err)
		return len(r.UserIds) > 0
	}
	g.block("ann", "bob", false)
	g.block("ann", "bob", true)
	refused := text("cy", "m1", "", "x")
	refused.Content.ReplyTo = 1
	g.send("ann", refused)
	if sees("bob") || sees("cy") || !sees("ann") {
		t.Errorf("sees bob: %v, cy: %v, oneself: %v", sees("bob"), sees("cy"), sees("ann"))
	}
	g.send("cy", text("ann", "m1", "", "hello"))
	if !sees("cy") {
		t.Error("who has said something is not seen")
	}
}

// Another wish under the same client id is another command.
func TestTheSameIdForAnotherWish(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		c := g.send("bob", text("ann", "m1", "", "x")).GetSendAck().ConversationId
		for i, change := range []*imv1.OwnChange{
			viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true)}),
			viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(false)}),
			profileOf(&imv1.ProfileChange{Nickname: of("Annie")}),
			contactOf("bob", "request", ""),
			contactOf("bob", "request", ""), // a repeat
		} {
			if got := g.own("ann", "K", change); got != "" {
				t.Errorf("change %d: %s", i, got)
			}
		}
		marks, err := w.db.Marks(context.Background(), []im.ReadKey{{UserID: "ann", ConversationID: c}})
		must(t, err)
		users, err := w.db.UsersByID(context.Background(), []string{"ann"})
		must(t, err)
		if marks[0].Muted.On() || users[0].Nickname != "Annie" || !w.relation("ann", "bob").Mine.On() || len(w.lines("ann")) != 5 {
			t.Errorf("muted %v, nickname %q, relation %+v, told %v", marks[0].Muted.On(), users[0].Nickname, w.relation("ann", "bob"), w.lines("ann"))
		}
	})
}

// A repeat of what needed one of two entries undoes nothing that came after it.
func TestARepeatOfHalfAView(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		c := g.send("bob", text("ann", "m1", "", "x")).GetSendAck().ConversationId
		both := func() {
			g.own("ann", "K", viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true), ClearedUpto: 1}))
		}
		g.own("ann", "K0", viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true)}))
		both()
		g.own("ann", "K2", viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(false)}))
		both()
		marks, err := w.db.Marks(context.Background(), []im.ReadKey{{UserID: "ann", ConversationID: c}})
		if must(t, err); marks[0].Muted.On() {
			t.Error("muted again")
		}
	})
}

// Only messages are receipted as delivered.
func TestReactionsAreNotReceipted(t *testing.T) {
	w := start(t)
	w.users("ann", "bob")
	g := w.gate()
	g.attach(1, "ann", "d1")
	m := g.send("ann", text("bob", "m1", "", "x")).GetSendAck()
	g.alter("bob", reactionTo(m, "👍", false))
	eventually(t, "the reaction", func() bool { return len(w.inboxOf("ann")) == 2 })
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 1, UserId: "ann", DeviceId: "d1", Seq: 2}}})
	eventually(t, "the round of receipts", func() bool {
		cursors, err := w.db.Cursors(context.Background(), []string{"ann"})
		must(t, err)
		return len(cursors) == 1 && cursors[0].ReceiptedSeq == 2
	})
	g.send("ann", text("bob", "m2", "", "the last"))
	eventually(t, "the last", func() bool { return len(w.inboxOf("bob")) >= 3 })
	for _, e := range w.inboxOf("bob") {
		if e.Receipt != nil {
			t.Errorf("who has sent no message gets %v", e.Receipt)
		}
	}
}

// What a user has deleted, or cleared, is shown by its edits no more than by itself.
func TestEditsOfWhatIsDeleted(t *testing.T) {
	for name, hides := range map[string]func(c string) *imv1.OwnChange{
		"deleted": func(c string) *imv1.OwnChange { return deleteOf(c, 1) },
		"cleared": func(c string) *imv1.OwnChange { return viewOf(&imv1.ViewChange{ConversationId: c, ClearedUpto: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.users("ann", "bob")
			g := w.gate()
			m := g.send("ann", text("bob", "m1", "", "secret")).GetSendAck()
			g.alter("ann", editOf(m, "secret too", 0))
			eventually(t, "the edit", func() bool { return len(w.inboxOf("bob")) == 2 })
			g.own("bob", "K", hides(m.ConversationId))
			edits := 0
			for _, e := range w.inboxOf("bob") {
				if strings.Contains(e.String(), "secret") {
					t.Errorf("shown: %v", e)
				}
				if e.Edit != nil {
					edits++
				}
			}
			if edits != 1 {
				t.Errorf("%d edits", edits)
			}
			if entries := w.inboxOf("ann"); !strings.Contains(entries[1].String(), "secret too") {
				t.Errorf("the sender is shown %v", entries[1])
			}
		})
	}
}
