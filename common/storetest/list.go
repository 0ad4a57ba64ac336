package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var listTests = []testCase{
	{"is of the newest first, by time and id", listOrder},
	{"is exact above the hints", listExact},
	{"shows what the user may see", listStays},
	{"names the peer", listPeers},
	{"has one line for one conversation", oneLine},
}

func listed(t *testing.T, s StoreUnderTest, user string) []im.ConversationView {
	t.Helper()
	views, err := s.ConversationList(background(), user, im.ListCursor{}, 1000)
	must(t, err)
	return views
}

func listOrder(t *testing.T, s StoreUnderTest) {
	var want []im.ListCursor
	for i := range 9 {
		peer := fmt.Sprint("peer", i)
		id := direct(t, s, "u", peer)
		e := message(id, peer, 1)
		e.AtMs = startMs + int64(i/3) // three at a time
		must(t, s.InsertEvents(background(), []im.Event{e}, nil))
		want = append(want, im.ListCursor{LastAtMs: e.AtMs, ID: id})
	}
	slices.SortFunc(want, func(a, b im.ListCursor) int {
		if a.LastAtMs > b.LastAtMs || a.LastAtMs == b.LastAtMs && a.ID < b.ID {
			return -1
		}
		return 1
	})
	for limit := 1; limit <= 10; limit++ {
		var got []im.ListCursor
		var from im.ListCursor
		for {
			views, err := s.ConversationList(background(), "u", from, limit)
			must(t, err)
			for _, v := range views {
				from = im.ListCursor{LastAtMs: v.LastAtMs, ID: v.ID}
				got = append(got, from)
			}
			if len(views) < limit {
				break
			}
		}
		equal(t, fmt.Sprint("pages of ", limit), got, want)
	}
	equal(t, "of nobody", len(listed(t, s, "nobody")), 0)
}

func listExact(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	equal(t, "without an event", len(listed(t, s, "u")), 0)
	events := messages(id, "v", 1, 6)
	events[4].Kind, events[4].Counted = im.KindReaction, false
	events[5].Kind, events[5].Counted = im.KindEdit, false
	must(t, s.InsertEvents(background(), events, nil))
	must(t, s.Project(background(), []im.Conversation{{ID: id, Type: im.Direct, Key: "u\x00v", AppliedSeq: 2, LastSeq: 2, LastAtMs: events[1].AtMs}}, nil))
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{{UserID: "u", ConversationID: id, ReadUpto: 1}}}))
	views := listed(t, s, "u")
	equal(t, "lines", len(views), 1)
	v := views[0]
	equal(t, "head", v.Head, int64(6))
	equal(t, "time", v.LastAtMs, events[5].AtMs)
	equal(t, "read", v.Mark.ReadUpto, int64(1))
	equal(t, "unread", v.Unread, 3)
	equal(t, "last", *v.Last, events[3])
	equal(t, "type", v.Type, im.Direct)
}

func listStays(t *testing.T, s StoreUnderTest) {
	id := group(t, s, "g",
		im.Member{UserID: "gone", JoinedSeq: 1, LeftSeq: 4},
		im.Member{UserID: "back", JoinedSeq: 1, LeftSeq: 3},
		im.Member{UserID: "back", JoinedSeq: 8, LeftSeq: im.Forever},
		im.Member{UserID: "late", JoinedSeq: 20, LeftSeq: im.Forever},
		im.Member{UserID: "other", JoinedSeq: 1, LeftSeq: im.Forever})
	events := messages(id, "other", 1, 8)
	events[3].Kind = im.KindMembership // seq 4: gone leaves
	events[7].Kind = im.KindMembership // seq 8: back is back
	must(t, s.InsertEvents(background(), events, nil))

	gone := listed(t, s, "gone")[0]
	equal(t, "head of gone", gone.Head, int64(4))
	equal(t, "time of gone", gone.LastAtMs, events[3].AtMs)
	equal(t, "last of gone", gone.Last.Seq, int64(3))
	equal(t, "gone is there", gone.Present, false)
	back := listed(t, s, "back")[0]
	equal(t, "head of back", back.Head, int64(8))
	equal(t, "last of back", back.Last.Seq, int64(3))
	equal(t, "back is there", back.Present, true)
	equal(t, "unread of back", back.Unread, 4)
	equal(t, "lines of back", len(listed(t, s, "back")), 1)
	equal(t, "lines of late", len(listed(t, s, "late")), 0)
}

func listPeers(t *testing.T, s StoreUnderTest) {
	peers := map[string]string{}
	for _, peer := range []string{"a", "u", "z"} {
		id := direct(t, s, "u", peer)
		must(t, s.InsertEvents(background(), messages(id, "u", 1, 1), nil))
		peers[id] = peer
	}
	id := group(t, s, "g", im.Member{UserID: "u", JoinedSeq: 1, LeftSeq: im.Forever})
	must(t, s.InsertEvents(background(), messages(id, "u", 1, 1), nil))
	views := listed(t, s, "u")
	equal(t, "lines", len(views), 4)
	for _, v := range views {
		equal(t, "peer", v.PeerID, peers[v.ID])
		equal(t, "unread of one's own", v.Unread, 0)
	}
}

func oneLine(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	empty, err := s.ConversationOf(background(), "u", id)
	must(t, err)
	equal(t, "empty", []any{empty.ID, empty.PeerID, empty.Head, empty.Last == nil}, []any{id, "v", int64(0), true})
	must(t, s.InsertEvents(background(), messages(id, "v", 1, 3), nil))
	got, err := s.ConversationOf(background(), "u", id)
	must(t, err)
	equal(t, "line", got, listed(t, s, "u")[0])
	for _, who := range [][2]string{{"w", id}, {"nobody", id}, {"u", "none"}} {
		_, err = s.ConversationOf(background(), who[0], who[1])
		mustBe(t, err, im.ErrNotFound)
	}
}
