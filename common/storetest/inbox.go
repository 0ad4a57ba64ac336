package storetest

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

var inboxTests = []testCase{
	{"blocks keep every entry", blockColumns},
	{"heads come in the order asked", heads},
	{"pages begin inside a block", pagesInside},
	{"pages of any size cover everything once", pagesCover},
	{"block fences its first seq", blockFence},
	{"race for a block has one winner", blockRace},
	{"entries are unique by event", uniqueEntries},
	{"entries are found by event", findEntries},
	{"of many users at once are all in", manyInboxes},
}

func blockColumns(t *testing.T, s StoreUnderTest) {
	var entries []im.InboxEntry
	for i, kind := range []im.Kind{
		im.KindMessage, im.KindRecall, im.KindEdit, im.KindReaction, im.KindMembership,
		im.KindReceipt, im.KindDeleted, im.KindConversation, im.KindContact, im.KindProfile,
	} {
		e := entry(im.GroupConversation(fmt.Sprint(i)), int64(i))
		e.Kind = kind
		entries = append(entries, e)
	}
	entries = append(entries,
		im.InboxEntry{EventID: im.DerivedEventID("a"), Kind: im.KindReceipt, ConversationID: "c", ConversationSeq: 3, Data: []byte("receipt")},
		im.InboxEntry{EventID: im.DerivedEventID("b"), Kind: im.KindProfile, Data: make([]byte, 70_000)},
		im.InboxEntry{EventID: im.EventIDOf(math.MaxInt64), Kind: im.KindMessage, MessageID: math.MaxInt64, ConversationID: "c", ConversationSeq: math.MaxInt64},
		im.InboxEntry{EventID: im.DerivedEventID("c"), Kind: im.KindMessage, MessageID: 1, ConversationID: "c", ConversationSeq: 1, Data: []byte{0}},
	)
	want := im.Block{UserID: "u", FirstSeq: 1, AtMs: startMs, Entries: entries}
	commitBlocks(t, s, want)
	page, err := s.Blocks(background(), "u", 0, 100)
	must(t, err)
	equal(t, "block", page.Blocks, []im.Block{want})
	equal(t, "head", page.InboxHead, im.InboxHead{Head: want.LastSeq()})
}

func heads(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, block("u", 1, 3), block("v", 1, 1))
	commitBlocks(t, s, block("u", 4, 2))
	got, err := s.Heads(background(), []string{"v", "nobody", "u", "v"})
	must(t, err)
	equal(t, "heads", got, []im.InboxHead{{Head: 1}, {}, {Head: 5}, {Head: 1}})
	got, err = s.Heads(background(), nil)
	must(t, err)
	equal(t, "none", len(got), 0)
}

func pagesInside(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, block("u", 1, 3), block("v", 1, 9))
	commitBlocks(t, s, block("u", 4, 4))
	commitBlocks(t, s, block("u", 8, 1))
	for _, p := range []struct {
		after  int64
		limit  int
		blocks []int64 // first seqs; a limit that a block crosses may end before or after it
	}{
		{0, 100, []int64{1, 4, 8}},
		{1, 100, []int64{1, 4, 8}},
		{3, 100, []int64{4, 8}},
		{5, 100, []int64{4, 8}},
		{7, 100, []int64{8}},
		{8, 100, nil},
		{99, 100, nil},
		{0, 1, []int64{1}},
		{5, 1, []int64{4}},
		{6, 1, []int64{4}},
	} {
		page, err := s.Blocks(background(), "u", p.after, p.limit)
		must(t, err)
		var firsts []int64
		for _, b := range page.Blocks {
			firsts = append(firsts, b.FirstSeq)
		}
		equal(t, fmt.Sprintf("blocks after %d, limit %d", p.after, p.limit), firsts, p.blocks)
		equal(t, "head", page.Head, int64(8))
	}
	page, err := s.Blocks(background(), "nobody", 0, 10)
	must(t, err)
	equal(t, "empty inbox", page, im.InboxPage{})
}

func pagesCover(t *testing.T, s StoreUnderTest) {
	head := int64(0)
	for n := range 12 {
		commitBlocks(t, s, block("u", head+1, n*7%5+1))
		head += int64(n*7%5 + 1)
	}
	for limit := 1; limit <= int(head)+1; limit++ {
		after := int64(0)
		for after < head {
			page, err := s.Blocks(background(), "u", after, limit)
			must(t, err)
			next := lastOf(t, page, after)
			if next == after {
				t.Fatalf("no entry after %d with limit %d", after, limit)
			}
			after = min(next, after+int64(limit))
		}
	}
}

// lastOf checks that a page holds after+1 and has no gap, and returns its last
// seq.
func lastOf(t *testing.T, page im.InboxPage, after int64) int64 {
	t.Helper()
	for i, b := range page.Blocks {
		if b.LastSeq() <= after || b.FirstSeq > after+1 || i > 0 && b.FirstSeq != after+1 {
			t.Fatalf("block %d to %d behind %d", b.FirstSeq, b.LastSeq(), after)
		}
		after = b.LastSeq()
	}
	return after
}

func blockFence(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, block("u", 1, 2))
	err := s.CommitInbox(background(), &im.InboxCommit{
		Marks:  []im.ReadMark{{UserID: "w", ConversationID: "c", ReadUpto: 7}},
		Blocks: []im.Block{block("v", 1, 1), block("u", 1, 5), block("w", 1, 1)},
	})
	mustBe(t, err, im.ErrDuplicate)
	equal(t, "head of the fenced", headOf(t, s, "u"), int64(2))
	equal(t, "head behind it", headOf(t, s, "w"), int64(0))
	if !hasOutbox(t, s) {
		return
	}
	equal(t, "head before it", headOf(t, s, "v"), int64(0))
	marks, err := s.Marks(background(), []im.ReadKey{{UserID: "w", ConversationID: "c"}})
	must(t, err)
	equal(t, "mark", marks[0].ReadUpto, int64(0))
}

func blockRace(t *testing.T, s StoreUnderTest) {
	for round := range int64(10) {
		errs := together(6, func(i int) error {
			b := block("u", round+1, 1)
			b.Entries[0].EventID = im.DerivedEventID(fmt.Sprint(round, i))
			b.Entries[0].ConversationSeq = int64(i)
			return s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{b}})
		})
		winner := oneWinner(t, errs, im.ErrDuplicate)
		page, err := s.Blocks(background(), "u", round, 1)
		must(t, err)
		equal(t, "winner", page.Blocks[0].Entries[0].ConversationSeq, int64(winner))
	}
}

// uniqueEntries holds where nothing else keeps an entry from coming twice.
func uniqueEntries(t *testing.T, s StoreUnderTest) {
	if hasOutbox(t, s) {
		t.Skip("the outbox keeps entries from coming twice")
	}
	commitBlocks(t, s, block("u", 1, 2))
	again := block("u", 3, 1)
	again.Entries[0].EventID = block("u", 1, 2).Entries[1].EventID
	mustBe(t, s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{again}}), im.ErrDuplicate)
	again.UserID, again.FirstSeq = "v", 1
	commitBlocks(t, s, again)
}

func findEntries(t *testing.T, s StoreUnderTest) {
	derived := im.InboxEntry{EventID: im.DerivedEventID("x"), Kind: im.KindReceipt, ConversationID: "c"}
	first := block("u", 1, 2)
	first.Entries = append(first.Entries, derived)
	commitBlocks(t, s, first, block("v", 1, 1))
	commitBlocks(t, s, block("u", 4, 3))
	want := []im.EntryKey{
		{UserID: "u", EventID: first.Entries[1].EventID, Seq: 2},
		{UserID: "u", EventID: derived.EventID, Seq: 3},
		{UserID: "u", EventID: block("u", 4, 3).Entries[2].EventID, Seq: 6},
		{UserID: "v", EventID: block("v", 1, 1).Entries[0].EventID, Seq: 1},
	}
	asked := []im.EntryKey{{UserID: "v", EventID: derived.EventID}, {UserID: "nobody", EventID: derived.EventID}}
	for _, key := range want {
		asked = append(asked, im.EntryKey{UserID: key.UserID, EventID: key.EventID})
	}
	found, err := s.FindEntries(background(), asked)
	must(t, err)
	got := make(map[im.EntryKey]bool)
	for _, key := range found {
		got[key] = true
	}
	for _, key := range want {
		if !got[key] {
			t.Errorf("%+v is not among %+v", key, found)
		}
	}
	equal(t, "number found", len(found), len(want))
}

func manyInboxes(t *testing.T, s StoreUnderTest) {
	const partitions, users, commits = 8, 5, 15
	errs := together(partitions, func(p int) error { return fillInboxes(s, p, users, commits) })
	must(t, errors.Join(errs...))
	for p := range partitions {
		for u := range users {
			user := fmt.Sprint(p, "-", u)
			page, err := s.Blocks(background(), user, 0, 1000)
			must(t, err)
			equal(t, "last of "+user, lastOf(t, page, 0), int64(2*commits))
		}
	}
}

// fillInboxes is one inbox owner: commits of two entries for each of its users.
func fillInboxes(s transfer.Store, partition, users, commits int) error {
	for n := range int64(commits) {
		var commit im.InboxCommit
		for u := range users {
			commit.Blocks = append(commit.Blocks, block(fmt.Sprint(partition, "-", u), 2*n+1, 2))
		}
		if err := s.CommitInbox(background(), &commit); err != nil {
			return err
		}
	}
	return nil
}
