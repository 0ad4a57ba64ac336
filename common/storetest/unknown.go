package storetest

import (
	"testing"

	"github.com/im-transfer/im"
)

// unknownTests are what a caller does after an outcome that is not known: it
// sends exactly the same rows again, and reads back what refuses them.
var unknownTests = []testCase{
	{"events that were in are found again", unknownEventsIn},
	{"events that were not in are taken", unknownEventsOut},
	{"events that were half in can be completed", unknownEventsHalf},
	{"inbox commit that was in is found again", unknownCommitIn},
	{"inbox commit that was not in is taken", unknownCommitOut},
	{"projection may be sent again", unknownProjection},
	{"projection of messages may be sent again", unknownMessages},
}

func unknownEventsIn(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	batch, packs := messages(c, "u", 1, 3), []im.Pack{pack(1, 0, "a")}
	faulty := Faulty(s.Store, Script{"InsertEvents": {UnknownDone}})
	mustBe(t, faulty.InsertEvents(background(), batch, packs), im.ErrUnknown)
	mustBe(t, faulty.InsertEvents(background(), batch, packs), im.ErrDuplicate)
	equal(t, "stored", stored(t, s, c), batch)
	if hasOutbox(t, s) {
		equal(t, "packs", pending(t, s), packs)
	}
}

func unknownEventsOut(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	batch := messages(c, "u", 1, 3)
	faulty := Faulty(s.Store, Script{"InsertEvents": {UnknownLost, Refused, FalseDuplicate}})
	mustBe(t, faulty.InsertEvents(background(), batch, nil), im.ErrUnknown)
	mustBe(t, faulty.InsertEvents(background(), batch, nil), ErrRefused)
	mustBe(t, faulty.InsertEvents(background(), batch, nil), im.ErrDuplicate)
	equal(t, "before", len(stored(t, s, c)), 0)
	must(t, faulty.InsertEvents(background(), batch, nil))
	equal(t, "stored", stored(t, s, c), batch)
}

func unknownEventsHalf(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	batch := messages(c, "u", 1, 5)
	faulty := Faulty(s.Store, Script{"InsertEvents": {UnknownHalf}})
	mustBe(t, faulty.InsertEvents(background(), batch, nil), im.ErrUnknown)
	mustBe(t, faulty.InsertEvents(background(), batch, nil), im.ErrDuplicate)
	in := stored(t, s, c)
	equal(t, "prefix", in, batch[:2])
	must(t, faulty.InsertEvents(background(), batch[len(in):], nil))
	equal(t, "stored", stored(t, s, c), batch)
}

func unknownCommitIn(t *testing.T, s StoreUnderTest) {
	commit := &im.InboxCommit{
		Blocks:  []im.Block{block("u", 1, 2), block("v", 1, 1)},
		Cursors: []im.Cursor{{UserID: "u", DeviceID: "a", Seq: 1}},
	}
	faulty := Faulty(s.Store, Script{"CommitInbox": {UnknownDone}})
	mustBe(t, faulty.CommitInbox(background(), commit), im.ErrUnknown)
	mustBe(t, faulty.CommitInbox(background(), commit), im.ErrDuplicate)
	page, err := s.Blocks(background(), "u", 0, 10)
	must(t, err)
	equal(t, "block", page.Blocks, commit.Blocks[:1])
	cursors, err := s.Cursors(background(), []string{"u"})
	must(t, err)
	equal(t, "cursor", cursors, commit.Cursors)
}

func unknownCommitOut(t *testing.T, s StoreUnderTest) {
	commit := &im.InboxCommit{Blocks: []im.Block{block("u", 1, 2)}}
	faulty := Faulty(s.Store, Script{"CommitInbox": {UnknownLost}})
	mustBe(t, faulty.CommitInbox(background(), commit), im.ErrUnknown)
	equal(t, "before", headOf(t, s, "u"), int64(0))
	must(t, faulty.CommitInbox(background(), commit))
	equal(t, "after", headOf(t, s, "u"), int64(2))
}

func unknownProjection(t *testing.T, s StoreUnderTest) {
	id := im.GroupConversation("g")
	c := []im.Conversation{{ID: id, Type: im.Group, Key: "g", AppliedSeq: 1, LastSeq: 1}}
	m := []im.Member{{ConversationID: id, UserID: "u", JoinedSeq: 1, LeftSeq: im.Forever, Seq: 1}}
	faulty := Faulty(s.Store, Script{"Project": {UnknownDone, UnknownLost, UnknownHalf}})
	for range 3 {
		mustBe(t, faulty.Project(background(), c, m), im.ErrUnknown)
	}
	must(t, faulty.Project(background(), c, m))
	states, err := s.Conversations(background(), []string{id})
	must(t, err)
	equal(t, "state", states[0], im.ConversationState{Conversation: c[0], Exists: true, Members: m})
}
