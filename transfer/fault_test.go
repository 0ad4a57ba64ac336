package transfer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// chaos lets about every third write of messages, inboxes and terms go wrong in
// one of the ways given, by a seed.
func chaos(seed uint64, faults ...storetest.Fault) storetest.Plan { return oneIn(3, seed, faults) }

// oneIn is chaos in one of n writes.
func oneIn(n int, seed uint64, faults []storetest.Fault) storetest.Plan {
	random := rand.New(rand.NewPCG(seed, seed))
	return storetest.PlanFunc(func(write string, call int) storetest.Fault {
		if random.IntN(n) > 0 || write == "InsertTerm" && call <= 4 {
			return storetest.None
		}
		return faults[random.IntN(len(faults))]
	})
}

func TestNothingIsLostDoubledOrReorderedByAFaultyStore(t *testing.T) {
	for name, c := range map[string]struct {
		faults []storetest.Fault
		bare   bool // as the distributed stores: no outbox, no transactions
	}{
		"a store with an outbox": {faults: []storetest.Fault{
			storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost,
		}},
		"a store without": {bare: true, faults: []storetest.Fault{
			storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost, storetest.UnknownHalf,
		}},
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				w := start(t, func(_ *transfer.Config, w *world) {
					if c.bare {
						w.store = storetest.WithoutOutbox(w.db)
					}
					w.store = storetest.Faulty(w.store, chaos(seed, c.faults...))
				})
				sendThroughChaos(t, w)
			})
		}
	}
}

// sendThroughChaos lets three users send to each other, each message twice, and
// checks every inbox.
func sendThroughChaos(t *testing.T, w *world) {
	const messages = 40
	users := []string{"alice", "bob", "carol"}
	w.users(users...)
	g := w.gate()
	type sent struct{ from, to, id string }
	requests := map[uint64]sent{}
	for i := range messages {
		for n, from := range users {
			s := sent{from, users[(n+1)%3], fmt.Sprint(i)}
			after := ""
			if i > 0 {
				after = fmt.Sprint(i - 1)
			}
			for range 2 {
				requests[g.post(from, text(s.to, s.id, after, s.from+" "+s.id))] = s
			}
		}
	}
	acked := map[sent]*imv1.SendAck{}
	for range 2 * messages * len(users) {
		r := recv(t, g.replies)
		ack, s := r.GetSendAck(), requests[r.Request]
		if ack == nil {
			t.Fatalf("%v was refused: %v", s, r)
		}
		if first := acked[s]; first != nil && (first.MessageId != ack.MessageId || first.ConversationSeq != ack.ConversationSeq) {
			t.Errorf("%v was acknowledged as %v and as %v", s, first, ack)
		}
		acked[s] = ack
	}
	for _, user := range users {
		inspect(t, w, g, user, 2*messages)
	}
}

// inspect waits until an inbox holds want messages and checks its order.
func inspect(t *testing.T, w *world, g *gate, user string, want int) {
	t.Helper()
	g.attach(uint64(len(user)), user, "d1")
	seen := map[string]int64{}
	last := map[string]int64{}
	for seq := int64(0); len(seen) < want; {
		page, err := imv1.NewTransferClient(w.conn).Pull(context.Background(), &imv1.PullRequest{UserId: user, After: &seq, Limit: 200})
		must(t, err)
		if page.Error != nil || page.TooLong {
			t.Fatalf("page of %s after %d: %v", user, seq, page)
		}
		for _, encoded := range page.Entries {
			entry := &imv1.Entry{}
			must(t, entry.UnmarshalVT(encoded))
			m := entry.Message
			key := m.ConversationId + m.Content.Text
			if entry.Seq != seq+1 || seen[key] != 0 || m.ConversationSeq != last[m.ConversationId]+1 {
				t.Fatalf("inbox of %s after %d: %v (seen at %d)", user, seq, entry, seen[key])
			}
			seq, seen[key], last[m.ConversationId] = entry.Seq, entry.Seq, m.ConversationSeq
		}
		if len(page.Entries) == 0 {
			recv(t, g.pushes) // the rest is still on its way
		}
	}
}

func TestTwoOwnersOfOnePartitionDoNotHarm(t *testing.T) {
	w := start(t, func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	w.users("alice", "bob")
	g := w.gate()
	g.send("alice", text("bob", "m1", "", "one"))
	// Another owner takes every conversation partition and puts an event where ours
	// would go next.
	conversation := im.DirectConversation("alice", "bob")
	must(t, w.db.InsertEvents(context.Background(), []im.Event{{
		ID: 1, ConversationID: conversation, Seq: 2, Kind: im.KindMessage, SenderID: "bob", DeviceID: "d1", ClientID: "x", AtMs: 1,
	}}, nil))
	if ack := g.send("alice", text("bob", "m2", "m1", "two")).GetSendAck(); ack.GetConversationSeq() != 3 {
		t.Errorf("ack = %v, want seq 3 behind the other owner's event", ack)
	}
}

func TestAnOwnerThatWasOvertakenStandsDown(t *testing.T) {
	w := start(t, func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "bob", "d1")
	g.send("alice", text("bob", "m1", "", "one"))
	recv(t, g.pushes)
	// Another owner has put a block where ours would go next.
	must(t, w.db.CommitInbox(context.Background(), &im.InboxCommit{Blocks: []im.Block{{
		UserID: "bob", FirstSeq: 2, AtMs: 1, Entries: []im.InboxEntry{{
			EventID: im.EventIDOf(7), Kind: im.KindMessage, MessageID: 7, ConversationID: "elsewhere", ConversationSeq: 1,
		}},
	}}}))
	g.send("alice", text("bob", "m2", "m1", "two"))
	for o := recv(t, g.owned); !o.Released; o = recv(t, g.owned) {
	}
	if o := recv(t, g.owned); o.Released || o.Term < 2 {
		t.Fatalf("ownership = %v, want the partition taken anew with a higher term", o)
	}
	var head int64
	for head < 3 {
		head = max(head, g.attach(1, "bob", "d1").Head)
	}
	if head != 3 {
		t.Errorf("head = %d, want our entry at 3 behind the other owner's", head)
	}
}

func TestReceiptsSurviveAFaultyStore(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(_ *transfer.Config, w *world) {
				if bare {
					w.store = storetest.WithoutOutbox(w.db)
				}
				w.store = storetest.Faulty(w.store, chaos(7, storetest.Refused, storetest.UnknownDone, storetest.UnknownLost))
			})
			w.users("alice", "bob")
			g := w.gate()
			g.attach(1, "alice", "d1")
			g.attach(2, "bob", "d1")
			conversation := im.DirectConversation("alice", "bob")
			want, got := map[string]int{}, map[string]int{}
			for i := range int64(8) {
				g.send("alice", text("bob", fmt.Sprint(i), "", "hello"))
				// What bob has is acked and read before the next one is sent.
				for {
					p := recv(t, g.pushes)
					count(got, p)
					if p.session == 2 && p.entry.Kind == "message" {
						g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 2, UserId: "bob", DeviceId: "d1", Seq: p.entry.Seq}}})
						break
					}
				}
				if r := g.read1("bob", conversation, i+1).GetReadReply(); r.GetUpto() != i+1 {
					t.Fatalf("read_reply = %v", r)
				}
			}
			// Coalesced or not, the last marks come, none twice.
			want["1 read 8"], want["2 read 8"], want["1 delivered 8"] = 1, 1, 1
			for got["1 read 8"]+got["2 read 8"]+got["1 delivered 8"] < 3 {
				count(got, recv(t, g.pushes))
			}
			for key, n := range got {
				if n > 1 {
					t.Errorf("%s came %d times", key, n)
				}
			}
			for key := range want {
				if got[key] != 1 {
					t.Errorf("%s came %d times", key, got[key])
				}
			}
		})
	}
}

// count notes a receipt as "session kind upto".
func count(got map[string]int, p pushed) {
	if r := p.entry.Receipt; r != nil {
		got[fmt.Sprint(p.session, " ", r.Kind, " ", r.Upto)]++
	}
}

func TestAnEnvelopeThatCanNotBeDecodedHoldsNothingUp(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "bob", "d1")
	q := im.Partition("bob", 2)
	empty, err := (&imv1.InboxPack{Envelopes: []*imv1.InboxEnvelope{{UserIds: []string{"bob"}}}}).MarshalVT()
	must(t, err)
	for _, poison := range [][]byte{empty, []byte("no pack")} {
		w.queue.Publish(transfer.TopicInbox, q, []im.Pack{{Partition: q, Body: poison}}, func(err error) { must(t, err) })
	}
	p := im.Partition(im.DirectConversation("alice", "bob"), 2)
	w.queue.Publish(transfer.TopicConversation, p, []im.Pack{{Partition: p, Body: []byte("no pack")}}, func(err error) { must(t, err) })
	g.send("alice", text("bob", "m1", "", "behind the poison"))
	if p := recv(t, g.pushes); p.entry.Seq != 1 || p.entry.Message.GetContent().GetText() != "behind the poison" {
		t.Errorf("push = %v", p)
	}
}

func TestHalfAndUnknownCommitsInARowEnd(t *testing.T) {
	w := start(t, func(_ *transfer.Config, w *world) {
		w.store = storetest.Faulty(storetest.WithoutOutbox(w.db), storetest.Script{"CommitInbox": {
			storetest.UnknownHalf, storetest.UnknownDone, storetest.UnknownHalf, storetest.UnknownDone, storetest.UnknownLost,
		}})
	})
	// Two users of one inbox partition, so that one commit holds two blocks.
	users := []string{"alice"}
	for i := 0; len(users) < 2; i++ {
		if id := fmt.Sprint("bob", i); im.Partition(id, 2) == im.Partition("alice", 2) {
			users = append(users, id)
		}
	}
	w.users(users...)
	g := w.gate()
	for i := range 3 {
		g.send(users[0], text(users[1], fmt.Sprint(i), "", users[0]+fmt.Sprint(i)))
	}
	for _, user := range users {
		inspect(t, w, g, user, 3)
	}
}

// held lets the next insert of messages wait.
type held struct {
	transfer.Store
	began, end chan struct{}
}

func (h *held) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	close(h.began)
	<-h.end
	return h.Store.InsertEvents(ctx, events, packs)
}

func TestTheBatchInHandIsAnsweredAtAStop(t *testing.T) {
	h := &held{began: make(chan struct{}), end: make(chan struct{})}
	w := start(t, func(_ *transfer.Config, w *world) { h.Store, w.store = w.store, h })
	w.users("alice", "bob")
	g := w.gate()
	g.post("alice", text("bob", "m1", "", "in hand"))
	<-h.began
	stopped := make(chan error, 1)
	go func() { stopped <- w.server.Stop(context.Background()) }()
	for o := recv(t, g.owned); !o.Released; o = recv(t, g.owned) { // it has begun to stop
	}
	close(h.end)
	if ack := recv(t, g.replies).GetSendAck(); ack.GetConversationSeq() != 1 {
		t.Errorf("ack = %v", ack)
	}
	must(t, <-stopped)
}

// A repeat whose first owner may have died goes to the inboxes again, where it is
// known; not one that may have left them.
func TestARepeatIsFannedOutAgainUnlessItIsOld(t *testing.T) {
	for retention, again := range map[time.Duration]bool{0: true, time.Hour: true, 2 * time.Millisecond: false} {
		var inboxes atomic.Int64
		options := func(c *transfer.Config, w *world) {
			c.Retention = retention
			w.store = storetest.WithoutOutbox(w.db)
			w.queue = queuetest.NewFaulty(w.queue, func(topic string, _ int, _ []im.Pack) queuetest.Fate {
				if topic == transfer.TopicInbox {
					inboxes.Add(1)
				}
				return queuetest.Deliver
			})
		}
		w := start(t, options)
		w.users("alice")
		first := w.gate().send("alice", text("alice", "m1", "", "note")).GetSendAck()
		eventually(t, "it is old", func() bool { return time.Now().UnixMilli() > first.SentAtMs+2 })
		w.restart(options)
		inboxes.Store(0)
		ack := w.gate().send("alice", text("alice", "m1", "", "note")).GetSendAck()
		if !ack.GetDuplicate() || ack.MessageId != first.MessageId {
			t.Errorf("retention %v: ack = %v", retention, ack)
		}
		if fanned := inboxes.Load() > 0; fanned != again {
			t.Errorf("retention %v: fanned out again = %t", retention, fanned)
		}
	}
}

// A driver that carries several items as one gives acknowledged ones again beside
// those that were not, whenever a consumer goes: nothing counts twice by that.
func TestNeighboursThatComeAgainCountOnce(t *testing.T) {
	var published atomic.Int64
	w := start(t, func(_ *transfer.Config, w *world) {
		w.store = storetest.WithoutOutbox(w.db)
		var faulty *queuetest.Faulty
		faulty = queuetest.NewFaulty(w.queue, func(topic string, partition int, _ []im.Pack) queuetest.Fate {
			if published.Add(1)%29 == 0 {
				if err := faulty.Break(topic, partition); err != nil {
					t.Error(err)
				}
			}
			return queuetest.Deliver
		})
		faulty.Carry(5)
		w.queue = faulty
	})
	sendThroughChaos(t, w)
	if published.Load() < 2*29 {
		t.Errorf("only %d publishes: no consumer was broken twice", published.Load())
	}
}
