package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var broadcastTests = []testCase{
	{"keeps a broadcast as it is, once", broadcastOnce},
	{"progress only rises, column by column", broadcastProgress},
	{"lists what is running, and the newest first", broadcastLists},
	{"a race to insert has one winner", broadcastRace},
}

func broadcastOf(n int) im.Broadcast {
	return im.Broadcast{
		ID: fmt.Sprint("b", n), UserIDs: []string{"ann", "bob"}, SenderID: "system", Content: []byte{1, 0, byte(n)},
		PerSecond: 50, Priority: n, CreatedAtMs: startMs + int64(n),
	}
}

func broadcastOnce(t *testing.T, s StoreUnderTest) {
	_, err := s.Broadcast(background(), "b1")
	mustBe(t, err, im.ErrNotFound)
	users, all, room := broadcastOf(1), broadcastOf(2), broadcastOf(3)
	all.UserIDs, all.All = nil, true
	room.UserIDs, room.RoomID = nil, "lobby"
	for _, b := range []im.Broadcast{users, all, room} {
		must(t, s.InsertBroadcast(background(), b))
		mustBe(t, s.InsertBroadcast(background(), b), im.ErrDuplicate)
	}
	kept := s.Reopen(t)
	for _, b := range []im.Broadcast{users, all, room} {
		got, err := kept.Broadcast(background(), b.ID)
		must(t, err)
		equal(t, "broadcast", got, b)
	}
}

func broadcastProgress(t *testing.T, s StoreUnderTest) {
	b := broadcastOf(1)
	must(t, s.InsertBroadcast(background(), b))
	raise := func(p, want im.BroadcastProgress) {
		t.Helper()
		must(t, s.RaiseBroadcast(background(), b.ID, p))
		must(t, s.RaiseBroadcast(background(), b.ID, p)) // as a retry does
		got, err := s.Broadcast(background(), b.ID)
		must(t, err)
		equal(t, "progress", got.BroadcastProgress, want)
	}
	first := im.BroadcastProgress{Cursor: "bob", Sent: 2, Refused: 1}
	raise(first, first)
	raise(im.BroadcastProgress{Cursor: "ann", Sent: 1}, first) // a late one
	raise(im.BroadcastProgress{Cursor: "ann", Sent: 3}, im.BroadcastProgress{Cursor: "bob", Sent: 3, Refused: 1})
	cancelled := im.BroadcastProgress{State: im.BroadcastCancelled, Cursor: "bob", Sent: 3, Refused: 1}
	raise(im.BroadcastProgress{State: im.BroadcastCancelled}, cancelled)
	raise(im.BroadcastProgress{Cursor: "bob"}, cancelled)
	must(t, s.RaiseBroadcast(background(), "nobody's", first))
}

func broadcastLists(t *testing.T, s StoreUnderTest) {
	for n := 1; n <= 4; n++ {
		must(t, s.InsertBroadcast(background(), broadcastOf(n)))
	}
	must(t, s.RaiseBroadcast(background(), "b2", im.BroadcastProgress{State: im.BroadcastDone}))
	must(t, s.RaiseBroadcast(background(), "b3", im.BroadcastProgress{State: im.BroadcastCancelled}))
	running, err := s.RunningBroadcasts(background())
	must(t, err)
	ids := broadcastIDs(running)
	slices.Sort(ids)
	equal(t, "running", ids, []string{"b1", "b4"})
	same := broadcastOf(4)
	same.ID = "b5" // of the same time
	must(t, s.InsertBroadcast(background(), same))
	latest, err := s.LatestBroadcasts(background(), im.BroadcastCursor{}, 4)
	must(t, err)
	equal(t, "latest", broadcastIDs(latest), []string{"b5", "b4", "b3", "b2"})
	for limit := 1; limit <= 3; limit++ {
		var walked []string
		for from := (im.BroadcastCursor{}); ; {
			page, err := s.LatestBroadcasts(background(), from, limit)
			must(t, err)
			walked = append(walked, broadcastIDs(page)...)
			if len(page) < limit {
				break
			}
			from = im.BroadcastCursor{CreatedAtMs: page[limit-1].CreatedAtMs, ID: page[limit-1].ID}
		}
		equal(t, "pages", walked, []string{"b5", "b4", "b3", "b2", "b1"})
	}
	latest = latest[1:]
	bare := broadcastOf(4)
	bare.UserIDs, bare.Content = nil, nil
	equal(t, "what a list tells", latest[0], bare)
}

func broadcastIDs(all []im.Broadcast) (ids []string) {
	for _, b := range all {
		ids = append(ids, b.ID)
	}
	return ids
}

func broadcastRace(t *testing.T, s StoreUnderTest) {
	errs := together(6, func(int) error { return s.InsertBroadcast(background(), broadcastOf(1)) })
	oneWinner(t, errs, im.ErrDuplicate)
}
