package transfer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// outage puts a store that can go away under a server; bare: one without outbox.
func outage(t *testing.T, bare bool, options ...option) (*world, *storetest.Outage) {
	t.Helper()
	var o *storetest.Outage
	w := start(t, append([]option{func(_ *transfer.Config, w *world) {
		if bare {
			w.store = storetest.WithoutOutbox(w.db)
		}
		o = storetest.NewOutage(w.store)
		w.store = o
	}}, options...)...)
	return w, o
}

func acked(session uint64, user string, seq int64) *imv1.Acked {
	return &imv1.Acked{Session: session, UserId: user, DeviceId: "d1", Seq: seq}
}

// inPartition returns n user ids of one inbox partition of two.
func inPartition(q, n int) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprint("user", i); im.Partition(id, 2) == q {
			ids = append(ids, id)
		}
	}
	return ids
}

// While the store is away a gateway's stream is read, whatever comes: users in
// memory are served, and the rest waits, each for itself.
func TestTheStreamGoesOnWhileTheStoreIsAway(t *testing.T) {
	w, store := outage(t, true)
	here, absent := inPartition(0, 3), inPartition(1, 300)
	w.users(append(here, absent...)...)
	g := w.gate()
	g.attach(1, here[0], "d1")
	g.attach(2, here[1], "d1")
	g.send(here[0], text(here[1], "m1", "", "before"))
	recv(t, g.pushes)
	recv(t, g.pushes)
	store.Away()
	// Far more than any channel holds concerns users who must be loaded first.
	for i, user := range absent {
		session := uint64(100 + i)
		g.up(&imv1.ToTransfer{
			Attaches: []*imv1.Attach{{Session: session, UserId: user, DeviceId: "d1", Platform: "web"}},
			Acks:     []*imv1.Acked{acked(session, user, 0)},
			Heads:    []*imv1.HeadRequest{{Session: session, UserId: user}},
		})
	}
	g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: 9, UserId: here[2], DeviceId: "d1", Platform: "web"}}})
	g.post(here[0], text(here[1], "m2", "m1", "during"))

	g.up(&imv1.ToTransfer{Heads: []*imv1.HeadRequest{{Session: 2, UserId: here[1]}}})
	if h := recv(t, g.heads); h.Session != 2 || h.Head != 1 {
		t.Errorf("head = %v, want 1", h)
	}
	ack := acked(2, here[1], 1)
	ack.Request = 7
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{ack}})
	if r := recv(t, g.replies); r.Request != 7 || r.GetAckReply().GetSeq() != 1 {
		t.Errorf("ack_reply = %v", r)
	}
	if a := g.attach(3, here[1], "d1"); a.Head != 1 || a.Acked != 1 {
		t.Errorf("attached = %v, want head 1, acked 1", a)
	}
	recv(t, g.kicks) // session 2 is superseded
	if c := code(g.send(here[0], text("nobody", "", "", "no id"))); c != "invalid" {
		t.Errorf("accept answers %q", c)
	}

	store.Back()
	waiting := map[uint64]bool{9: true}
	for i := range absent {
		waiting[uint64(100+i)] = true
	}
	for len(waiting) > 0 {
		delete(waiting, recv(t, g.attached).Session)
	}
	if r := recv(t, g.replies); r.GetSendAck().GetConversationSeq() != 2 {
		t.Errorf("the send of the outage: %v", r)
	}
	for seen := map[uint64]bool{}; !seen[1] || !seen[3]; { // by both who are attached
		if p := recv(t, g.pushes); p.entry.Message.GetContent().GetText() == "during" {
			seen[p.session] = true
		}
	}
}

// Who attaches while the user can not be loaded and entries wait is answered with a
// head, pulls what is at or below it, and is pushed everything above, once.
func TestAnAttachThatWaitedMissesNothing(t *testing.T) {
	for round := range 5 {
		w, store := outage(t, true)
		w.users("alice", "bob")
		g := w.gate()
		store.Away("Heads", "Cursors")
		const messages = 20
		for i := range messages {
			g.send("alice", text("bob", fmt.Sprint(i), "", fmt.Sprint(i)))
			if i == round*messages/5 {
				g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: 1, UserId: "bob", DeviceId: "d1", Platform: "web"}}})
			}
		}
		store.Back()
		for next := recv(t, g.attached).Head + 1; next <= messages; next++ {
			if p := recv(t, g.pushes); p.entry.Seq != next || p.entry.Message.Content.Text != fmt.Sprint(next-1) {
				t.Fatalf("pushed %v where %d is due", p.entry, next)
			}
		}
		w.stop()
	}
}

// Acks of an outage are late and none is lost: of a session's the highest is kept,
// those that want an answer get it, and one above the head is judged by the store.
func TestAcksWaitForTheStore(t *testing.T) {
	w, store := outage(t, true)
	w.users("alice", "bob")
	g := w.gate()
	const messages = 50
	for i := range messages {
		g.send("alice", text("bob", fmt.Sprint(i), "", "hello"))
	}
	eventually(t, "all are in the inbox", func() bool { return headOf(t, w, "bob") == messages })
	w.restart(func(_ *transfer.Config, w *world) {
		store = storetest.NewOutage(storetest.WithoutOutbox(w.db))
		w.store = store
	})
	g = w.gate()
	store.Away()
	for seq := range int64(messages - 9) {
		g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{acked(1, "bob", seq)}})
	}
	for request, seq := range map[uint64]int64{1: 20, 2: 45, 3: messages + 1} {
		ack := acked(8, "bob", seq)
		ack.Request, ack.Durable = request, true
		g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{ack}})
	}
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{acked(2, "bob", messages+7)}})
	store.Back()
	answers := map[uint64]*imv1.Reply{}
	for len(answers) < 3 {
		r := recv(t, g.replies)
		answers[r.Request] = r
	}
	if seq := answers[1].GetAckReply().GetSeq(); seq < messages-10 {
		t.Errorf("cursor in force = %d, want that of the session or higher", seq)
	}
	if seq := answers[2].GetAckReply().GetSeq(); seq != 45 {
		t.Errorf("cursor in force = %d, want 45", seq)
	}
	if c := code(answers[3]); c != "invalid" {
		t.Errorf("above the head: %v, want invalid", answers[3])
	}
	if k := recv(t, g.kicks); k.Session != 2 || k.Code != string(im.ProtocolError) {
		t.Errorf("above the head: %v", k)
	}
	if rows, err := w.db.Cursors(t.Context(), []string{"bob"}); err != nil || len(rows) != 1 || rows[0].Seq != 45 {
		t.Errorf("stored cursors = %v %v, want 45", rows, err)
	}
}

// A session that ends, or whose stream does, while it waits to be attached is not
// attached; one that is kicked then is closed.
func TestWhoWaitsToAttachCanGo(t *testing.T) {
	w, store := outage(t, true)
	w.users("alice", "bob", "carol")
	g, other := w.gate(), w.gate()
	store.Away("Heads", "Cursors")
	for i, user := range []string{"alice", "bob", "carol"} {
		g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: uint64(i + 1), UserId: user, DeviceId: "d1", Platform: "web"}}})
	}
	<-store.Waits("Heads")
	other.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: 9, UserId: "carol", DeviceId: "d2", Platform: "ios"}}})
	other.close()
	g.up(&imv1.ToTransfer{Detaches: []*imv1.Detach{{Session: 1, UserId: "alice"}}})
	for closed := int32(0); closed == 0; {
		reply, err := imv1.NewTransferClient(w.conn).Kick(t.Context(), &imv1.KickRequest{UserId: "bob", DeviceId: "d1", Code: string(im.Revoked)})
		must(t, err)
		closed = reply.Closed
	}
	if k := recv(t, g.kicks); k.Session != 2 || k.Code != string(im.Revoked) {
		t.Errorf("kick = %v", k)
	}
	store.Back()
	if a := recv(t, g.attached); a.Session != 3 {
		t.Errorf("attached = %v, want carol's alone", a)
	}
	g.send("alice", text("bob", "m1", "", "to nobody"))
	if a := g.attach(4, "bob", "d1"); a.Session != 4 {
		t.Errorf("attached = %v", a)
	}
}

// brokenInbox loses what is published to the inboxes while it is told to.
type brokenInbox struct{ down chan bool } // holds the state

func (b brokenInbox) fate(topic string, _ int, _ []im.Pack) queuetest.Fate {
	down := <-b.down
	b.down <- down
	if down && topic == transfer.TopicInbox {
		return queuetest.Lose
	}
	return queuetest.Deliver
}

func (b brokenInbox) set(down bool) {
	<-b.down
	b.down <- down
}

// While receipts can not go out, for the queue is away, cursors and read marks are
// stored and answered; the receipts follow.
func TestCursorsDoNotWaitForReceipts(t *testing.T) {
	queue := brokenInbox{make(chan bool, 1)}
	queue.down <- false
	w, _ := outage(t, true, func(_ *transfer.Config, w *world) { w.queue = queuetest.NewFaulty(w.queue, queue.fate) })
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	for i := range 4 {
		g.send("alice", text("bob", fmt.Sprint(i), "", "hello"))
	}
	for range 8 {
		recv(t, g.pushes)
	}
	queue.set(true)
	for seq := int64(1); seq <= 4; seq++ {
		ack := acked(2, "bob", seq)
		ack.Request, ack.Durable = uint64(seq), true
		began := time.Now()
		g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{ack}})
		if r := recv(t, g.replies); r.GetAckReply().GetSeq() != seq || time.Since(began) > time.Second {
			t.Errorf("ack_reply after %v: %v", time.Since(began), r)
		}
		rows, err := w.db.Cursors(t.Context(), []string{"bob"})
		must(t, err)
		if len(rows) != 1 || rows[0].Seq != seq || rows[0].ReceiptedSeq != 0 {
			t.Errorf("stored cursors = %+v, want %d and nothing receipted", rows, seq)
		}
	}
	queue.set(false)
	for {
		if r := recv(t, g.pushes).entry.Receipt; r.GetKind() == "delivered" && r.Upto == 4 {
			break
		}
	}
	eventually(t, "the receipts are noted", func() bool {
		rows, err := w.db.Cursors(t.Context(), []string{"bob"})
		return err == nil && rows[0].ReceiptedSeq == 4
	})
}

// awayQueue is a queue whose broker goes: its consumers are lost, and nobody becomes
// one until it is back.
type awayQueue struct {
	*queuetest.Faulty
	mu   sync.Mutex
	back chan struct{} // closed while the broker is there
}

func (q *awayQueue) Consume(ctx context.Context, topic string, partition int) (transfer.Consumer, error) {
	q.mu.Lock()
	back := q.back
	q.mu.Unlock()
	select {
	case <-back:
		return q.Faulty.Consume(ctx, topic, partition)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (q *awayQueue) goAway(t *testing.T) {
	q.mu.Lock()
	q.back = make(chan struct{})
	q.mu.Unlock()
	for partition := range 2 {
		must(t, q.Break(transfer.TopicInbox, partition))
	}
}

func (q *awayQueue) comeBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.back)
}

// pushedTo returns the next entry that is pushed to a session.
func (g *gate) pushedTo(session uint64) *imv1.Entry {
	g.t.Helper()
	for {
		if p := recv(g.t, g.pushes); p.session == session {
			return p.entry
		}
	}
}

// While the broker is away the owner of an inbox partition stays: sessions attach,
// acks are stored, heads are told. When it is back things go on where they were, but
// not if somebody else has taken the partition meanwhile.
func TestTheInboxIsOwnedWhileTheQueueIsAway(t *testing.T) {
	queue := &awayQueue{back: make(chan struct{})}
	queue.comeBack()
	w := start(t, func(_ *transfer.Config, w *world) {
		w.store, queue.Faulty = storetest.WithoutOutbox(w.db), queuetest.NewFaulty(w.queue, nil)
		w.queue = queue
	})
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	g.send("alice", text("bob", "m1", "", "before"))
	g.pushedTo(2)

	queue.goAway(t)

	if a := g.attach(3, "bob", "d1"); a.Head != 1 {
		t.Errorf("attached = %v, want a head of 1", a)
	}
	ack := acked(3, "bob", 1)
	ack.Request, ack.Durable = 7, true
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{ack}})
	if r := recv(t, g.replies); r.GetAckReply().GetSeq() != 1 {
		t.Errorf("ack_reply = %v", r)
	}
	g.up(&imv1.ToTransfer{Heads: []*imv1.HeadRequest{{Session: 3, UserId: "bob"}}})
	if h := recv(t, g.heads); h.Head != 1 {
		t.Errorf("head = %v", h)
	}

	queue.comeBack()

	g.send("alice", text("bob", "m2", "", "after"))
	if e := g.pushedTo(3); e.Seq != 2 || e.Message.GetContent().GetText() != "after" {
		t.Errorf("bob got %v", e)
	}

	queue.goAway(t)
	partition := "inbox." + fmt.Sprint(im.Partition("bob", 2))
	last, err := w.db.LastTerm(t.Context(), partition)
	must(t, err)
	last.Term, last.Owner = last.Term+1, "another"
	must(t, w.db.InsertTerm(t.Context(), last))
	queue.comeBack()
	eventually(t, "the partition is taken anew, with a term above the other's", func() bool {
		now, err := w.db.LastTerm(t.Context(), partition)
		return err == nil && now.Term > last.Term && now.Owner == w.config.ServerID
	})
}

// A partition whose commit hangs is given up, and keeps no other from being taken.
func TestAReleaseThatHangsHoldsNoOtherUp(t *testing.T) {
	w, store := outage(t, true)
	w.users("alice")
	g := w.gate()
	store.Away("CommitInbox")
	hangs := store.Waits("CommitInbox")
	g.send("alice", text("alice", "m1", "", "note"))
	<-hangs
	must(t, w.registry.Deregister(t.Context(), w.config.ServerID)) // it owns nothing now
	for range 2 {
		if o := recv(t, g.owned); !o.Released {
			t.Fatalf("ownership = %v, want a partition given up", o)
		}
	}
	must(t, w.registry.Register(t.Context(), im.Server{ID: w.config.ServerID, Role: "transfer"}))
	held, free := int32(im.Partition("alice", 2)), int32(1-im.Partition("alice", 2))
	if o := recv(t, g.owned); o.Released || o.Partition != free {
		t.Fatalf("ownership = %v, want partition %d taken anew", o, free)
	}
	store.Back()
	if o := recv(t, g.owned); o.Released || o.Partition != held {
		t.Fatalf("ownership = %v, want partition %d taken anew", o, held)
	}
	if a := g.attach(1, "alice", "d1"); a.Head != 1 {
		t.Errorf("attached = %v, want the entry at 1", a)
	}
}

// A stop while the store is away is bounded by its context, and what was not
// acknowledged comes to the next owner.
func TestAStopWhileTheStoreIsAway(t *testing.T) {
	w, store := outage(t, true)
	w.users("alice", "bob")
	g := w.gate()
	store.Away("CommitInbox")
	hangs := store.Waits("CommitInbox")
	g.send("alice", text("bob", "m1", "", "hello"))
	<-hangs
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := w.server.Stop(ctx); err == nil || time.Since(began) > 2*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
	if !slices.ContainsFunc(drained(g.owned), func(o *imv1.Ownership) bool { return o.Released }) {
		t.Error("the gateways were not told that the partition is given up")
	}
	store.Back()
	must(t, w.server.Stop(t.Context()))
}

func drained[T any](c <-chan T) (all []T) {
	for {
		select {
		case v := <-c:
			all = append(all, v)
		default:
			return all
		}
	}
}

func headOf(t *testing.T, w *world, user string) int64 {
	t.Helper()
	heads, err := w.db.Heads(t.Context(), []string{user})
	must(t, err)
	return heads[0].Head
}

// eventually asks again until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so: %s", what)
		}
	}
}
