package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

var passportTests = []testCase{
	{"an event is found in inboxes", findDeliveries},
}

// findDeliveries looks for each of many events in inboxes that hold them at other places,
// after a sweep, and with clocks that are not quite alike.
func findDeliveries(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	const many = 300
	events := messages(id, "u", 1, many)
	next := map[string]int64{"u": 1, "v": 1}
	for i := range events {
		events[i].AtMs = startMs + int64(i)*10_000
		for user, every := range map[string]int{"u": 1, "v": 3} { // v has other things as well
			block := im.Block{UserID: user, FirstSeq: next[user], AtMs: events[i].AtMs + 5 - int64(i%7)*5_000}
			for n := range every {
				other := entry(id, int64(1_000_000+i*10+n))
				block.Entries = append(block.Entries, other)
			}
			block.Entries[len(block.Entries)-1] = im.InboxEntry{
				EventID: im.EventIDOf(events[i].ID), Kind: im.KindMessage, MessageID: events[i].ID, ConversationID: id, ConversationSeq: events[i].Seq,
			}
			commitBlocks(t, s, block)
			next[user] += int64(len(block.Entries))
		}
	}
	find := func(e im.Event) []im.EntryKey {
		t.Helper()
		found, err := s.FindDeliveries(background(), &e, []string{"v", "nobody", "u"})
		must(t, err)
		slices.SortFunc(found, func(a, b im.EntryKey) int { return strings.Compare(a.UserID, b.UserID) })
		return found
	}
	key := func(user string, e im.Event, seq int64) im.EntryKey {
		return im.EntryKey{UserID: user, EventID: im.EventIDOf(e.ID), Seq: seq}
	}
	for i := range events {
		equal(t, "places", find(events[i]), []im.EntryKey{key("u", events[i], int64(i)+1), key("v", events[i], int64(i)*3+3)})
	}
	n, err := s.SweepInbox(background(), "u", horizon, 100)
	must(t, err)
	equal(t, "swept", n, 100)
	equal(t, "what is gone", find(events[50]), []im.EntryKey{key("v", events[50], 153)})
	equal(t, "what is left", find(events[100]), []im.EntryKey{key("u", events[100], 101), key("v", events[100], 303)})
	equal(t, "what never was", len(find(im.Event{ID: 77, AtMs: startMs})), 0)
}
