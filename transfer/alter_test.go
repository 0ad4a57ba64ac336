package transfer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// bothKinds runs a test on a store with an outbox and on one without.
func bothKinds(t *testing.T, test func(t *testing.T, on option)) {
	t.Run("a store with an outbox", func(t *testing.T) { test(t, func(*transfer.Config, *world) {}) })
	t.Run("a store without", func(t *testing.T) {
		test(t, func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	})
}

// postAlter asks for something to be done to a message and returns its request number.
func (g *gate) postAlter(from string, change *imv1.MessageChange) uint64 {
	g.t.Helper()
	body, err := change.MarshalVT()
	must(g.t, err)
	n := g.request.Add(1)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: n, UserId: from, DeviceId: "d1", What: &imv1.Publish_MessageChange{MessageChange: body}, StampClientId: true,
	}}})
	return n
}

func (g *gate) alter(from string, change *imv1.MessageChange) *imv1.Reply {
	g.t.Helper()
	n := g.postAlter(from, change)
	reply := recv(g.t, g.replies)
	if reply.Request != n {
		g.t.Fatalf("reply to request %d, want %d", reply.Request, n)
	}
	return reply
}

// messageOf names a message that was sent.
func messageOf(ack *imv1.SendAck) *imv1.MessageChange {
	return &imv1.MessageChange{ConversationId: ack.GetConversationId(), MessageId: ack.GetMessageId()}
}

func recallOf(ack *imv1.SendAck) *imv1.MessageChange {
	c := messageOf(ack)
	c.Kind = "recall"
	return c
}

func editOf(ack *imv1.SendAck, text string, ifVersion int32) *imv1.MessageChange {
	c := messageOf(ack)
	c.Kind, c.Content, c.IfVersion = "edit", &imv1.Content{Type: "text", Text: text}, ifVersion
	return c
}

func reactionTo(ack *imv1.SendAck, emoji string, removed bool) *imv1.MessageChange {
	c := messageOf(ack)
	c.Kind, c.Emoji, c.Removed = "reaction", emoji, removed
	return c
}

// showing writes an entry with what its message is now.
func showing(e *imv1.Entry) string {
	switch {
	case e.Recall != nil:
		return fmt.Sprintf("%d recall by %s", e.Recall.ConversationSeq, e.Recall.By)
	case e.Edit != nil:
		return fmt.Sprintf("%d edit to %q version %d by %s", e.Edit.ConversationSeq, e.Edit.Content.GetText(), e.Edit.Version, e.Edit.By)
	case e.Reaction != nil:
		return fmt.Sprintf("%d %s by %s removed=%v", e.Reaction.ConversationSeq, e.Reaction.Emoji, e.Reaction.UserId, e.Reaction.Removed)
	case e.Membership != nil:
		return shown(e)
	}
	m := e.Message
	line := fmt.Sprintf("%d %q by %s version %d", m.ConversationSeq, m.Content.GetText(), m.SenderId, m.Version)
	if m.Recalled {
		line += " recalled"
	}
	if m.EditedAtMs != 0 {
		line += " edited"
	}
	for _, r := range m.Reactions {
		line += fmt.Sprintf(" %s%d", r.Emoji, r.Count)
		if r.Mine {
			line += "!"
		}
	}
	return line
}

// nowSees waits until an inbox has these lines.
func (w *world) nowSees(g *gate, session uint64, user string, want ...string) {
	w.t.Helper()
	g.attach(session, user, "d1")
	var got []string
	for {
		got = nil
		for _, e := range w.inboxOf(user) {
			got = append(got, showing(e))
		}
		if len(got) >= len(want) {
			break
		}
		recv(w.t, g.pushes) // the rest is still on its way
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("inbox of %s:\n%s\nwant:\n%s", user, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMessageIsShownAsItIs(t *testing.T) {
	bothKinds(t, func(t *testing.T, on option) {
		w := start(t, on)
		w.users("ann", "bob")
		g := w.gate()
		send := text("bob", "m1", "", "helo")
		send.Attributes = map[string]string{"k": "v"}
		first := g.send("ann", send).GetSendAck()
		second := g.send("ann", text("bob", "m2", "", "secret")).GetSendAck()
		for i, c := range []*imv1.MessageChange{
			editOf(first, "hello", 0), editOf(first, "hello!", 2), reactionTo(first, "👍", false), editOf(second, "more secret", 0),
		} {
			if r := g.alter("ann", c); r.GetSendAck().GetConversationSeq() != int64(i+3) {
				t.Fatalf("change %d = %v", i, r)
			}
		}
		g.alter("bob", reactionTo(first, "👍", false))
		g.alter("bob", reactionTo(first, "❤️", false))
		g.alter("bob", reactionTo(second, "😂", false))
		g.alter("ann", recallOf(second))
		g.alter("bob", reactionTo(first, "❤️", true))
		both := func(mine string) []string {
			return []string{
				`1 "hello!" by ann version 3 edited 👍2` + mine, `2 "" by ann version 2 recalled edited`,
				`3 edit to "hello" version 2 by ann`, `4 edit to "hello!" version 3 by ann`, "5 👍 by ann removed=false",
				`6 edit to "" version 2 by ann`, "7 👍 by bob removed=false", "8 ❤️ by bob removed=false", "9 😂 by bob removed=false",
				"10 recall by ann", "11 ❤️ by bob removed=true",
			}
		}
		w.nowSees(g, 1, "ann", both("!")...)
		w.nowSees(g, 2, "bob", both("!")...)
		if m := w.inboxOf("bob")[0].Message; m.Attributes["k"] != "v" || m.Content.Type != "text" {
			t.Errorf("an edited message lost its attributes: %v", m)
		}
		w.restart(on)
		g = w.gate()
		w.nowSees(g, 1, "bob", both("!")...)
		if r := g.alter("ann", editOf(first, "x", 2)); code(r) != "conflict" {
			t.Errorf("an edit of version 2 after a restart = %v", r)
		}
		if r := g.alter("ann", editOf(first, "hi", 3)); code(r) != "" {
			t.Errorf("an edit of version 3 after a restart = %v", r)
		}
	})
}

func TestWhoMayChangeAMessage(t *testing.T) {
	within := func(c *transfer.Config, _ *world) { c.Policy.RecallWithin = time.Hour }
	w := start(t, within, func(c *transfer.Config, _ *world) {
		c.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	})
	w.users("owner", "admin", "ann", "bob", "late", "guest")
	g := w.gate()
	g.done("owner", "g", im.ActionCreated, map[string]any{"name": "G"}, "admin", "ann", "bob")
	g.done("owner", "g", im.ActionRole, map[string]any{"role": "admin"}, "admin")
	old := g.send("bob", toGroup("g", "m0", "old")).GetSendAck()
	w.restart(within)
	g = w.gate()
	sent := g.send("ann", toGroup("g", "m1", "one")).GetSendAck()
	other := g.send("ann", toGroup("g", "m2", "two")).GetSendAck()
	third := g.send("ann", toGroup("g", "m3", "three")).GetSendAck()
	g.done("owner", "g", im.ActionJoined, nil, "late")
	fresh := g.send("ann", toGroup("g", "m4", "fresh")).GetSendAck()
	foreign := messageOf(sent)
	foreign.ConversationId, foreign.Kind = im.GroupConversation("h"), "recall"
	none := &imv1.SendAck{ConversationId: sent.ConversationId, MessageId: 5}
	g.done("owner", "g", im.ActionMuted, map[string]any{"muted_until_ms": "99999999999999"}, "bob")
	large := editOf(sent, strings.Repeat("x", 61<<10), 0)
	for _, c := range []struct {
		by     string
		change *imv1.MessageChange
		want   string
	}{
		{"guest", recallOf(sent), "not_found"},
		{"guest", editOf(sent, "x", 0), "not_found"},
		{"guest", reactionTo(sent, "👍", false), "not_found"},
		{"late", recallOf(sent), "not_found"},
		{"late", reactionTo(sent, "👍", false), "not_found"},
		{"ann", recallOf(none), "not_found"},
		{"ann", foreign, "not_found"},
		{"bob", recallOf(sent), "forbidden"},
		{"bob", recallOf(old), "forbidden"}, // too late
		{"bob", editOf(sent, "x", 0), "forbidden"},
		{"owner", editOf(sent, "x", 0), "forbidden"},
		{"bob", reactionTo(sent, "👍", false), "forbidden"}, // muted
		{"bob", editOf(old, "x", 0), "forbidden"},          // muted
		{"ann", editOf(sent, "x", 2), "conflict"},
		{"ann", editOf(sent, "x", -1), "invalid"},
		{"ann", editOf(sent, "", 0), "invalid"},
		{"ann", large, "too_large"},
		{"ann", reactionTo(sent, "ok", false), "invalid"},
		{"ann", reactionTo(sent, "", false), "invalid"},
		{"ann", messageOf(sent), "invalid"},
		{"admin", recallOf(old), ""},
		{"ann", recallOf(other), ""},
		{"owner", recallOf(third), ""},
		{"admin", recallOf(fresh), ""},
		{"ann", editOf(other, "x", 0), "forbidden"},
		{"ann", reactionTo(other, "👍", false), "forbidden"},
	} {
		if got := code(g.alter(c.by, c.change)); got != c.want {
			t.Errorf("%s of %d by %s = %q, want %q", c.change.Kind, c.change.MessageId, c.by, got, c.want)
		}
	}
	for _, c := range []struct {
		by     string
		change *imv1.MessageChange
	}{{"ann", recallOf(other)}, {"owner", recallOf(old)}, {"ann", reactionTo(sent, "👍", true)}} { // in force already
		if ack := g.alter(c.by, c.change).GetSendAck(); ack == nil || ack.MessageId != 0 {
			t.Errorf("%s by %s again = %v, want an ack without an event", c.change.Kind, c.by, ack)
		}
	}
	if ack := g.send("ann", toGroup("g", "m5", "x")).GetSendAck(); ack.GetConversationSeq() != 14 {
		t.Errorf("after all that: %v, want seq 14", ack)
	}
	// Who came later is told nothing of what has become of what they do not see.
	w.nowSees(g, 1, "late", "7 joined late by owner", `8 "" by ann version 1 recalled`,
		"9 muted bob by owner muted_until_ms=99999999999999", "13 recall by admin", `14 "x" by ann version 1`)
}

func TestAChangeIsMadeOnce(t *testing.T) {
	bothKinds(t, func(t *testing.T, on option) {
		w := start(t, on)
		w.users("ann", "bob")
		g := w.gate()
		sent := g.send("ann", text("bob", "m1", "", "one")).GetSendAck()
		edit := editOf(sent, "two", 1)
		edit.ClientId = "e1"
		first := g.alter("ann", edit).GetSendAck()
		lines := []string{`1 "two" by ann version 2 edited`, `2 edit to "two" version 2 by ann`}
		for range 2 {
			again := g.alter("ann", edit).GetSendAck()
			if !again.GetDuplicate() || again.MessageId != first.MessageId || again.ConversationSeq != 2 {
				t.Errorf("again = %v, want %v", again, first)
			}
			w.nowSees(g, 1, "bob", lines...) // the queue in memory ends with its process
			w.restart(on)
			g = w.gate()
		}
		other := editOf(sent, "three", 0)
		other.ClientId = "e1"
		if c := code(g.alter("ann", other)); c != "conflict" {
			t.Errorf("another edit with its id = %q", c)
		}
		reused := recallOf(sent)
		reused.ClientId = "m1"
		if c := code(g.alter("ann", reused)); c != "conflict" {
			t.Errorf("a recall with the id of a message = %q", c)
		}
		w.nowSees(g, 1, "bob", lines...)
	})
}

// What comes in one batch is judged one after the other, whatever is stored by then.
func TestChangesInOneBatch(t *testing.T) {
	bothKinds(t, func(t *testing.T, on option) {
		w := start(t, on)
		w.users("ann", "bob")
		g := w.gate()
		sent := g.send("ann", text("bob", "m1", "", "one")).GetSendAck()
		var publishes []*imv1.Publish
		add := func(by string, change *imv1.MessageChange) {
			body, err := change.MarshalVT()
			must(t, err)
			publishes = append(publishes, &imv1.Publish{
				Session: 1, Request: uint64(len(publishes) + 1), UserId: by, DeviceId: "d1", StampClientId: true,
				What: &imv1.Publish_MessageChange{MessageChange: body},
			})
		}
		want := map[uint64]string{2: "conflict", 7: "forbidden", 8: "nothing", 5: "nothing"}
		add("ann", editOf(sent, "two", 1))
		add("ann", editOf(sent, "other", 1))
		add("ann", editOf(sent, "three", 2))
		add("bob", reactionTo(sent, "👍", false))
		add("bob", reactionTo(sent, "👍", false))
		add("ann", recallOf(sent))
		add("ann", editOf(sent, "four", 0))
		add("ann", recallOf(sent))
		g.up(&imv1.ToTransfer{Publishes: publishes})
		for range publishes {
			r := recv(t, g.replies)
			got := code(r)
			if got == "" && r.GetSendAck().MessageId == 0 {
				got = "nothing"
			}
			if got != want[r.Request] {
				t.Errorf("request %d = %q, want %q", r.Request, got, want[r.Request])
			}
		}
		w.nowSees(g, 1, "bob", `1 "" by ann version 3 recalled edited`, `2 edit to "" version 2 by ann`, `3 edit to "" version 3 by ann`,
			"4 👍 by bob removed=false", "5 recall by ann")
	})
}

func TestReactionsAreBounded(t *testing.T) {
	w := start(t)
	w.users("ann", "bob")
	g := w.gate()
	sent := g.send("ann", text("bob", "m1", "", "one")).GetSendAck()
	for i := range im.MaxReactionKinds {
		if c := code(g.alter("ann", reactionTo(sent, string(rune(0x1f600+i)), false))); c != "" {
			t.Fatalf("reaction %d = %q", i, c)
		}
	}
	if c := code(g.alter("bob", reactionTo(sent, "👍", false))); c != "too_large" {
		t.Errorf("one kind too many = %q", c)
	}
	if c := code(g.alter("bob", reactionTo(sent, "😀", false))); c != "" {
		t.Errorf("of a kind that is there = %q", c)
	}
	g.alter("ann", reactionTo(sent, "😁", true))
	if c := code(g.alter("bob", reactionTo(sent, "👍", false))); c != "" {
		t.Errorf("after one was taken away = %q", c)
	}
}

// An owner that has stored changes and dies before they are projected leaves them to the
// next one.
func TestAMessageThatWasChangedAndNotProjected(t *testing.T) {
	bothKinds(t, func(t *testing.T, kind option) {
		var dying atomic.Bool
		projecting := make(chan struct{}, 100)
		on := func(c *transfer.Config, w *world) {
			kind(c, w)
			w.store = storetest.Faulty(w.store, storetest.PlanFunc(func(write string, _ int) storetest.Fault {
				if write != "ProjectMessages" || !dying.Load() {
					return storetest.None
				}
				select {
				case projecting <- struct{}{}:
				default:
				}
				return storetest.Refused
			}))
		}
		w := start(t, on)
		w.users("ann", "bob")
		g := w.gate()
		sent := g.send("ann", text("bob", "m1", "", "one")).GetSendAck()
		dying.Store(true)
		edit := editOf(sent, "two", 0)
		edit.ClientId = "e1"
		g.postAlter("ann", edit)
		recv(t, projecting)
		w.stop()
		dying.Store(false)
		w.start(on)
		g = w.gate()
		if c := code(g.alter("ann", editOf(sent, "three", 1))); c != "conflict" {
			t.Errorf("an edit of the first version = %q", c)
		}
		if c := code(g.alter("ann", editOf(sent, "three", 2))); c != "" {
			t.Errorf("an edit of the second version = %q", c)
		}
		if ack := g.alter("ann", edit).GetSendAck(); !ack.GetDuplicate() || ack.ConversationSeq != 2 {
			t.Errorf("the first edit again = %v", ack)
		}
		states, err := w.db.MessageStates(context.Background(), []im.MessageRef{{ConversationID: sent.ConversationId, ID: sent.MessageId}})
		must(t, err)
		if len(states) != 1 || states[0].Version != 3 || states[0].Seq != 3 {
			t.Errorf("the state is %+v", states)
		}
	})
}

// Whatever the store does, and whoever of the owners dies: what is kept of messages is
// what their events make of them, all see the same, and unread is the number of unread.
func TestMessagesChangeThroughAFaultyStore(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) { changeAtRandom(t, bare, seed) })
		}
	}
}

func changeAtRandom(t *testing.T, bare bool, seed uint64) {
	faulty := func(_ *transfer.Config, w *world) {
		faults := []storetest.Fault{storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost}
		if bare {
			w.store, faults = storetest.WithoutOutbox(w.db), append(faults, storetest.UnknownHalf)
		}
		w.store = storetest.Faulty(w.store, oneIn(8, seed, faults))
	}
	w := start(t, faulty)
	users := []string{"ann", "bob", "cy"}
	w.users(users...)
	random := rand.New(rand.NewPCG(seed, 7))
	g := w.gate()
	g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G"}, "bob", "cy")
	var sent []*imv1.SendAck
	emoji := []string{"👍", "❤️", "😂"}
	for round := range 4 {
		requests := 0
		for n := range 30 {
			by := users[random.IntN(len(users))]
			if len(sent) == 0 || random.IntN(3) == 0 {
				g.post(by, toGroup("g", fmt.Sprintf("m%d.%d", round, n), fmt.Sprint(round, ".", n)))
				requests++
				continue
			}
			if random.IntN(8) == 0 {
				g.postRead(by, im.GroupConversation("g"), random.Int64N(60))
				requests++
				continue
			}
			target := sent[random.IntN(len(sent))]
			change := reactionTo(target, emoji[random.IntN(3)], random.IntN(2) == 0)
			switch random.IntN(4) {
			case 0:
				change = editOf(target, fmt.Sprint("edit ", round, ".", n), int32(random.IntN(3)))
			case 1:
				change = recallOf(target)
			}
			change.ClientId = fmt.Sprintf("c%d.%d", round, n)
			for range 1 + random.IntN(2) { // once or twice
				g.postAlter(by, change)
				requests++
			}
		}
		for range requests {
			r := recv(t, g.replies)
			if c := code(r); c != "" && c != "forbidden" && c != "conflict" {
				t.Fatalf("answer %v", r)
			}
		}
		w.judgeMessages(g, users)
		w.restart(faulty)
		g = w.gate()
		sent = sent[:0]
		for _, e := range w.events(im.GroupConversation("g")) {
			if e.Kind == im.KindMessage {
				sent = append(sent, &imv1.SendAck{ConversationId: e.ConversationID, MessageId: e.ID})
			}
		}
	}
	w.judgeMessages(g, users)
}

// postRead marks a conversation as read, and does not wait for the answer.
func (g *gate) postRead(user, conversation string, upto int64) {
	g.t.Helper()
	body, err := (&imv1.Read{ConversationId: conversation, Upto: upto}).MarshalVT()
	must(g.t, err)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: g.request.Add(1), UserId: user, DeviceId: "d1", What: &imv1.Publish_Read{Read: body},
	}}})
}

func (w *world) events(conversation string) []im.Event {
	w.t.Helper()
	events, err := w.db.EventsAfter(context.Background(), conversation, 0, 10_000)
	must(w.t, err)
	return events
}

// fold is what a message is by its events, worked out as plainly as can be.
type fold struct {
	seq       int64
	sender    string
	text      string
	version   int32
	recalled  bool
	reactions map[string]map[string]bool
}

func foldOf(t *testing.T, events []im.Event) map[int64]*fold {
	folds := map[int64]*fold{}
	for _, e := range events {
		f := folds[e.TargetID]
		switch e.Kind {
		case im.KindMessage:
			var m imv1.Message
			must(t, m.UnmarshalVT(e.Body))
			folds[e.ID] = &fold{seq: e.Seq, sender: e.SenderID, text: m.Content.Text, version: 1, reactions: map[string]map[string]bool{}}
		case im.KindRecall:
			f.recalled = true
		case im.KindEdit:
			var said imv1.Edit
			must(t, said.UnmarshalVT(e.Body))
			if f.recalled || said.Version != f.version+1 || e.SenderID != f.sender {
				t.Errorf("event %d edits version %d of %+v to %d", e.Seq, f.version, f, said.Version)
			}
			f.text, f.version = said.Content.Text, said.Version
		case im.KindReaction:
			var said imv1.Reaction
			must(t, said.UnmarshalVT(e.Body))
			if f.recalled || f.reactions[said.Emoji][said.UserId] != said.Removed {
				t.Errorf("event %d reacts to %+v: %v", e.Seq, f, &said)
			}
			if f.reactions[said.Emoji] == nil {
				f.reactions[said.Emoji] = map[string]bool{}
			}
			f.reactions[said.Emoji][said.UserId] = !said.Removed
		}
	}
	return folds
}

// shownTo is the line that a fold is shown as.
func (f *fold) shownTo(user string, e *imv1.Entry) string {
	m := &imv1.Message{ConversationSeq: f.seq, SenderId: f.sender, Version: f.version, Recalled: f.recalled}
	if f.version > 1 {
		m.EditedAtMs = 1
	}
	if !f.recalled {
		m.Content = &imv1.Content{Text: f.text}
		for _, r := range e.Message.Reactions { // in the order shown
			count := &imv1.ReactionCount{Emoji: r.Emoji}
			for id, on := range f.reactions[r.Emoji] {
				if on {
					count.Count++
					count.Mine = count.Mine || id == user
				}
			}
			m.Reactions = append(m.Reactions, count)
		}
	}
	return showing(&imv1.Entry{Message: m})
}

func (f *fold) kinds() (n int) {
	for _, by := range f.reactions {
		for _, on := range by {
			if on {
				n++
				break
			}
		}
	}
	return n
}

// eventsIn are the entries of an inbox but receipts.
func (w *world) eventsIn(user string) []*imv1.Entry {
	return slices.DeleteFunc(w.inboxOf(user), func(e *imv1.Entry) bool { return e.Receipt != nil })
}

func (w *world) judgeMessages(g *gate, users []string) {
	w.t.Helper()
	events := w.events(im.GroupConversation("g"))
	folds := foldOf(w.t.(*testing.T), events)
	for i, user := range users {
		g.attach(uint64(i+1), user, "d1")
		entries := w.eventsIn(user)
		for len(entries) < len(events) {
			recv(w.t, g.pushes)
			entries = w.eventsIn(user)
		}
		unread := 0
		for at, e := range entries {
			m := e.Message
			if m == nil {
				continue
			}
			f := folds[m.MessageId]
			if m.ConversationSeq != events[at].Seq || m.MessageId != events[at].ID {
				w.t.Errorf("entry %d of %s is %v, want event %d", at, user, e, events[at].Seq)
			}
			if got, want := showing(e), f.shownTo(user, e); got != want || !f.recalled && len(m.Reactions) != f.kinds() {
				w.t.Errorf("%s sees %s, want %s with %d kinds", user, got, want, f.kinds())
			}
			if !e.HasRead && !m.Recalled && m.SenderId != user {
				unread++
			}
		}
		if len(entries) != len(events) {
			w.t.Errorf("%s has %d entries of %d events", user, len(entries), len(events))
		}
		marks, err := w.db.Marks(context.Background(), []im.ReadKey{{UserID: user, ConversationID: im.GroupConversation("g")}})
		must(w.t, err)
		counts, err := w.db.Unread(context.Background(), marks)
		must(w.t, err)
		if counts[0] != unread {
			w.t.Errorf("%s has %d unread entries, counted %d", user, unread, counts[0])
		}
	}
}
