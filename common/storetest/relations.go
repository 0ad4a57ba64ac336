package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var relationTests = []testCase{
	{"rise group by group", relationsRise},
	{"are due until the peer is told", relationsDue},
	{"are listed by pages", relationsListed},
}

var betweenUsers = im.RelationKey{UserID: "u", PeerID: "v"}

func relation(t *testing.T, s StoreUnderTest, key im.RelationKey) im.Relation {
	t.Helper()
	found, err := s.Relations(background(), []im.RelationKey{{UserID: "nobody", PeerID: "v"}, key})
	must(t, err)
	equal(t, "of nobody", found[0], im.Relation{RelationKey: im.RelationKey{UserID: "nobody", PeerID: "v"}})
	return found[1]
}

func relationsRise(t *testing.T, s StoreUnderTest) {
	write := func(r im.Relation) {
		r.RelationKey = betweenUsers
		commitOwn(t, s, im.OwnState{Relations: []im.Relation{r}})
	}
	write(im.Relation{Mine: im.WishAt(5, true), Text: "hi", AtMs: 7, Remark: "not this", Blocked: im.FlagAt(3, true)})
	write(im.Relation{Theirs: im.WishAt(9, true), TheirText: "hello", TheirAtMs: 8, RemarkSeq: 6, Remark: "Vi"})
	write(im.Relation{Mine: im.WishAt(4, false), Ends: 2, Text: "older", Theirs: im.WishAt(8, false), RemarkSeq: 5, Remark: "older"})
	want := im.Relation{
		RelationKey: betweenUsers, Mine: im.WishAt(5, true), Text: "hi", AtMs: 7, Theirs: im.WishAt(9, true), TheirText: "hello", TheirAtMs: 8,
		Blocked: im.FlagAt(3, true), RemarkSeq: 6, Remark: "Vi",
	}
	got := relation(t, s, betweenUsers)
	equal(t, "relation", got, want)
	equal(t, "contact", got.Contact(), true)
	write(im.Relation{Mine: im.WishAt(7, false), Ends: 9, Theirs: im.WishAt(9, true).Ended(), Told: im.WishAt(7, false), Blocked: im.FlagAt(8, false)})
	want.Mine, want.Ends, want.Text, want.AtMs, want.Told = im.WishAt(7, false), 9, "", 0, im.WishAt(7, false)
	want.Theirs, want.TheirText, want.TheirAtMs, want.Blocked = im.WishAt(9, true).Ended(), "", 0, im.FlagAt(8, false)
	got = relation(t, s, betweenUsers)
	equal(t, "ended", got, want)
	equal(t, "contact", got.Contact(), false)
	equal(t, "the other way round", relation(t, s, im.RelationKey{UserID: "v", PeerID: "u"}).Mine, im.Wish(0))
}

func relationsDue(t *testing.T, s StoreUnderTest) {
	const partitions = 4
	due := func() (keys []im.RelationKey) {
		for p := range partitions {
			found, err := s.DueRelations(background(), p, partitions)
			must(t, err)
			for _, key := range found {
				equal(t, "partition", im.Partition(key.UserID, partitions), p)
			}
			keys = append(keys, found...)
		}
		slices.SortFunc(keys, func(a, b im.RelationKey) int { return cmp.Compare(a.UserID, b.UserID) })
		return keys
	}
	other := im.RelationKey{UserID: "w", PeerID: "u"}
	commitOwn(t, s, im.OwnState{Relations: []im.Relation{
		{RelationKey: betweenUsers, Mine: im.WishAt(5, true)},
		{RelationKey: other, Mine: im.WishAt(5, true)},
		{RelationKey: im.RelationKey{UserID: "x", PeerID: "u"}, Mine: im.WishAt(5, false), Told: im.WishAt(5, false)},
		{RelationKey: im.RelationKey{UserID: "y", PeerID: "u"}, Theirs: im.WishAt(5, true)},
	}})
	equal(t, "due", due(), []im.RelationKey{betweenUsers, other})
	commitOwn(t, s, im.OwnState{Relations: []im.Relation{
		{RelationKey: betweenUsers, Told: im.WishAt(5, true)}, {RelationKey: other, Mine: im.WishAt(6, false)},
	}})
	equal(t, "one is told", due(), []im.RelationKey{other})
	commitOwn(t, s, im.OwnState{Relations: []im.Relation{{RelationKey: other, Told: im.WishAt(5, true)}}})
	equal(t, "of an older wish", due(), []im.RelationKey{other})
	commitOwn(t, s, im.OwnState{Relations: []im.Relation{{RelationKey: other, Told: im.WishAt(6, false)}}})
	equal(t, "all are told", len(due()), 0)
}

func relationsListed(t *testing.T, s StoreUnderTest) {
	want := map[string]bool{}
	for i := range 7 {
		peer := fmt.Sprint("peer", i)
		want[peer] = true
		commitOwn(t, s, im.OwnState{Relations: []im.Relation{
			{RelationKey: im.RelationKey{UserID: "u", PeerID: peer}, Theirs: im.WishAt(1, true), TheirText: peer},
			{RelationKey: im.RelationKey{UserID: "v", PeerID: peer}, Theirs: im.WishAt(1, true)},
		}})
	}
	for limit := 1; limit <= 8; limit++ {
		got := map[string]bool{}
		for after, more := "", true; more; {
			page, err := s.RelationsOf(background(), "u", after, limit)
			must(t, err)
			for _, r := range page {
				equal(t, "text", r.TheirText, r.PeerID)
				equal(t, "twice", got[r.PeerID], false)
				got[r.PeerID], after = true, r.PeerID
			}
			more = len(page) == limit
		}
		equal(t, fmt.Sprint("pages of ", limit), got, want)
	}
}
