package transfer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

func contactOf(peer, action, said string) *imv1.OwnChange {
	return &imv1.OwnChange{What: &imv1.OwnChange_Contact{Contact: &imv1.ContactChange{UserId: peer, Action: action, Text: said, Remark: said}}}
}

// contact returns the code of what a user wants of another one.
func (g *gate) contact(from, peer, action, said string) string {
	g.t.Helper()
	return g.own(from, "", contactOf(peer, action, said))
}

// postBlock has a user take no more messages of another one, or take them again.
func (g *gate) postBlock(from, peer, id string, blocked bool) uint64 {
	g.t.Helper()
	body, err := (&imv1.Block{ClientId: id, UserId: peer, Blocked: blocked}).MarshalVT()
	must(g.t, err)
	n := g.request.Add(1)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: n, UserId: from, DeviceId: "d1", What: &imv1.Publish_Block{Block: body}, StampClientId: true,
	}}})
	return n
}

func (g *gate) block(from, peer string, blocked bool) *imv1.Reply {
	g.t.Helper()
	n := g.postBlock(from, peer, "", blocked)
	reply := recv(g.t, g.replies)
	if reply.Request != n {
		g.t.Fatalf("reply to request %d, want %d", reply.Request, n)
	}
	return reply
}

func (w *world) relation(user, peer string) im.Relation {
	w.t.Helper()
	found, err := w.db.Relations(context.Background(), []im.RelationKey{{UserID: user, PeerID: peer}})
	must(w.t, err)
	return found[0]
}

func TestContacts(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob", "cy")
		g := w.gate()
		must := func(want im.Code, from, peer, action, said string) {
			t.Helper()
			if got := g.contact(from, peer, action, said); got != string(want) {
				t.Fatalf("%s: %s %s is answered %q, want %q", from, action, peer, got, want)
			}
		}
		must("", "ann", "bob", "request", "it is me")
		must("", "ann", "bob", "request", "again") // it waits already
		w.shows(g, "bob", "requested ann it is me by ann")
		must(im.NotFound, "bob", "ann", "remark", "Annie")
		must(im.NotFound, "bob", "cy", "accept", "")
		must(im.NotFound, "cy", "ann", "refuse", "")
		must(im.NotFound, "ann", "bob", "accept", "") // one's own
		must("", "bob", "ann", "refuse", "")
		w.shows(g, "ann", "requested bob it is me by ann", "refused bob by bob")
		must(im.NotFound, "bob", "ann", "accept", "")
		must("", "ann", "bob", "request", "please")
		w.shows(g, "bob", "requested ann it is me by ann", "refused ann by bob", "requested ann please by ann")
		must("", "bob", "ann", "accept", "")
		must("", "bob", "ann", "accept", "") // in force
		w.shows(g, "ann", "requested bob it is me by ann", "refused bob by bob", "requested bob please by ann", "added bob by bob")
		must("", "ann", "bob", "remark", "Bobby")
		must("", "ann", "bob", "remark", "Bobby")
		must(im.NotFound, "bob", "ann", "refuse", "")
		if a, b := w.relation("ann", "bob"), w.relation("bob", "ann"); !a.Contact() || !b.Contact() || a.Remark != "Bobby" || b.Remark != "" {
			t.Errorf("relations %+v and %+v", a, b)
		}
		must("", "bob", "ann", "remove", "")
		must("", "bob", "ann", "remove", "")
		w.shows(g, "ann", "requested bob it is me by ann", "refused bob by bob", "requested bob please by ann", "added bob by bob",
			"changed bob Bobby by ann", "removed bob by bob")
		must("", "ann", "cy", "request", "")
		w.shows(g, "cy", "requested ann by ann")
		must("", "ann", "cy", "remove", "") // withdrawn
		w.shows(g, "cy", "requested ann by ann", "removed ann by ann")
		must(im.NotFound, "cy", "ann", "accept", "")
	})
}

// Who asks whom has asked is a contact, also where both ask at once.
func TestTwoWhoAskEachOther(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		g.postOwn("ann", "", contactOf("bob", "request", "a"))
		g.postOwn("bob", "", contactOf("ann", "request", "b"))
		recv(t, g.replies)
		recv(t, g.replies)
		g.attach(1, "ann", "d1")
		g.attach(2, "bob", "d1")
		for !slices.Contains(actionsOf(w.inboxOf("ann")), "added") || !slices.Contains(actionsOf(w.inboxOf("bob")), "added") {
			recv(t, g.pushes)
		}
		if a, b := w.relation("ann", "bob"), w.relation("bob", "ann"); !a.Contact() || !b.Contact() {
			t.Errorf("relations %+v and %+v", a, b)
		}
	})
}

func actionsOf(entries []*imv1.Entry) (actions []string) {
	for _, e := range entries {
		if e.Contact != nil {
			actions = append(actions, e.Contact.Action)
		}
	}
	return actions
}

// A block has its place among the messages: what was sent before it is there, and is
// answered with its ids also after it; what comes behind it is refused; and the other
// one is told nothing.
func TestABlockHasItsPlace(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		first := g.send("bob", text("ann", "m1", "", "one")).GetSendAck()
		before := g.post("bob", text("ann", "m2", "", "two"))
		blocks := g.postBlock("ann", "bob", "b1", true)
		behind := g.post("bob", text("ann", "m3", "", "three"))
		answers := map[uint64]*imv1.Reply{}
		for range 3 {
			r := recv(t, g.replies)
			answers[r.Request] = r
		}
		if answers[before].GetSendAck() == nil || answers[blocks].GetSendAck() == nil || code(answers[behind]) != "forbidden" {
			t.Fatalf("before %v, block %v, behind %v", answers[before], answers[blocks], answers[behind])
		}
		if again := g.send("bob", text("ann", "m1", "", "one")).GetSendAck(); !again.GetDuplicate() || again.GetMessageId() != first.GetMessageId() {
			t.Errorf("a retry of what was sent before is answered %v", again)
		}
		if ack := g.send("ann", text("bob", "m4", "", "four")).GetSendAck(); ack == nil {
			t.Error("who blocks may not send")
		}
		if ack := g.block("ann", "bob", true).GetSendAck(); ack == nil || ack.MessageId != 0 {
			t.Errorf("a second block is answered %v, want an ack without an event", ack)
		}
		typing, err := (&imv1.Signal{To: &imv1.To{To: &imv1.To_UserId{UserId: "ann"}}, Type: "typing"}).MarshalVT()
		must(t, err)
		g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
			Session: 1, Request: g.request.Add(1), UserId: "bob", DeviceId: "d1", What: &imv1.Publish_Signal{Signal: typing},
		}}})
		if r := recv(t, g.replies); code(r) != "forbidden" {
			t.Errorf("a signal of who is blocked is answered %v", r)
		}
		if got := g.contact("bob", "ann", "request", "let me in"); got != "" {
			t.Errorf("a request of who is blocked is answered %s", got)
		}
		w.restart(bareAs(w))
		g = w.gate()
		if c := code(g.send("bob", text("ann", "m5", "", "five"))); c != "forbidden" {
			t.Errorf("after a restart: %q", c)
		}
		if ack := g.block("ann", "bob", false).GetSendAck(); ack.GetMessageId() == 0 {
			t.Errorf("an unblock is answered %v", ack)
		}
		if ack := g.send("bob", text("ann", "m6", "", "six")).GetSendAck(); ack == nil {
			t.Error("who is no longer blocked may not send")
		}
		w.shows(g, "bob", "1 one", "2 two", "4 four", "requested ann let me in by bob", "6 six")
		w.shows(g, "ann", "1 one", "2 two", "blocked bob", "4 four", "unblocked bob", "6 six")
		if w.relation("ann", "bob").Blocked.On() {
			t.Error("the relation still shows the block")
		}
		for peer, want := range map[string]string{"ann": "invalid", "": "invalid", "nobody": "not_found"} {
			if c := code(g.block("ann", peer, true)); c != want {
				t.Errorf("a block of %q is answered %q, want %s", peer, c, want)
			}
		}
	})
}

// bareAs keeps a world's kind of store over a restart.
func bareAs(w *world) option {
	info, _ := w.store.Info(context.Background())
	return func(_ *transfer.Config, w *world) {
		if !info.Outbox {
			w.store = storetest.WithoutOutbox(w.db)
		}
	}
}

// Whatever the store does, both users come to the same, no entry comes twice, and the
// rows say what the entries say.
func TestContactsConvergeOnAFaultyStore(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				w := start(t, func(_ *transfer.Config, w *world) {
					faults := []storetest.Fault{storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost}
					if bare {
						w.store, faults = storetest.WithoutOutbox(w.db), append(faults, storetest.UnknownHalf)
					}
					w.store = storetest.Faulty(w.store, oneIn(6, seed, faults))
				})
				meetAndPart(t, w, rand.New(rand.NewPCG(seed, 2)))
			})
		}
	}
}

func meetAndPart(t *testing.T, w *world, random *rand.Rand) {
	users := []string{"ann", "bob", "cy"}
	w.users(users...)
	g := w.gate()
	for i, user := range users {
		g.attach(uint64(i+1), user, "d1")
	}
	actions := []string{"request", "request", "accept", "accept", "refuse", "remove", "remark"}
	for round := range 12 {
		asked := 0
		for i := range 6 {
			from, to := random.IntN(3), 1+random.IntN(2)
			change := contactOf(users[(from+to)%3], actions[random.IntN(len(actions))], fmt.Sprint(round, " ", i))
			for range 1 + random.IntN(2) { // once or twice
				g.postOwn(users[from], fmt.Sprint(round, ".", i), change)
				asked++
			}
		}
		for range asked {
			if c := code(recv(t, g.replies)); c != "" && c != "not_found" {
				t.Fatalf("answered %s", c)
			}
		}
	}
	deadline := time.After(10 * time.Second)
	for !w.agree(users) {
		select { // a change that makes no entry is pushed to nobody
		case <-g.pushes:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("the two sides do not come to the same")
		}
	}
	for _, user := range users {
		w.rowsSayWhatEntriesSay(user, users)
	}
}

// agree reports whether every wish is known to whom it is about.
func (w *world) agree(users []string) bool {
	for p := range 2 {
		due, err := w.db.DueRelations(context.Background(), p, 2)
		must(w.t, err)
		if info, _ := w.store.Info(context.Background()); !info.Outbox && len(due) > 0 {
			return false
		}
	}
	for _, a := range users {
		for _, b := range users {
			if r, other := w.relation(a, b), w.relation(b, a); a != b && r.Mine.On() != other.Theirs.On() {
				return false
			}
		}
	}
	return true
}

// rowsSayWhatEntriesSay compares a user's relations with what a device makes of the
// entries.
func (w *world) rowsSayWhatEntriesSay(user string, users []string) {
	w.t.Helper()
	type wishes struct{ mine, theirs bool }
	shown, remarks := map[string]wishes{}, map[string]string{}
	for i, e := range w.inboxOf(user) {
		if e.Seq != int64(i+1) {
			w.t.Fatalf("inbox of %s: entry %d at %d", user, e.Seq, i+1)
		}
		c := e.Contact
		switch own := by(c) == " by "+user; im.ContactAction(c.Action) {
		case im.ContactRequested:
			shown[c.UserId] = wishes{own, !own}
		case im.ContactAdded:
			shown[c.UserId] = wishes{true, true}
		case im.ContactRefused, im.ContactRemoved:
			shown[c.UserId] = wishes{}
		case im.ContactChanged:
			remarks[c.UserId] = c.Data.GetFields()["remark"].GetStringValue()
		}
	}
	for _, peer := range users {
		r := w.relation(user, peer)
		if got := (wishes{r.Mine.On(), r.Theirs.On()}); got != shown[peer] || r.Remark != remarks[peer] {
			w.t.Errorf("%s of %s: the row says %+v %q, the entries %+v %q\n%v", user, peer, got, r.Remark, shown[peer], remarks[peer], w.lines(user))
		}
	}
}
