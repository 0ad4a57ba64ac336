package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var conversationTests = []testCase{
	{"unknown have only their id", unknownConversation},
	{"keep what was projected", projected},
	{"take each column only upwards", projectedLate},
	{"take members only when newer", projectedMembers},
	{"have the head of their messages", headOfMessages},
	{"have the changes that are not applied", unappliedChanges},
	{"of a group or room have its events before its row", withoutRow},
	{"know who was there at an event", staysAtEvents},
	{"projected by many at once end at the newest", projectedTogether},
}

func unknownConversation(t *testing.T, s StoreUnderTest) {
	known := direct(t, s, "u", "v")
	states, err := s.Conversations(background(), []string{"x", known, "x"})
	must(t, err)
	equal(t, "unknown", states[0], im.ConversationState{Conversation: im.Conversation{ID: "x"}})
	equal(t, "asked again", states[2], states[0])
	equal(t, "known", states[1].ID, known)
	equal(t, "known exists", states[1].Exists, true)
}

func projected(t *testing.T, s StoreUnderTest) {
	id := im.GroupConversation("g")
	want := im.ConversationState{
		Conversation: im.Conversation{
			ID: id, Type: im.Group, Key: "g", AppliedSeq: 4, LastSeq: 6, LastAtMs: startMs, CreatedAt: startMs - 1, Settings: []byte{9},
		},
		Exists: true,
		Members: []im.Member{
			{ConversationID: id, UserID: "a", JoinedSeq: 1, LeftSeq: im.Forever, Role: "owner", Seq: 1},
			{ConversationID: id, UserID: "b", JoinedSeq: 5, LeftSeq: im.Forever, MutedUntilMs: startMs, Blocked: true, Seq: 6},
		},
	}
	past := []im.Member{
		{ConversationID: id, UserID: "b", JoinedSeq: 1, LeftSeq: 3, Seq: 3},
		{ConversationID: id, UserID: "c", JoinedSeq: 1, LeftSeq: 4, Seq: 4},
	}
	for range 2 {
		must(t, s.Project(background(), []im.Conversation{want.Conversation}, append(past, want.Members...)))
		states, err := s.Conversations(background(), []string{id})
		must(t, err)
		sortMembers(states[0].Members)
		equal(t, "state", states[0], want)
	}
	must(t, s.Project(background(), nil, nil))
}

func sortMembers(members []im.Member) {
	slices.SortFunc(members, func(a, b im.Member) int { return cmp.Compare(a.UserID, b.UserID) })
}

func projectedLate(t *testing.T, s StoreUnderTest) {
	id := im.GroupConversation("g")
	write := func(applied, last, at int64, settings string) im.Conversation {
		c := im.Conversation{
			ID: id, Type: im.Group, Key: "g", AppliedSeq: applied, LastSeq: last, LastAtMs: at, CreatedAt: startMs, Settings: []byte(settings),
		}
		must(t, s.Project(background(), []im.Conversation{c}, nil))
		states, err := s.Conversations(background(), []string{id})
		must(t, err)
		return states[0].Conversation
	}
	write(5, 5, 50, "five")
	got := write(4, 7, 40, "late")
	equal(t, "late applied", []any{got.AppliedSeq, got.LastSeq, got.LastAtMs, string(got.Settings)}, []any{int64(5), int64(7), int64(50), "five"})
	got = write(6, 3, 60, "six")
	equal(t, "late last", []any{got.AppliedSeq, got.LastSeq, got.LastAtMs, string(got.Settings)}, []any{int64(6), int64(7), int64(60), "six"})
	again := write(6, 7, 60, "not this")
	equal(t, "double", again, got)

	foreign := im.Conversation{ID: id, Type: im.Room, Key: "other", CreatedAt: 1, AppliedSeq: 9, LastSeq: 9, LastAtMs: 90}
	must(t, s.Project(background(), []im.Conversation{foreign}, nil))
	states, err := s.Conversations(background(), []string{id})
	must(t, err)
	c := states[0].Conversation
	equal(t, "fixed at creation", []any{c.Type, c.Key, c.CreatedAt}, []any{im.Group, "g", startMs})
	equal(t, "nil settings leave those stored", string(c.Settings), "six")
}

func projectedMembers(t *testing.T, s StoreUnderTest) {
	id := im.GroupConversation("g")
	write := func(left, seq int64, role string) []im.Member {
		m := im.Member{ConversationID: id, UserID: "u", JoinedSeq: 1, LeftSeq: left, Role: role, Seq: seq}
		must(t, s.Project(background(), nil, []im.Member{m}))
		stays, err := s.Stays(background(), "u", id)
		must(t, err)
		return stays
	}
	write(im.Forever, 1, "member")
	stays := write(8, 8, "left")
	equal(t, "late", write(im.Forever, 5, "admin"), stays)
	equal(t, "double", write(im.Forever, 8, "double"), stays)
	equal(t, "role", stays[0].Role, "left")
	equal(t, "newer", write(8, 9, "newer")[0].Role, "newer")
}

func headOfMessages(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	must(t, s.InsertEvents(background(), messages(id, "u", 1, 12), nil))
	states, err := s.Conversations(background(), []string{id})
	must(t, err)
	equal(t, "head", states[0].Head, int64(12))
	equal(t, "hint", states[0].LastSeq, int64(0))
}

// changed makes an event that is no message of one.
func changed(event im.Event) im.Event {
	event.Kind, event.Counted, event.Body = im.KindMembership, false, []byte("change")
	return event
}

func unappliedChanges(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	events := messages(id, "u", 1, 6)
	events[1], events[3], events[4] = changed(events[1]), changed(events[3]), changed(events[4])
	must(t, s.InsertEvents(background(), events, nil))
	applied := func(upto int64) []im.Event {
		must(t, s.Project(background(), []im.Conversation{{ID: id, AppliedSeq: upto}}, nil))
		states, err := s.Conversations(background(), []string{id})
		must(t, err)
		return states[0].Changes
	}
	equal(t, "above 2", applied(2), []im.Event{events[3], events[4]})
	equal(t, "above 4", applied(4), []im.Event{events[4]})
	equal(t, "above 5", len(applied(5)), 0)
	equal(t, "above 6", len(applied(6)), 0)
}

// A group begins with an event: who stored it may have died before its row was made.
func withoutRow(t *testing.T, s StoreUnderTest) {
	for _, id := range []string{im.GroupConversation("g"), im.RoomConversation("r")} {
		made := messages(id, "u", 1, 2)
		event := changed(made[0])
		must(t, s.InsertEvents(background(), []im.Event{event, made[1]}, nil))
		states, err := s.Conversations(background(), []string{id})
		must(t, err)
		equal(t, "state", states[0], im.ConversationState{
			Conversation: im.Conversation{ID: id}, Head: 2, Changes: []im.Event{event},
		})
		page, err := s.EventsAfter(background(), id, 1, 10)
		must(t, err)
		equal(t, "what was said in it", len(page), 1)
	}
}

func staysAtEvents(t *testing.T, s StoreUnderTest) {
	id, other := im.GroupConversation("g"), im.GroupConversation("h")
	stay := func(id, user string, joined, left int64) im.Member {
		return im.Member{ConversationID: id, UserID: user, JoinedSeq: joined, LeftSeq: left, Role: "member", Seq: joined}
	}
	a, b := stay(id, "a", 1, im.Forever), stay(id, "b", 2, 4)
	again, c := stay(id, "b", 6, im.Forever), stay(id, "c", 3, 3)
	must(t, s.Project(background(), []im.Conversation{{ID: id, Type: im.Group, Key: "g", AppliedSeq: 6}},
		[]im.Member{a, b, again, c, stay(other, "x", 1, im.Forever)}))
	for seq, want := range map[int64][]im.Member{1: {a}, 2: {a, b}, 3: {a, b, c}, 4: {a, b}, 5: {a}, 6: {a, again}, 9: {a, again}} {
		got, err := s.StaysAt(background(), im.EventRef{ConversationID: id, Seq: seq})
		must(t, err)
		sortMembers(got)
		equal(t, fmt.Sprint("at ", seq), got, want)
	}
}

func projectedTogether(t *testing.T, s StoreUnderTest) {
	id := im.GroupConversation("g")
	errs := together(16, func(i int) error {
		n := int64(i + 1)
		return s.Project(background(),
			[]im.Conversation{{ID: id, Type: im.Group, Key: "g", CreatedAt: startMs, AppliedSeq: n, LastSeq: 17 - n, Settings: []byte(fmt.Sprint(n))}},
			[]im.Member{{ConversationID: id, UserID: "u", JoinedSeq: 1, LeftSeq: im.Forever, Seq: n, Role: fmt.Sprint(n)}})
	})
	for _, err := range errs {
		must(t, err)
	}
	states, err := s.Conversations(background(), []string{id})
	must(t, err)
	c := states[0]
	equal(t, "newest", []any{c.AppliedSeq, c.LastSeq, string(c.Settings), c.Members[0].Role}, []any{int64(16), int64(16), "16", "16"})
}
