package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var messageTests = []testCase{
	{"are found by id", messagesByID},
	{"have no state before they change", messagesUnchanged},
	{"keep every column of their state", messageColumns},
	{"are found among many that are not asked for", messagesAmongMany},
	{"take a state only when it is newer", messagesLate},
	{"projected by many at once end at the newest", messagesTogether},
	{"recalled do not count as unread", messagesRecalled},
	{"recalled do not count at the bound either", messagesRecalledMany},
	{"expired are not unread, and not in the history", messagesExpired},
	{"that mention one are counted", messagesMentioning},
	{"of a thread are found", messagesOfThread},
}

func messagesByID(t *testing.T, s StoreUnderTest) {
	c, d := im.DirectConversation("u", "v"), im.DirectConversation("u", "w")
	of, other := messages(c, "u", 1, 4), messages(d, "w", 1, 2)
	other[0].ID, other[1].ID = of[3].ID+1, of[3].ID+2
	must(t, s.InsertEvents(background(), append(slices.Clone(of), other...), nil))
	got, err := s.EventsByID(background(), []im.MessageRef{
		of[1].Ref(), {ID: other[1].ID}, {ID: 5}, {ConversationID: d, ID: of[2].ID}, {ConversationID: c, ID: of[3].ID},
	})
	must(t, err)
	want := []im.Event{of[1], of[3], other[1]}
	equal(t, "found", sortEvents(got), sortEvents(want))
	got, err = s.EventsByID(background(), nil)
	must(t, err)
	equal(t, "none asked for", len(got), 0)
}

func states(t *testing.T, s StoreUnderTest, refs ...im.MessageRef) []im.MessageState {
	t.Helper()
	got, err := s.MessageStates(background(), refs)
	must(t, err)
	slices.SortFunc(got, func(a, b im.MessageState) int { return cmp.Compare(a.MessageSeq, b.MessageSeq) })
	return got
}

func messagesUnchanged(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "u", 1, 2)
	must(t, s.InsertEvents(background(), events, nil))
	equal(t, "of what is there", len(states(t, s, events[0].Ref(), events[1].Ref())), 0)
	equal(t, "of what is not", len(states(t, s, im.MessageRef{ConversationID: "x", ID: 1})), 0)
	equal(t, "of nothing", len(states(t, s)), 0)
}

func messagesAmongMany(t *testing.T, s StoreUnderTest) {
	c, d := direct(t, s, "u", "v"), direct(t, s, "u", "w")
	events, others := messages(c, "u", 1, 100), messages(d, "w", 1, 3)
	for i := range others {
		others[i].ID = events[99].ID + int64(i) + 1
	}
	must(t, s.InsertEvents(background(), append(slices.Clone(events), others...), nil))
	var all []im.MessageState
	for i := range events {
		if i%3 > 0 { // of two in three
			all = append(all, stateAt(events[i], int64(200+i)))
		}
	}
	must(t, s.ProjectMessages(background(), append(slices.Clone(all), stateAt(others[1], 5))))
	for _, asked := range [][]int{{1, 98}, {98, 1, 50, 50}, {0, 3, 99}, {0, 1, 2, 3, 4, 5, 97, 98, 99}, {7}} {
		refs, want := []im.MessageRef{others[1].Ref(), others[2].Ref()}, []im.MessageState{stateAt(others[1], 5)}
		for _, i := range asked {
			refs = append(refs, events[i].Ref())
		}
		for _, state := range all {
			if slices.Contains(refs, im.MessageRef{ConversationID: c, ID: state.MessageID}) {
				want = append(want, state)
			}
		}
		byID := func(a, b im.MessageState) int { return cmp.Compare(a.MessageID, b.MessageID) }
		got := states(t, s, refs...)
		slices.SortFunc(got, byID)
		slices.SortFunc(want, byID)
		equal(t, fmt.Sprint("states of ", asked), got, want)
	}
}

// stateAt is the state of a message at a seq.
func stateAt(message im.Event, seq int64) im.MessageState {
	state := im.StateOf(&message)
	state.Seq = seq
	return state
}

func messageColumns(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "u", 1, 3)
	events[1].ExpiresAtMs = 1 << 50
	must(t, s.InsertEvents(background(), events, nil))
	edited := stateAt(events[0], 7)
	edited.Version, edited.EditedAtMs, edited.Body, edited.Reactions = 3, startMs+9, []byte("new"), []byte{1, 2}
	recalled := stateAt(events[1], 8)
	recalled.Recalled, recalled.Uncounted = true, true
	for range 2 {
		must(t, s.ProjectMessages(background(), []im.MessageState{edited, recalled}))
		equal(t, "states", states(t, s, events[0].Ref(), events[1].Ref(), events[2].Ref()), []im.MessageState{edited, recalled})
	}
	must(t, s.ProjectMessages(background(), nil))
	equal(t, "events as they were", stored(t, s, c), events)
}

func messagesLate(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	event := message(c, "u", 1)
	must(t, s.InsertEvents(background(), []im.Event{event}, nil))
	at := func(seq int64, body string) im.MessageState {
		state := stateAt(event, seq)
		state.Body, state.Version = []byte(body), int32(seq)
		return state
	}
	must(t, s.ProjectMessages(background(), []im.MessageState{at(5, "five")}))
	must(t, s.ProjectMessages(background(), []im.MessageState{at(4, "late")}))
	must(t, s.ProjectMessages(background(), []im.MessageState{at(5, "double")}))
	equal(t, "after late ones", states(t, s, event.Ref()), []im.MessageState{at(5, "five")})
	must(t, s.ProjectMessages(background(), []im.MessageState{at(6, "six"), at(7, "seven")}))
	equal(t, "newer", states(t, s, event.Ref()), []im.MessageState{at(7, "seven")})
}

func messagesTogether(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	event := message(c, "u", 1)
	must(t, s.InsertEvents(background(), []im.Event{event}, nil))
	errs := together(16, func(i int) error {
		state := stateAt(event, int64(i+2))
		state.Body = []byte(fmt.Sprint(i + 2))
		return s.ProjectMessages(background(), []im.MessageState{state})
	})
	for _, err := range errs {
		must(t, err)
	}
	got := states(t, s, event.Ref())
	equal(t, "newest", []any{got[0].Seq, string(got[0].Body)}, []any{int64(17), "17"})
}

func unreadOf(t *testing.T, s StoreUnderTest, user, conversation string, upto int64) int {
	t.Helper()
	counts, err := s.Unread(background(), []im.ReadMark{{UserID: user, ConversationID: conversation, ReadUpto: upto}})
	must(t, err)
	view, err := s.ConversationOf(background(), user, conversation)
	must(t, err)
	if upto == 0 && view.Unread != counts[0] {
		t.Fatalf("unread %d, in the list %d", counts[0], view.Unread)
	}
	return counts[0]
}

// recall writes the state of recalled messages.
func recall(t *testing.T, s StoreUnderTest, seq int64, events ...im.Event) {
	t.Helper()
	var all []im.MessageState
	for _, e := range events {
		state := stateAt(e, seq)
		state.Recalled, state.Uncounted = true, e.Counted
		all = append(all, state)
	}
	must(t, s.ProjectMessages(background(), all))
}

func messagesRecalled(t *testing.T, s StoreUnderTest) {
	c := group(t, s, "g",
		im.Member{UserID: "u", JoinedSeq: 3, LeftSeq: 7}, im.Member{UserID: "u", JoinedSeq: 10, LeftSeq: im.Forever},
		im.Member{UserID: "v", JoinedSeq: 1, LeftSeq: im.Forever})
	events := messages(c, "v", 1, 12)
	events[4].Counted = false        // seq 5
	events[5].SenderID = "u"         // seq 6
	events[11].ExpiresAtMs = startMs // seq 12
	must(t, s.InsertEvents(background(), events, nil))
	equal(t, "before", unreadOf(t, s, "u", c, 0), 5) // 3, 4, 7, 10, 11
	recall(t, s, 20, events[1], events[4], events[5], events[7], events[11])
	equal(t, "what did not count", unreadOf(t, s, "u", c, 0), 5)
	recall(t, s, 21, events[3], events[9])
	equal(t, "two of them", unreadOf(t, s, "u", c, 0), 3)
	equal(t, "above 4", unreadOf(t, s, "u", c, 4), 2)
	equal(t, "above 10", unreadOf(t, s, "u", c, 10), 1)
	equal(t, "of who sent them", unreadOf(t, s, "v", c, 0), 0)
	edited := stateAt(events[10], 22)
	edited.Version, edited.Body = 2, []byte("new")
	must(t, s.ProjectMessages(background(), []im.MessageState{edited}))
	equal(t, "an edited one counts", unreadOf(t, s, "u", c, 0), 3)
}

func messagesRecalledMany(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "v", 1, im.MaxUnread+20)
	must(t, s.InsertEvents(background(), events, nil))
	equal(t, "at the bound", unreadOf(t, s, "u", c, 0), im.MaxUnread)
	recall(t, s, 5000, events[:10]...)
	equal(t, "above the bound still", unreadOf(t, s, "u", c, 0), im.MaxUnread)
	recall(t, s, 5001, events[10:25]...)
	equal(t, "below the bound", unreadOf(t, s, "u", c, 0), im.MaxUnread-5)
}

func messagesExpired(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "v", 1, 4)
	events[1].ExpiresAtMs, events[2].ExpiresAtMs, events[3].ExpiresAtMs = startMs, 1<<50, startMs
	must(t, s.InsertEvents(background(), events, nil))
	equal(t, "unread", unreadOf(t, s, "u", c, 0), 2)
	stays, err := s.Stays(background(), "u", c)
	must(t, err)
	for _, forward := range []bool{false, true} {
		got, more, err := s.History(background(), im.EventRange{ConversationID: c, Forward: forward, Limit: 2, Stays: stays})
		must(t, err)
		equal(t, "history", seqsOf(got), []int64{1, 3})
		equal(t, "more", more, false)
	}
	view, err := s.ConversationOf(background(), "u", c)
	must(t, err)
	equal(t, "last", view.Last.Seq, int64(3))
	equal(t, "head", view.Head, int64(4))
}

func messagesMentioning(t *testing.T, s StoreUnderTest) {
	c := group(t, s, "g",
		im.Member{UserID: "u", JoinedSeq: 2, LeftSeq: im.Forever}, im.Member{UserID: "v", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "w", JoinedSeq: 1, LeftSeq: im.Forever})
	events := messages(c, "v", 1, 9)
	events[0].Mentions = []string{"u"}                           // before u came
	events[1].Mentions = []string{"u", "w"}                      // seq 2
	events[2].Mentions = []string{im.MentionAll, "u"}            // seq 3: once
	events[3].Mentions = []string{"w"}                           // seq 4
	events[4].Mentions, events[4].Counted = []string{"u"}, false // seq 5
	events[5].Mentions, events[5].SenderID = []string{"u"}, "u"  // seq 6
	events[6].Mentions, events[6].ExpiresAtMs = []string{"u"}, startMs
	events[7].Mentions = []string{im.MentionAll} // seq 8
	must(t, s.InsertEvents(background(), events, nil))
	mentions := func(user string) int {
		view, err := s.ConversationOf(background(), user, c)
		must(t, err)
		return view.Mentions
	}
	equal(t, "of u", mentions("u"), 3)
	equal(t, "of w", mentions("w"), 4)
	equal(t, "of v, whose they are", mentions("v"), 0)
	recall(t, s, 20, events[7])
	equal(t, "recalled", mentions("u"), 2)
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{{UserID: "u", ConversationID: c, ReadUpto: 2}}}))
	equal(t, "above the mark", mentions("u"), 1)
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{{UserID: "u", ConversationID: c, ReadUpto: 9}}}))
	equal(t, "all read", mentions("u"), 0)
}

func messagesOfThread(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "v", 1, 9)
	root, other := events[0].ID, events[1].ID
	for _, seq := range []int64{3, 5, 8} {
		events[seq-1].ThreadID = root
	}
	events[5].ThreadID, events[6].ThreadID, events[6].Kind = other, root, im.KindReaction
	must(t, s.InsertEvents(background(), events, nil))
	stays, err := s.Stays(background(), "u", c)
	must(t, err)
	for _, r := range []struct {
		im.EventRange
		want []int64
		more bool
	}{
		{im.EventRange{ThreadID: root, Limit: 9}, []int64{3, 5, 8}, false},
		{im.EventRange{ThreadID: root, Limit: 2}, []int64{5, 8}, true},
		{im.EventRange{ThreadID: root, Limit: 2, Before: 8}, []int64{3, 5}, false},
		{im.EventRange{ThreadID: root, Limit: 1, Forward: true, After: 3}, []int64{5}, true},
		{im.EventRange{ThreadID: other, Limit: 9}, []int64{6}, false},
		{im.EventRange{ThreadID: 5, Limit: 9}, nil, false},
	} {
		r.ConversationID, r.Stays = c, stays
		got, more, err := s.History(background(), r.EventRange)
		must(t, err)
		equal(t, fmt.Sprintf("%+v", r.EventRange), seqsOf(got), r.want)
		equal(t, fmt.Sprintf("more of %+v", r.EventRange), more, r.more)
	}
}

func unknownMessages(t *testing.T, s StoreUnderTest) {
	c := direct(t, s, "u", "v")
	events := messages(c, "u", 1, 2)
	must(t, s.InsertEvents(background(), events, nil))
	want := []im.MessageState{stateAt(events[0], 3), stateAt(events[1], 4)}
	faulty := Faulty(s.Store, Script{"ProjectMessages": {UnknownDone, UnknownLost, UnknownHalf}})
	for range 3 {
		mustBe(t, faulty.ProjectMessages(background(), want), im.ErrUnknown)
	}
	must(t, faulty.ProjectMessages(background(), want))
	equal(t, "states", states(t, s, events[0].Ref(), events[1].Ref()), want)
}
