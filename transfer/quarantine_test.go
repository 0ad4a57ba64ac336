package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

func encoded(t testing.TB, pack interface{ MarshalVT() ([]byte, error) }) []byte {
	t.Helper()
	body, err := pack.MarshalVT()
	must(t, err)
	return body
}

// codeOf is the code of an error that a user may see.
func codeOf(err error) im.Code {
	var e *im.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// sentCommand is what accept publishes of a message from alice to bob.
func sentCommand(t *testing.T, id, words string) *imv1.Command {
	t.Helper()
	content := &imv1.Message{Content: &imv1.Content{Type: "text", Text: words}}
	return &imv1.Command{
		UserId: "alice", DeviceId: "d1", ClientId: id, ConversationId: im.DirectConversation("alice", "bob"),
		ConversationType: string(im.Direct), PeerId: "bob", Kind: string(im.KindMessage), Body: encoded(t, content),
	}
}

func onBothStores(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	for name, option := range map[string]option{
		"a store with an outbox": func(*transfer.Config, *world) {},
		"a store without":        func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, option)
			w.users("alice", "bob", "carol")
			story(t, w)
		})
	}
}

// What can not be decoded is kept, and what stands behind it goes on. As long as it
// can not be decoded, it stays.
func TestWhatCanNotBeDecodedIsKept(t *testing.T) {
	onBothStores(t, func(t *testing.T, w *world) {
		g := w.gate()
		conversation := im.DirectConversation("alice", "bob")
		for _, topic := range []string{transfer.TopicConversation, transfer.TopicInbox} {
			key := map[string]string{transfer.TopicConversation: conversation, transfer.TopicInbox: "bob"}[topic]
			w.queue.Publish(topic, im.Partition(key, 2), []im.Pack{{Body: []byte("\xff not a pack")}}, func(error) {})
		}
		g.attach(1, "bob", "d1")
		if ack := g.send("alice", text("bob", "m1", "", "behind it")).GetSendAck(); ack.GetConversationSeq() != 1 {
			t.Fatalf("ack behind it: %v", ack)
		}
		if p := recv(t, g.pushes); p.entry.Seq != 1 || p.entry.Late {
			t.Errorf("pushed behind it: %v", p.entry)
		}
		items, err := w.server.Quarantined(context.Background(), 0, 0, 10)
		must(t, err)
		if len(items) != 2 {
			t.Fatalf("%d items in the quarantine", len(items))
		}
		for i := range items {
			if c := codeOf(w.server.Replay(context.Background(), items[i].ID())); c != im.Invalid {
				t.Errorf("replay of what is broken: %q", c)
			}
			_, broken, err := w.server.QuarantinedItem(context.Background(), items[i].ID())
			if must(t, err); broken == nil {
				t.Errorf("%+v is not broken", items[i])
			}
		}
		if c := codeOf(w.server.Replay(context.Background(), 1)); c != im.NotFound {
			t.Errorf("replay of nothing: %q", c)
		}
	})
}

// A command that an earlier version could not read is carried out by a replay, once;
// what it delivers says that it is late, when it is pushed and ever after.
func TestAReplayedCommandComesLate(t *testing.T) {
	onBothStores(t, func(t *testing.T, w *world) {
		g, own := w.gate(), w.gate()
		g.attach(1, "bob", "d1")
		own.attach(2, "alice", "d1")
		if ack := g.send("alice", text("bob", "m1", "", "in time")).GetSendAck(); ack.GetConversationSeq() != 1 {
			t.Fatalf("ack: %v", ack)
		}
		recv(t, g.pushes)
		body := encoded(t, &imv1.CommandPack{Commands: []*imv1.Command{sentCommand(t, "m2", "late")}})
		item := im.Quarantined{
			Topic: transfer.TopicConversation, Partition: im.Partition(im.DirectConversation("alice", "bob"), 2), Body: body, AtMs: 1,
		}
		for range 2 { // as if the first replay had died before it could forget the item
			must(t, w.db.Quarantine(context.Background(), item))
			must(t, w.server.Replay(context.Background(), item.ID()))
		}
		if ack := g.send("alice", text("bob", "m3", "m2", "in time again")).GetSendAck(); ack.GetConversationSeq() != 3 {
			t.Errorf("ack behind it: %v", ack)
		}
		for _, want := range []struct {
			seq  int64
			late bool
		}{{2, true}, {3, false}} {
			if e := recv(t, g.pushes).entry; e.Seq != want.seq || e.Late != want.late {
				t.Errorf("pushed %v, want seq %d, late %v", e, want.seq, want.late)
			}
		}
		for range 3 {
			recv(t, own.pushes)
		}
		checkLate(t, w, "bob", "false true false")
		checkLate(t, w, "alice", "false true false")
	})
}

// On the embedded drivers the queue dies with the process: a replayed command stays in
// the quarantine until what it asks for is stored, so that a crash does not lose it.
func TestAReplayedCommandSurvivesACrash(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	w := start(t, func(_ *transfer.Config, w *world) {
		w.store = storetest.Faulty(w.db, storetest.PlanFunc(func(write string, _ int) storetest.Fault {
			if write == "InsertEvents" && away.Load() {
				return storetest.Refused
			}
			return storetest.None
		}))
	})
	w.users("alice", "bob")
	item := im.Quarantined{
		Topic: transfer.TopicConversation, Partition: im.Partition(im.DirectConversation("alice", "bob"), 2), AtMs: 1,
		Body: encoded(t, &imv1.CommandPack{Commands: []*imv1.Command{sentCommand(t, "m1", "late")}}),
	}
	must(t, w.db.Quarantine(context.Background(), item))
	brief, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := w.server.Replay(brief, item.ID()); err == nil {
		t.Error("replayed while nothing can be stored")
	}
	w.restart()
	must(t, w.server.Replay(context.Background(), item.ID()))
	if _, err := w.db.QuarantinedItem(context.Background(), item.ID()); !errors.Is(err, im.ErrNotFound) {
		t.Errorf("what was stored is still in the quarantine: %v", err)
	}
	events, err := w.db.EventsAfter(context.Background(), im.DirectConversation("alice", "bob"), 0, 10)
	if must(t, err); len(events) != 1 || events[0].ClientID != "m1" {
		t.Errorf("stored %+v", events)
	}
}

// checkLate checks which message entries of an inbox say that they are late.
func checkLate(t *testing.T, w *world, user, want string) {
	t.Helper()
	after := int64(0)
	page, err := imv1.NewTransferClient(w.conn).Pull(context.Background(), &imv1.PullRequest{UserId: user, After: &after, Limit: 100})
	must(t, err)
	var late []bool
	for _, encoded := range page.Entries {
		entry := &imv1.Entry{}
		must(t, entry.UnmarshalVT(encoded))
		if entry.Message != nil {
			late = append(late, entry.Late)
		}
	}
	if got := fmt.Sprint(late); got != "["+want+"]" {
		t.Errorf("late entries of %s: %s", user, got)
	}
}

// A pack for inboxes is delivered by a replay to whoever has not got it.
func TestAReplayedPackReachesWhomItHasNotReached(t *testing.T) {
	onBothStores(t, func(t *testing.T, w *world) {
		g := w.gate()
		g.attach(1, "bob", "d1")
		if ack := g.send("alice", text("bob", "m1", "", "one")).GetSendAck(); ack == nil {
			t.Fatal("not acknowledged")
		}
		first := recv(t, g.pushes).entry
		conversation := im.DirectConversation("alice", "bob")
		must(t, w.db.InsertEvents(context.Background(), []im.Event{{
			ID: first.Message.MessageId + 1, ConversationID: conversation, Seq: 2, Kind: im.KindMessage, SenderID: "alice", DeviceID: "d1", ClientID: "m2", AtMs: 1,
		}}, nil))
		event := func(id, seq int64) *imv1.InboxEnvelope {
			return &imv1.InboxEnvelope{UserIds: []string{"bob"}, What: &imv1.InboxEnvelope_Event{Event: &imv1.Event{
				Id: id, ConversationId: conversation, ConversationType: string(im.Direct), Seq: seq, Kind: string(im.KindMessage), SenderId: "alice",
			}}}
		}
		item := im.Quarantined{Topic: transfer.TopicInbox, Partition: im.Partition("bob", 2), AtMs: 1, Body: encoded(t, &imv1.InboxPack{
			Envelopes: []*imv1.InboxEnvelope{event(first.Message.MessageId, 1), event(first.Message.MessageId+1, 2)},
		})}
		must(t, w.db.Quarantine(context.Background(), item))
		must(t, w.server.Replay(context.Background(), item.ID()))
		if e := recv(t, g.pushes).entry; e.Seq != 2 || !e.Late || e.Message.GetConversationSeq() != 2 {
			t.Errorf("pushed %v", e)
		}
		if c := codeOf(w.server.Replay(context.Background(), item.ID())); c != im.NotFound {
			t.Errorf("a second replay: %q", c)
		}
		must(t, w.db.Quarantine(context.Background(), item)) // as if the first replay had died
		must(t, w.server.Replay(context.Background(), item.ID()))
		g.send("carol", text("bob", "m1", "", "behind it"))
		if e := recv(t, g.pushes).entry; e.Seq != 3 || e.Late {
			t.Errorf("pushed behind it: %v", e)
		}
		checkLate(t, w, "bob", "false true false")
	})
}
