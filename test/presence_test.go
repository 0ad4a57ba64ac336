package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// watch replaces whom a connection watches and returns how they are, by user.
func (r *raw) watch(ids ...string) map[string]*imv1.Presence {
	r.t.Helper()
	var reply imv1.WatchReply
	r.call(wire.OpWatch, &imv1.Watch{UserIds: ids}, wire.OpWatchReply, &reply)
	presences := map[string]*imv1.Presence{}
	for _, p := range reply.GetPresences() {
		presences[p.GetUserId()] = p
	}
	if len(presences) != len(ids) || len(reply.GetPresences()) != len(ids) {
		r.t.Fatalf("watching %v gives %v", ids, &reply)
	}
	return presences
}

// signalOf reads on to the next signal of one of these types.
func (r *raw) signalOf(kinds ...string) *imv1.Signal {
	r.t.Helper()
	for {
		frame, err := r.next()
		if err != nil {
			r.t.Fatalf("wait for a signal of type %v: %v", kinds, err)
		}
		var signal imv1.Signal
		if frame.Op != wire.OpSignal {
			continue
		}
		if err := wire.Unmarshal(frame.Form, frame.Body, &signal); err != nil {
			r.t.Fatal(err)
		}
		if slices.Contains(kinds, signal.GetType()) {
			return &signal
		}
	}
}

// signalsOf reads on until there is a signal of each of these types, in any order.
func (r *raw) signalsOf(kinds ...string) map[string]*imv1.Signal {
	r.t.Helper()
	found := map[string]*imv1.Signal{}
	for len(found) < len(kinds) {
		if signal := r.signalOf(kinds...); found[signal.GetType()] == nil {
			found[signal.GetType()] = signal
		}
	}
	return found
}

// untilPresence reads on until somebody is, or is not, online on these platforms.
func (r *raw) untilPresence(user string, platforms ...string) *imv1.Presence {
	r.t.Helper()
	for {
		p := client.PresenceOf(r.signalOf("presence"))
		if p.GetUserId() == user && p.GetOnline() == (len(platforms) > 0) && slices.Equal(p.GetPlatforms(), platforms) {
			return p
		}
	}
}

// Who watches is told who is online, on which platforms, and since when not any more: of
// those with whom they share a conversation. Each form in which a device may speak.
func TestPresenceIsWatched(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for n, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			names := []string{fmt.Sprint("ann", n), fmt.Sprint("bob", n), fmt.Sprint("cy", n), fmt.Sprint("eve", n)}
			users := s.users(names...)
			ann, bob, cy, eve := users[0], users[1], users[2], users[3]
			tokens := s.tokens(ann, "d", "web")
			me, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "d", "web"))
			sayMany(t, me, bob, 0, 1)
			if _, _, err := s.api().WithToken(tokens.AccessToken).CreateGroup(t.Context(), "G", cy); err != nil {
				t.Fatal(err)
			}
			began := time.Now().UnixMilli()

			// Offline are who never was there, a stranger who is, and who does not exist.
			stranger, _ := s.phone(t, s.tokens(eve, "p", "ios"), "p")
			got := me.watch(bob, cy, eve, "nobody")
			for id, p := range got {
				if p.GetOnline() || len(p.GetPlatforms())+int(p.GetLastSeenMs()) > 0 {
					t.Errorf("%s looks like %v", id, p)
				}
			}

			// When they come and go, on several platforms, each change is told.
			phone, _ := s.phone(t, s.tokens(bob, "p", "ios"), "p")
			phone.untilMessages(1)
			me.untilPresence(bob, "ios")
			desk, _ := s.raw(t, true, wire.Text, authOf(s.tokens(bob, "desk", "desktop"), "desk", "desktop"))
			desk.untilMessages(1)
			me.untilPresence(bob, "desktop", "ios")
			desk.conn.Close()
			me.untilPresence(bob, "ios")
			phone.leave()
			if p := me.untilPresence(bob); p.GetLastSeenMs() < began || p.GetLastSeenMs() > time.Now().UnixMilli() {
				t.Errorf("last seen at %d, between %d and now", p.GetLastSeenMs(), began)
			}

			// The set is replaced: of bob nothing more is told, of cy everything.
			if p := me.watch(cy, ann)[ann]; !p.GetOnline() || !slices.Equal(p.GetPlatforms(), []string{"web"}) {
				t.Errorf("oneself looks like %v", p)
			}
			again, _ := s.phone(t, s.tokens(bob, "p", "ios"), "p")
			again.untilMessages(1)
			other, _ := s.phone(t, s.tokens(cy, "p", "ios"), "p")
			if p := client.PresenceOf(me.signalOf("presence")); p.GetUserId() != cy || !p.GetOnline() {
				t.Errorf("told of %v", p)
			}
			if p := me.watch(bob)[bob]; !p.GetOnline() {
				t.Errorf("bob looks like %v", p)
			}
			if got := me.watch(); len(got) != 0 {
				t.Errorf("watching nobody gives %v", got)
			}
			stranger.heartbeat()
			other.heartbeat()

			// What can not be is refused, and changes nothing.
			me.watch(cy)
			many := make([]string, im.MaxWatched+1)
			for i := range many {
				many[i] = fmt.Sprint(i)
			}
			if err := me.request(wire.OpWatch, &imv1.Watch{UserIds: many}, wire.OpWatchReply, &imv1.WatchReply{}); codeOf(err) != im.TooLarge {
				t.Errorf("watching %d: %v", len(many), err)
			}
			if err := me.request(wire.OpWatch, &imv1.Watch{UserIds: []string{""}}, wire.OpWatchReply, &imv1.WatchReply{}); codeOf(err) != im.Invalid {
				t.Errorf("watching no id: %v", err)
			}
			other.leave()
			me.untilPresence(cy)
		})
	}
}

// Whoever is blocked is told nothing more of who blocked them, not even through a group
// that both are in: at once where they watch, and also where they begin to just then.
func TestABlockHidesPresence(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for n, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			users := s.users(fmt.Sprint("ann", n), fmt.Sprint("bob", n), fmt.Sprint("cy", n))
			ann, bob, cy := users[0], users[1], users[2]
			tokens, theirs := s.tokens(ann, "d", "web"), s.tokens(bob, "p", "ios")
			me, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "d", "web"))
			blocker := s.api().WithToken(theirs.AccessToken)
			if _, _, err := s.api().WithToken(tokens.AccessToken).CreateGroup(t.Context(), "G", bob, cy); err != nil {
				t.Fatal(err)
			}
			phone, _ := s.phone(t, theirs, "p")
			phone.until("the group", func() bool { return len(phone.entries) > 0 })
			if !me.watch(bob, cy)[bob].GetOnline() {
				me.untilPresence(bob, "ios")
			}
			if err := blocker.Block(t.Context(), ann); err != nil {
				t.Fatal(err)
			}
			if p := me.untilPresence(bob); p.GetLastSeenMs() != 0 {
				t.Errorf("who has blocked looks like %v", p)
			}

			// bob comes on another device, then cy: of bob nothing is told.
			comes := func(user, device, platform string) {
				t.Helper()
				conn, _ := s.raw(t, true, wire.Text, authOf(s.tokens(user, device, platform), device, platform))
				conn.until("the group", func() bool { return len(conn.entries) > 0 })
				t.Cleanup(func() { conn.conn.Close() })
			}
			silent := func(nth int) {
				t.Helper()
				comes(bob, fmt.Sprint("b", nth), "desktop")
				comes(cy, fmt.Sprint("c", nth), []string{"web", "desktop", "android", "tablet"}[nth])
				if p := client.PresenceOf(me.signalOf("presence")); p.GetUserId() != cy || !p.GetOnline() {
					t.Errorf("told of %v", p)
				}
			}
			silent(0)
			if p := me.watch(bob, cy)[bob]; p.GetOnline() || p.GetLastSeenMs() != 0 {
				t.Errorf("who has blocked looks like %v when asked for", p)
			}
			if p := phone.watch(ann)[ann]; !p.GetOnline() {
				t.Errorf("who is blocked looks like %v", p)
			}
			if err := blocker.Unblock(t.Context(), ann); err != nil {
				t.Fatal(err)
			}
			if p := me.watch(bob, cy)[bob]; !p.GetOnline() {
				t.Errorf("after the block bob looks like %v", p)
			}

			// Watched and blocked at once, whichever is first.
			for nth := 1; nth < 4; nth++ {
				me.watch()
				blocked := make(chan error, 1)
				go func() { blocked <- blocker.Block(t.Context(), ann) }()
				shown := me.watch(bob, cy)[bob].GetOnline()
				if err := <-blocked; err != nil {
					t.Fatal(err)
				}
				if shown {
					me.untilPresence(bob)
				}
				silent(nth)
				if err := blocker.Unblock(t.Context(), ann); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A device is online when it has been written what there was, not when it logs in.
func TestOnlineIsWhoHasItsBacklog(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.window": "10"})
	users := s.users("ann", "bob")
	me, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[0], "d", "web"), "d", "web"))
	sayMany(t, me, users[1], 0, 25)
	me.watch(users[1])
	phone, _ := s.phone(t, s.tokens(users[1], "p", "ios"), "p")
	phone.untilMessages(10) // the window is full
	phone.heartbeat()
	if p := me.watch(users[1])[users[1]]; p.GetOnline() {
		t.Errorf("online with a backlog: %v", p)
	}
	phone.ack(10)
	phone.untilMessages(20)
	if p := me.watch(users[1])[users[1]]; p.GetOnline() {
		t.Errorf("online with a backlog still: %v", p)
	}
	phone.ack(20)
	phone.untilMessages(25)
	me.untilPresence(users[1], "ios")
}

// When somebody was seen last is known after a restart, and the SDK watches again.
func TestPresenceOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob")
	tokens := s.tokens(users[0], "d", "web")
	me, _ := s.raw(t, true, wire.Text, authOf(tokens, "d", "web"))
	sayMany(t, me, users[1], 0, 1)
	phone, _ := s.phone(t, s.tokens(users[1], "p", "ios"), "p")
	phone.untilMessages(1)
	me.watch(users[1])
	phone.leave()
	seen := me.untilPresence(users[1]).GetLastSeenMs()
	s.restart()
	me, _ = s.raw(t, true, wire.Text, authOf(tokens, "d", "web"))
	p := me.watch(users[1])[users[1]]
	if p.GetLastSeenMs() == 0 { // the owner waits for who may attach again
		p = me.untilPresence(users[1])
	}
	if off := p.GetLastSeenMs() - seen; p.GetOnline() || off < -1000 || off > 1000 {
		t.Errorf("bob looks like %v, last seen at %d", p, seen)
	}
}

// In a group who is online is told how far somebody has read, and who is typing.
func TestAGroupIsToldWhoReadsAndTypes(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("a", "b", "c", "d", "e", "stranger")
	members := make([]*groupDevice, len(users))
	for i, user := range users {
		tokens := s.tokens(user, "d", "web")
		way := transports[i%len(transports)]
		r, _ := s.raw(t, way.websocket, way.form, authOf(tokens, "d", "web"))
		members[i] = &groupDevice{raw: r, id: user, api: s.api().WithToken(tokens.AccessToken)}
	}
	reader, stranger := members[1], members[5]
	group, conversation, err := members[0].api.CreateGroup(t.Context(), "Five", users[1:5]...)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, err := members[0].say(toGroup(group, fmt.Sprint(n), "x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members[:5] {
		m.untilMessages(3)
	}
	typing := &imv1.Signal{To: client.ToGroup(group), Type: "typing"}
	reader.send(wire.OpSignal, typing)
	var reply imv1.ReadReply
	reader.call(wire.OpRead, &imv1.Read{ConversationId: conversation, Upto: 3}, wire.OpReadReply, &reply)
	for i, m := range members[:5] {
		if m == reader {
			continue
		}
		told := m.signalsOf("typing", "read") // nothing says which comes first
		if got := told["typing"]; got.GetFrom().GetUserId() != reader.id || got.GetConversationId() != conversation {
			t.Errorf("%d is told %v", i, got)
		}
		got := told["read"]
		if mark, ok := client.ReadOf(got); !ok || mark != (client.ReadMark{UserID: reader.id, Upto: 3}) || got.GetConversationId() != conversation {
			t.Errorf("%d is told %v", i, got)
		}
	}
	// Marks that follow each other closely are told together: the last one always is.
	for upto := int64(4); upto <= 4; upto++ {
		reader.call(wire.OpRead, &imv1.Read{ConversationId: conversation, Upto: upto}, wire.OpReadReply, &reply)
	}
	if mark, _ := client.ReadOf(members[4].signalOf("read")); mark.Upto != 4 {
		t.Errorf("told of %v", mark)
	}
	reads, err := members[2].api.Reads(t.Context(), conversation)
	if err != nil || !slices.Contains(reads, client.ReadMark{UserID: reader.id, Upto: 4}) || len(reads) != 5 {
		t.Errorf("reads %v (%v)", reads, err)
	}
	if _, err := stranger.api.Reads(t.Context(), conversation); codeOf(err) != im.NotFound {
		t.Errorf("a stranger asks who has read: %v", err)
	}
	sequence := stranger.send(wire.OpSignal, typing)
	frame, err := stranger.next()
	if err != nil || frame.Op != wire.OpError || frame.Seq != sequence || stranger.refused != im.NotFound {
		t.Errorf("a stranger types: %v %v (%v)", frame.Op, stranger.refused, err)
	}
	for _, kind := range []string{"read", "presence"} {
		sequence := reader.send(wire.OpSignal, &imv1.Signal{To: client.ToGroup(group), Type: kind})
		for frame, err = reader.next(); err == nil && frame.Seq != sequence; {
			frame, err = reader.next()
		}
		if err != nil || frame.Op != wire.OpError || reader.refused != im.Invalid {
			t.Errorf("a client's signal of type %s: %v %v (%v)", kind, frame.Op, reader.refused, err)
		}
	}
}
