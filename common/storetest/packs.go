package storetest

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
)

var packTests = []testCase{
	{"are kept in order and forgotten when done", packsKept},
	{"are in with their events, or neither is", packsWithEvents},
	{"of inbox commits are in with their blocks", packsWithBlocks},
	{"outlive the process", packsReopened},
	{"the store's row stays", infoStays},
}

// outboxOf skips what only a store with an outbox promises.
func outboxOf(t *testing.T, s StoreUnderTest) {
	t.Helper()
	if !hasOutbox(t, s) {
		equal(t, "packs without an outbox", len(pending(t, s)), 0)
		t.Skip("no outbox")
	}
}

func packsKept(t *testing.T, s StoreUnderTest) {
	outboxOf(t, s)
	c := im.DirectConversation("u", "v")
	packs := []im.Pack{pack(20, 1, "a"), pack(20, 0, "b"), pack(7, 1, "c"), pack(30, 0, "d")}
	must(t, s.InsertEvents(background(), messages(c, "u", 1, 1), packs[:2]))
	must(t, s.InsertEvents(background(), messages(c, "u", 2, 2), append([]im.Pack{{Partition: 5, Body: []byte("not kept")}}, packs[2:]...)))
	equal(t, "kept", pending(t, s), packs)
	must(t, s.CommitInbox(background(), &im.InboxCommit{Done: []im.PackRef{packs[3].Ref, packs[0].Ref, {Commit: 99}}}))
	equal(t, "left", pending(t, s), packs[1:3])
	must(t, s.InsertEvents(background(), messages(c, "u", 3, 3), []im.Pack{pack(1, 1, "e")}))
	equal(t, "newest last", pending(t, s), append(packs[1:3:3], pack(1, 1, "e")))
	mustBe(t, s.CommitInbox(background(), &im.InboxCommit{Packs: []im.Pack{pack(7, 1, "again")}}), im.ErrDuplicate)
}

func packsWithEvents(t *testing.T, s StoreUnderTest) {
	outboxOf(t, s)
	c := im.DirectConversation("u", "v")
	must(t, s.InsertEvents(background(), messages(c, "u", 1, 1), nil))
	mustBe(t, s.InsertEvents(background(), messages(c, "u", 1, 2), []im.Pack{pack(1, 0, "a")}), im.ErrDuplicate)
	equal(t, "packs", len(pending(t, s)), 0)
	must(t, s.InsertEvents(background(), nil, []im.Pack{pack(1, 0, "a")}))
	mustBe(t, s.InsertEvents(background(), messages(c, "u", 2, 2), []im.Pack{pack(1, 0, "b")}), im.ErrDuplicate)
	equal(t, "events", seqsOf(stored(t, s, c)), []int64{1})
}

func packsWithBlocks(t *testing.T, s StoreUnderTest) {
	outboxOf(t, s)
	first, second := pack(1, 0, "in"), pack(2, 3, "out")
	must(t, s.InsertEvents(background(), nil, []im.Pack{first}))
	commit := im.InboxCommit{Blocks: []im.Block{block("u", 1, 1)}, Packs: []im.Pack{second}, Done: []im.PackRef{first.Ref}}
	must(t, s.CommitInbox(background(), &commit))
	equal(t, "after it", pending(t, s), []im.Pack{second})

	third := im.InboxCommit{Blocks: []im.Block{block("u", 1, 1)}, Packs: []im.Pack{pack(3, 0, "x")}, Done: []im.PackRef{second.Ref}}
	mustBe(t, s.CommitInbox(background(), &third), im.ErrDuplicate)
	equal(t, "after a refused one", pending(t, s), []im.Pack{second})
}

func packsReopened(t *testing.T, s StoreUnderTest) {
	outboxOf(t, s)
	var want []im.Pack
	for i := range int64(20) {
		p := pack(100-i, int(i%3), fmt.Sprint("body ", i))
		must(t, s.InsertEvents(background(), messages(im.GroupConversation("g"), "u", i+1, i+1), []im.Pack{p}))
		want = append(want, p)
	}
	must(t, s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{block("u", 1, 1)}, Done: []im.PackRef{want[19].Ref}}))
	again := s.Reopen(t)
	equal(t, "pending", pending(t, again), want[:19])
	equal(t, "events", len(stored(t, again, im.GroupConversation("g"))), 20)
	equal(t, "head", headOf(t, again, "u"), int64(1))
	must(t, again.CommitInbox(background(), &im.InboxCommit{Packs: want[19:]}))
	equal(t, "newest last", pending(t, again), want)
}

func infoStays(t *testing.T, s StoreUnderTest) {
	info, err := s.Info(background())
	must(t, err)
	if info.Format < 1 || len(info.InboxEpoch) < 16 || len(info.InboxEpoch) > im.MaxIDBytes {
		t.Fatalf("info is %+v", info)
	}
	again, err := s.Reopen(t).Info(background())
	must(t, err)
	equal(t, "info", again, info)
}
