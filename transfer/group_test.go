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

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// change asks for something to be done to a group and returns its request number.
func (g *gate) postChange(from, group, id string, action im.Action, data map[string]any, users ...string) uint64 {
	g.t.Helper()
	c := &imv1.GroupChange{ClientId: id, GroupId: group, Membership: &imv1.Membership{Action: string(action), UserIds: users}}
	if data != nil {
		s, err := structpb.NewStruct(data)
		must(g.t, err)
		c.Membership.Data = s
	}
	body, err := c.MarshalVT()
	must(g.t, err)
	n := g.request.Add(1)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: n, UserId: from, DeviceId: "d1", What: &imv1.Publish_Change{Change: body}, StampClientId: true,
	}}})
	return n
}

func (g *gate) change(from, group string, action im.Action, data map[string]any, users ...string) *imv1.Reply {
	g.t.Helper()
	n := g.postChange(from, group, "", action, data, users...)
	reply := recv(g.t, g.replies)
	if reply.Request != n {
		g.t.Fatalf("reply to request %d, want %d", reply.Request, n)
	}
	return reply
}

// done is a change that must succeed.
func (g *gate) done(from, group string, action im.Action, data map[string]any, users ...string) {
	g.t.Helper()
	if r := g.change(from, group, action, data, users...); code(r) != "" {
		g.t.Fatalf("%s %s %v by %s = %v", action, group, users, from, r)
	}
}

func toGroup(group, id, body string) *imv1.Send {
	return &imv1.Send{
		ClientMsgId: id, To: &imv1.To{To: &imv1.To_GroupId{GroupId: group}}, Content: &imv1.Content{Type: "text", Text: body},
	}
}

// inboxOf reads a user's inbox from its beginning.
func (w *world) inboxOf(user string) (entries []*imv1.Entry) {
	w.t.Helper()
	for after, more := int64(0), true; more; {
		page, err := imv1.NewTransferClient(w.conn).Pull(context.Background(), &imv1.PullRequest{UserId: user, After: &after, Limit: 200})
		must(w.t, err)
		for _, encoded := range page.Entries {
			e := &imv1.Entry{}
			must(w.t, e.UnmarshalVT(encoded))
			entries = append(entries, e)
			after = e.Seq
		}
		more = page.HasMore
	}
	return entries
}

// shown writes an entry of a group as a line.
func shown(e *imv1.Entry) string {
	if m := e.Membership; m != nil {
		line := fmt.Sprintf("%d %s %s by %s", m.ConversationSeq, m.Action, strings.Join(m.UserIds, ","), m.By)
		for _, key := range []string{"name", "role", "muted_until_ms", "text"} {
			if v := m.Data.GetFields()[key]; v != nil {
				line += " " + key + "=" + v.GetStringValue()
			}
		}
		return line
	}
	return fmt.Sprintf("%d %s by %s", e.Message.ConversationSeq, e.Message.Content.Text, e.Message.SenderId)
}

// sees waits until an inbox has these lines.
func (w *world) sees(g *gate, session uint64, user string, want ...string) {
	w.t.Helper()
	g.attach(session, user, "d1")
	var got []string
	for {
		got = nil
		for _, e := range w.inboxOf(user) {
			got = append(got, shown(e))
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

func TestTheLifeOfAGroup(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(_ *transfer.Config, w *world) {
				if bare {
					w.store = storetest.WithoutOutbox(w.db)
				}
			})
			w.users("ann", "bob", "cy", "dan", "eve")
			g := w.gate()
			g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G"}, "bob", "cy", "ann", "bob")
			g.send("bob", toGroup("g", "m1", "hello"))
			g.done("bob", "g", im.ActionJoined, nil, "dan", "cy")
			g.send("dan", toGroup("g", "m2", "thanks"))
			g.done("cy", "g", im.ActionLeft, nil)
			g.done("ann", "g", im.ActionRole, map[string]any{"role": "admin"}, "bob")
			g.done("bob", "g", im.ActionMuted, map[string]any{"muted_until_ms": "99999999999999"}, "dan")
			g.done("bob", "g", im.ActionRemoved, nil, "dan")
			g.done("ann", "g", im.ActionOwner, nil, "bob")
			g.done("bob", "g", im.ActionChanged, map[string]any{"name": "H", "join": "request"})
			g.done("eve", "g", im.ActionRequested, map[string]any{"text": "please"})
			g.done("ann", "g", im.ActionRefused, nil, "eve")
			g.done("cy", "g", im.ActionRequested, nil)
			g.done("bob", "g", im.ActionAccepted, nil, "cy")
			g.send("cy", toGroup("g", "m3", "back"))
			g.done("bob", "g", im.ActionDissolved, nil)
			all := []string{
				"1 created bob,cy by ann name=G", "2 hello by bob", "3 joined dan by bob", "4 thanks by dan", "5 left cy by cy",
				"6 role bob by ann role=admin", "7 muted dan by bob muted_until_ms=99999999999999", "8 removed dan by bob",
				"9 owner bob by ann", "10 changed  by bob name=H", "11 requested eve by eve text=please", "12 refused eve by ann",
				"13 requested cy by cy", "14 joined cy by bob", "15 back by cy", "16 dissolved  by bob",
			}
			w.sees(g, 1, "ann", all...)
			w.sees(g, 2, "bob", all...)
			w.sees(g, 3, "cy", append(slices.Clone(all[:5]), all[13:]...)...)
			w.sees(g, 4, "dan", all[2:8]...)
			w.sees(g, 5, "eve", all[11])
			for i, c := range []string{
				code(g.send("ann", toGroup("g", "m4", "x"))), code(g.change("bob", "g", im.ActionJoined, nil, "dan")),
				code(g.change("eve", "g", im.ActionRequested, nil)),
			} {
				if c != "not_found" {
					t.Errorf("%d in a dissolved group = %q, want not_found", i, c)
				}
			}
		})
	}
}

func TestWhoMayChangeAGroup(t *testing.T) {
	w := start(t)
	w.users("owner", "admin", "admin2", "member", "member2", "guest")
	g := w.gate()
	g.done("owner", "g", im.ActionCreated, map[string]any{"name": "G", "join": "closed"}, "admin", "admin2", "member", "member2")
	g.done("owner", "g", im.ActionRole, map[string]any{"role": "admin"}, "admin")
	g.done("owner", "g", im.ActionRole, map[string]any{"role": "admin"}, "admin2")
	role, until := map[string]any{"role": "admin"}, map[string]any{"muted_until_ms": 99999999999999.0}
	for _, c := range []struct {
		by     string
		action im.Action
		data   map[string]any
		users  []string
		want   string
	}{
		{"guest", im.ActionJoined, nil, []string{"guest"}, "not_found"},
		{"guest", im.ActionLeft, nil, nil, "not_found"},
		{"guest", im.ActionRequested, nil, nil, "not_found"},
		{"guest", im.ActionChanged, map[string]any{"name": "x"}, nil, "not_found"},
		{"guest", im.ActionDissolved, nil, nil, "not_found"},
		{"member", im.ActionJoined, nil, []string{"guest"}, "forbidden"},
		{"member", im.ActionRemoved, nil, []string{"member2"}, "forbidden"},
		{"member", im.ActionRole, role, []string{"member"}, "forbidden"},
		{"member", im.ActionMuted, until, []string{"member2"}, "forbidden"},
		{"member", im.ActionOwner, nil, []string{"member"}, "forbidden"},
		{"member", im.ActionChanged, map[string]any{"name": "x"}, nil, "forbidden"},
		{"member", im.ActionDissolved, nil, nil, "forbidden"},
		{"member", im.ActionAccepted, nil, []string{"guest"}, "forbidden"},
		{"admin", im.ActionRemoved, nil, []string{"admin2"}, "forbidden"},
		{"admin", im.ActionRemoved, nil, []string{"owner"}, "forbidden"},
		{"admin", im.ActionMuted, until, []string{"admin2"}, "forbidden"},
		{"admin", im.ActionMuted, until, []string{"owner"}, "forbidden"},
		{"admin", im.ActionRole, role, []string{"member"}, "forbidden"},
		{"admin", im.ActionOwner, nil, []string{"admin"}, "forbidden"},
		{"admin", im.ActionDissolved, nil, nil, "forbidden"},
		{"owner", im.ActionLeft, nil, nil, "forbidden"},
		{"admin", im.ActionRemoved, nil, []string{"guest"}, "not_found"},
		{"owner", im.ActionOwner, nil, []string{"guest"}, "not_found"},
		{"owner", im.ActionJoined, nil, []string{"nobody"}, "not_found"},
		{"owner", im.ActionAccepted, nil, []string{"guest"}, "not_found"},
		{"owner", im.ActionCreated, map[string]any{"name": "again"}, nil, "conflict"},
		{"owner", im.ActionCreated, nil, nil, "invalid"},
		{"owner", im.ActionChanged, nil, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"name": ""}, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"name": strings.Repeat("x", 129)}, nil, "too_large"},
		{"owner", im.ActionChanged, map[string]any{"name": true}, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"mute_all": "yes"}, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"color": "red"}, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"join": "never"}, nil, "invalid"},
		{"owner", im.ActionChanged, map[string]any{"history": "some"}, nil, "invalid"},
		{"owner", im.ActionRole, map[string]any{"role": "owner"}, []string{"member"}, "invalid"},
		{"owner", im.ActionMuted, map[string]any{"muted_until_ms": "soon"}, []string{"member"}, "invalid"},
		{"owner", im.ActionMuted, map[string]any{"muted_until_ms": "1795000000"}, []string{"member"}, "invalid"}, // seconds
		{"owner", im.ActionRemoved, nil, []string{"member", "member2"}, "invalid"},
		{"owner", im.ActionRemoved, nil, nil, "invalid"},
		{"owner", "promoted", nil, []string{"member"}, "invalid"},
	} {
		if got := code(g.change(c.by, "g", c.action, c.data, c.users...)); got != c.want {
			t.Errorf("%s %v by %s = %q, want %s", c.action, c.users, c.by, got, c.want)
		}
	}
	for _, c := range []struct {
		by     string
		action im.Action
		data   map[string]any
		users  []string
	}{ // in force already
		{"owner", im.ActionRole, role, []string{"admin"}}, {"owner", im.ActionOwner, nil, []string{"owner"}},
		{"owner", im.ActionJoined, nil, []string{"member", "admin"}}, {"admin", im.ActionChanged, map[string]any{"name": "G"}, nil},
		{"admin", im.ActionMuted, map[string]any{"muted_until_ms": "0"}, []string{"member"}},
	} {
		if ack := g.change(c.by, "g", c.action, c.data, c.users...).GetSendAck(); ack == nil || ack.MessageId != 0 {
			t.Errorf("%s %v by %s = %v, want an ack without an event", c.action, c.users, c.by, ack)
		}
	}
	if ack := g.send("member", toGroup("g", "m1", "x")).GetSendAck(); ack.GetConversationSeq() != 4 {
		t.Errorf("after all that was refused: %v, want seq 4", ack)
	}
}

func TestWhoMaySendToAGroup(t *testing.T) {
	w := start(t)
	w.users("ann", "bob", "cy")
	g := w.gate()
	if c := code(g.send("ann", toGroup("g", "m0", "x"))); c != "not_found" {
		t.Errorf("to a group that is not there = %q", c)
	}
	g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G"}, "bob")
	if c := code(g.send("cy", toGroup("g", "m0", "x"))); c != "not_found" {
		t.Errorf("by who is no member = %q", c)
	}
	g.send("bob", toGroup("g", "m1", "before"))
	g.done("ann", "g", im.ActionMuted, map[string]any{"muted_until_ms": "99999999999999"}, "bob")
	if c := code(g.send("bob", toGroup("g", "m2", "x"))); c != "forbidden" {
		t.Errorf("by who is muted = %q", c)
	}
	if ack := g.send("bob", toGroup("g", "m1", "before")).GetSendAck(); !ack.GetDuplicate() {
		t.Errorf("what was sent before = %v, want a duplicate", ack)
	}
	g.done("ann", "g", im.ActionMuted, map[string]any{"muted_until_ms": "0"}, "bob")
	g.done("ann", "g", im.ActionChanged, map[string]any{"mute_all": true})
	if c := code(g.send("bob", toGroup("g", "m3", "x"))); c != "forbidden" {
		t.Errorf("by a member of a muted group = %q", c)
	}
	if c := code(g.send("ann", toGroup("g", "m4", "x"))); c != "" {
		t.Errorf("by its owner = %q", c)
	}
	g.done("ann", "g", im.ActionRemoved, nil, "bob")
	if ack := g.send("bob", toGroup("g", "m1", "before")).GetSendAck(); !ack.GetDuplicate() {
		t.Errorf("what was sent before, by who was removed = %v, want a duplicate", ack)
	}
}

func TestAGroupIsFullAt500(t *testing.T) {
	w := start(t)
	var ids []string
	for i := range im.MaxGroupMembers + 1 {
		ids = append(ids, fmt.Sprintf("u%03d", i))
	}
	w.users(ids...)
	g := w.gate()
	data := map[string]any{"name": "G", "join": "open"}
	if c := code(g.change("u000", "h", im.ActionCreated, data, ids[1:]...)); c != "too_large" {
		t.Errorf("501 members = %q", c)
	}
	g.done("u000", "g", im.ActionCreated, data, ids[1:500]...)
	if c := code(g.change("u000", "g", im.ActionJoined, nil, "u500")); c != "too_large" {
		t.Errorf("the 501st = %q", c)
	}
	if c := code(g.change("u500", "g", im.ActionRequested, nil)); c != "too_large" {
		t.Errorf("the 501st by themselves = %q", c)
	}
	g.done("u001", "g", im.ActionLeft, nil)
	g.done("u500", "g", im.ActionRequested, nil)
}

// Whatever the store does, and whoever of the owners dies, all who are members at a
// message's seq get it, nobody else does, and all see one order.
func TestMembersComeAndGoThroughAFaultyStore(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				faulty := func(_ *transfer.Config, w *world) {
					faults := []storetest.Fault{storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost}
					if bare {
						w.store, faults = storetest.WithoutOutbox(w.db), append(faults, storetest.UnknownHalf)
					}
					w.store = storetest.Faulty(w.store, oneIn(8, seed, faults))
				}
				w := start(t, faulty)
				users := []string{"ann", "bob", "cy", "dan"}
				w.users(users...)
				random := rand.New(rand.NewPCG(seed, 1))
				g := w.gate()
				g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G", "join": "open"})
				sends := 0
				for range 4 {
					requests := 0
					for range 30 {
						by := users[random.IntN(len(users))]
						switch what := random.IntN(10); {
						case what < 6:
							sends++
							for range 1 + random.IntN(2) { // once or twice
								g.post(by, toGroup("g", fmt.Sprint("m", sends), fmt.Sprint(sends)))
								requests++
							}
						case what < 8:
							g.postChange(by, "g", "", im.ActionRequested, nil)
							requests++
						case what < 9:
							g.postChange("ann", "g", "", im.ActionRemoved, nil, by)
							requests++
						default:
							g.postChange(by, "g", "", im.ActionLeft, nil)
							requests++
						}
					}
					for range requests {
						r := recv(t, g.replies)
						if c := code(r); c != "" && c != "not_found" && c != "forbidden" {
							t.Fatalf("answer %v", r)
						}
					}
					if bare { // the queue in memory ends with its process, and no outbox makes up for it
						w.judgeGroup(g, "g", users)
					}
					w.restart(faulty)
					g = w.gate()
				}
				w.judgeGroup(g, "g", users)
			})
		}
	}
}

// An owner that has stored a change and dies before it is projected leaves it to the
// next one, also where the change made the group.
func TestAChangeThatWasStoredAndNotProjected(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		t.Run(name, func(t *testing.T) {
			var dying atomic.Bool
			projecting := make(chan struct{}, 100)
			on := func(_ *transfer.Config, w *world) {
				if bare {
					w.store = storetest.WithoutOutbox(w.db)
				}
				w.store = storetest.Faulty(w.store, storetest.PlanFunc(func(write string, _ int) storetest.Fault {
					if write != "Project" || !dying.Load() {
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
			die := func() {
				recv(t, projecting)
				w.stop()
				dying.Store(false)
				for len(projecting) > 0 {
					<-projecting
				}
				w.start(on)
				g = w.gate()
			}
			dying.Store(true)
			g.postChange("ann", "g", "c1", im.ActionCreated, map[string]any{"name": "G"})
			die()
			g.postChange("ann", "g", "c1", im.ActionCreated, map[string]any{"name": "G"})
			if ack := recv(t, g.replies).GetSendAck(); !ack.GetDuplicate() || ack.ConversationSeq != 1 {
				t.Fatalf("made again: %v, want the original", ack)
			}
			w.sees(g, 1, "ann", "1 created  by ann name=G") // before the queue ends with its process
			dying.Store(true)
			g.postChange("ann", "g", "c2", im.ActionJoined, nil, "bob")
			die()
			if ack := g.send("bob", toGroup("g", "m1", "hi")).GetSendAck(); ack.GetConversationSeq() != 3 {
				t.Fatalf("who was let in sends: %v, want seq 3", ack)
			}
			g.postChange("ann", "g", "c2", im.ActionJoined, nil, "bob")
			if ack := recv(t, g.replies).GetSendAck(); !ack.GetDuplicate() || ack.ConversationSeq != 2 {
				t.Fatalf("let in again: %v, want the original", ack)
			}
			want := []string{"1 created  by ann name=G", "2 joined bob by ann", "3 hi by bob"}
			if bare { // the queue in memory has lost the change: it came in by its repeat
				want[1], want[2] = want[2], want[1]
			}
			w.sees(g, 1, "ann", want...)
			w.sees(g, 2, "bob", want[1:]...)
		})
	}
}

// A repeat goes once more to those who were members at its seq, also if they have left.
func TestARepeatGoesToWhoWasThere(t *testing.T) {
	w := start(t, func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	w.users("ann", "bob")
	g := w.gate()
	g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G"}, "bob")
	g.done("ann", "h", im.ActionCreated, map[string]any{"name": "H"})
	g.send("ann", toGroup("h", "m", "hi"))
	w.sees(g, 1, "ann", "1 created bob by ann name=G", "1 created  by ann name=H", "2 hi by ann") // before the queue ends with its process
	w.sees(g, 2, "bob", "1 created bob by ann name=G")
	stored, err := w.db.EventsAfter(context.Background(), im.GroupConversation("h"), 1, 1)
	must(t, err)
	// An owner has stored a message of g and bob's leaving, and died before it could
	// fan either out.
	id := im.GroupConversation("g")
	message := stored[0]
	message.ID, message.ConversationID, message.Seq, message.AtMs = message.ID+1, id, 2, time.Now().UnixMilli()
	body, err := (&imv1.Membership{Action: "left", UserIds: []string{"bob"}, By: "bob"}).MarshalVT()
	must(t, err)
	must(t, w.db.InsertEvents(context.Background(), []im.Event{message, {
		ID: message.ID + 1, ConversationID: id, Seq: 3, Kind: im.KindMembership, SenderID: "bob", DeviceID: "d1", ClientID: "c",
		AtMs: message.AtMs, Body: body,
	}}, nil))
	must(t, w.db.Project(context.Background(), []im.Conversation{{ID: id, AppliedSeq: 3, LastSeq: 3}}, []im.Member{
		{ConversationID: id, UserID: "bob", JoinedSeq: 1, LeftSeq: 3, Role: "member", Seq: 3},
	}))
	w.restart(func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	g = w.gate()
	if ack := g.send("ann", toGroup("g", "m", "hi")).GetSendAck(); !ack.GetDuplicate() || ack.ConversationSeq != 2 {
		t.Fatalf("repeat = %v, want the original", ack)
	}
	w.sees(g, 1, "ann", "1 created bob by ann name=G", "1 created  by ann name=H", "2 hi by ann", "2 hi by ann")
	w.sees(g, 2, "bob", "1 created bob by ann name=G", "2 hi by ann")
}

// judgeGroup compares every inbox with what the group's events say.
func (w *world) judgeGroup(g *gate, group string, users []string) {
	w.t.Helper()
	events, err := w.db.EventsAfter(context.Background(), im.GroupConversation(group), 0, 10_000)
	must(w.t, err)
	want := map[string][]string{}
	inside := map[string]bool{}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			w.t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
		entry := &imv1.Entry{Membership: &imv1.Membership{}}
		recipients := map[string]bool{}
		if e.Kind == im.KindMembership {
			must(w.t, entry.Membership.UnmarshalVT(e.Body))
			entry.Membership.ConversationSeq = e.Seq
			switch im.Action(entry.Membership.Action) {
			case im.ActionCreated:
				inside[e.SenderID] = true
			case im.ActionJoined:
				for _, id := range entry.Membership.UserIds {
					if inside[id] {
						w.t.Errorf("%s joined twice at %d", id, e.Seq)
					}
					inside[id] = true
				}
			}
			for id := range inside {
				recipients[id] = true
			}
			if action := im.Action(entry.Membership.Action); action == im.ActionLeft || action == im.ActionRemoved {
				delete(inside, entry.Membership.UserIds[0])
			}
		} else {
			m := &imv1.Message{}
			must(w.t, m.UnmarshalVT(e.Body))
			m.ConversationSeq, m.SenderId = e.Seq, e.SenderID
			entry = &imv1.Entry{Message: m}
			if !inside[e.SenderID] {
				w.t.Errorf("%s sent %d as no member", e.SenderID, e.Seq)
			}
			for id := range inside {
				recipients[id] = true
			}
		}
		for id := range recipients {
			want[id] = append(want[id], shown(entry))
		}
	}
	for i, user := range users {
		w.sees(g, uint64(i+1), user, want[user]...)
	}
}

// A group is made also where a message to it, which is judged after it, comes with it.
func TestAGroupIsMadeInFrontOfAMessageToIt(t *testing.T) {
	w := start(t)
	w.users("ann", "bob")
	g := w.gate()
	data, err := structpb.NewStruct(map[string]any{"name": "G"})
	must(t, err)
	change := &imv1.GroupChange{ClientId: "c1", GroupId: "g", Membership: &imv1.Membership{
		Action: string(im.ActionCreated), UserIds: []string{"bob"}, Data: data,
	}}
	made, err := change.MarshalVT()
	must(t, err)
	sent, err := toGroup("g", "m1", "hello").MarshalVT()
	must(t, err)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{
		{Session: 1, Request: 1, UserId: "ann", DeviceId: "d1", What: &imv1.Publish_Change{Change: made}},
		{Session: 1, Request: 2, UserId: "ann", DeviceId: "d1", What: &imv1.Publish_Send{Send: sent}},
	}})
	for range 2 {
		if r := recv(t, g.replies); r.GetSendAck() == nil {
			t.Errorf("reply to request %d = %v", r.Request, r)
		}
	}
	w.sees(g, 1, "bob", "1 created bob by ann name=G", "2 hello by ann")
}
