package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

var ownTests = []testCase{
	{"views rise column by column", viewsRise},
	{"what is deleted or cleared is not counted", hiddenIsNotUnread},
	{"what is deleted or cleared is not in the history", hiddenIsNotShown},
	{"is written again as it is", ownAgain},
	{"is told with its entries", ownWithEntries},
	{"events are found by id", eventsByID},
	{"profiles are the newest, part by part", profilesRise},
	{"a block moves nobody's list", blocksAreNotListed},
}

func commitOwn(t *testing.T, s transfer.Store, own im.OwnState) {
	t.Helper()
	must(t, s.CommitInbox(background(), &im.InboxCommit{Own: own}))
}

func markOf(t *testing.T, s transfer.Store, user, conversation string) im.ReadMark {
	t.Helper()
	marks, err := s.Marks(background(), []im.ReadKey{{UserID: user, ConversationID: conversation}})
	must(t, err)
	return marks[0]
}

func viewsRise(t *testing.T, s StoreUnderTest) {
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{{UserID: "u", ConversationID: "c", ReadUpto: 4, ReceiptedUpto: 4}}}))
	write := func(m im.ReadMark) {
		m.UserID, m.ConversationID = "u", "c"
		commitOwn(t, s, im.OwnState{Views: []im.ReadMark{m}})
	}
	write(im.ReadMark{ClearedUpto: 3, Muted: im.FlagAt(7, true), Pinned: im.FlagAt(7, true)})
	write(im.ReadMark{ClearedUpto: 2, DeletedUpto: 9, Muted: im.FlagAt(6, false), Pinned: im.FlagAt(8, false), Hidden: im.FlagAt(8, true)})
	write(im.ReadMark{DeletedUpto: 5, Unread: im.FlagAt(9, true)})
	want := im.ReadMark{
		UserID: "u", ConversationID: "c", ReadUpto: 4, ReceiptedUpto: 4, ClearedUpto: 3, DeletedUpto: 9,
		Muted: im.FlagAt(7, true), Pinned: im.FlagAt(8, false), Hidden: im.FlagAt(8, true), Unread: im.FlagAt(9, true),
	}
	equal(t, "mark", markOf(t, s, "u", "c"), want)
	write2 := im.ReadMark{UserID: "u", ConversationID: "c", ReadUpto: 5, ReceiptedUpto: 5}
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{write2}}))
	want.ReadUpto, want.ReceiptedUpto = 5, 5
	equal(t, "read on", markOf(t, s, "u", "c"), want)
	commitOwn(t, s, im.OwnState{Views: []im.ReadMark{{UserID: "new", ConversationID: "c", Muted: im.FlagAt(1, true)}}})
	equal(t, "of a new one", markOf(t, s, "new", "c"), im.ReadMark{UserID: "new", ConversationID: "c", Muted: im.FlagAt(1, true)})
	marks, _, err := s.DueReceipts(background(), 0, 1)
	must(t, err)
	equal(t, "due", len(marks), 0)
}

// deleteSeqs deletes messages of a conversation for a user.
func deleteSeqs(t *testing.T, s transfer.Store, user, conversation string, seqs ...int64) {
	t.Helper()
	own := im.OwnState{Views: []im.ReadMark{{UserID: user, ConversationID: conversation, DeletedUpto: slices.Max(seqs)}}}
	for _, seq := range seqs {
		own.Deleted = append(own.Deleted, im.Deletion{UserID: user, EventRef: im.EventRef{ConversationID: conversation, Seq: seq}})
	}
	commitOwn(t, s, own)
}

func hiddenIsNotUnread(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	events := messages(id, "v", 1, 12)
	events[10].SenderID = "u" // seq 11
	must(t, s.InsertEvents(background(), events, nil))
	deleteSeqs(t, s, "u", id, 2, 5, 11)
	deleteSeqs(t, s, "v", id, 3)
	unread := func(upto int64) int {
		counts, err := s.Unread(background(), []im.ReadMark{{UserID: "u", ConversationID: id, ReadUpto: upto}})
		must(t, err)
		return counts[0]
	}
	equal(t, "unread", []int{unread(0), unread(3), unread(5), unread(12)}, []int{9, 7, 6, 0})
	commitOwn(t, s, im.OwnState{Views: []im.ReadMark{{UserID: "u", ConversationID: id, ClearedUpto: 4}}})
	equal(t, "unread above what is cleared", []int{unread(0), unread(3), unread(8)}, []int{6, 6, 3})
	view, err := s.ConversationOf(background(), "u", id)
	must(t, err)
	equal(t, "unread in the list", view.Unread, 6)
}

func hiddenIsNotShown(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	must(t, s.InsertEvents(background(), messages(id, "v", 1, 30), nil))
	stays, err := s.Stays(background(), "u", id)
	must(t, err)
	history := func(viewer string, r im.EventRange) (string, bool) {
		r.ConversationID, r.Stays, r.Viewer = id, stays, markOf(t, s, viewer, id)
		events, more, err := s.History(background(), r)
		must(t, err)
		return fmt.Sprint(seqsOf(events)), more
	}
	check := func(what, viewer string, r im.EventRange, want string, wantMore bool) {
		t.Helper()
		got, more := history(viewer, r)
		equal(t, what, []any{got, more}, []any{want, wantMore})
	}
	deleteSeqs(t, s, "u", id, 3, 4, 5, 6, 28, 30)
	check("newest", "u", im.EventRange{Limit: 3}, "[26 27 29]", true)
	check("of another", "v", im.EventRange{Limit: 3}, "[28 29 30]", true)
	check("forward", "u", im.EventRange{Forward: true, After: 1, Limit: 3}, "[2 7 8]", true)
	check("to the end", "u", im.EventRange{Forward: true, After: 27, Limit: 3}, "[29]", false)
	check("to the beginning", "u", im.EventRange{Before: 8, Limit: 5}, "[1 2 7]", false)
	check("as many as there are", "u", im.EventRange{Before: 8, Limit: 3}, "[1 2 7]", false)
	view, err := s.ConversationOf(background(), "u", id)
	must(t, err)
	equal(t, "last and head", []int64{view.Last.Seq, view.Head}, []int64{29, 30})
	commitOwn(t, s, im.OwnState{Views: []im.ReadMark{{UserID: "u", ConversationID: id, ClearedUpto: 26}}})
	check("what is left", "u", im.EventRange{Limit: 10}, "[27 29]", false)
	check("forward from the first", "u", im.EventRange{Forward: true, Limit: 1}, "[27]", true)
	commitOwn(t, s, im.OwnState{Views: []im.ReadMark{{UserID: "u", ConversationID: id, ClearedUpto: 30}}})
	view, err = s.ConversationOf(background(), "u", id)
	must(t, err)
	equal(t, "nothing is left", []any{view.Last == nil, view.Head, view.Mark.ClearedUpto}, []any{true, int64(30), int64(30)})
	deleted, err := s.Deleted(background(), "u", []im.EventRef{{ConversationID: id, Seq: 3}, {ConversationID: id, Seq: 7}, {ConversationID: "none", Seq: 3}})
	must(t, err)
	equal(t, "deleted", deleted, []im.EventRef{{ConversationID: id, Seq: 3}})
}

func ownAgain(t *testing.T, s StoreUnderTest) {
	must(t, s.CreateUser(background(), user("u")))
	nickname := "New"
	own := im.OwnState{
		Views:     []im.ReadMark{{UserID: "u", ConversationID: "c", DeletedUpto: 3}},
		Deleted:   []im.Deletion{{UserID: "u", EventRef: im.EventRef{ConversationID: "c", Seq: 3}}},
		Relations: []im.Relation{{RelationKey: im.RelationKey{UserID: "u", PeerID: "v"}, Mine: im.WishAt(1, true), Text: "hi"}},
		Profiles:  []im.ProfileUpdate{{UserID: "id of u", Seq: 2, Nickname: &nickname}},
	}
	faulty := Faulty(s.Store, Script{"CommitInbox": {UnknownDone, UnknownLost, UnknownHalf}})
	for range 3 {
		mustBe(t, faulty.CommitInbox(background(), &im.InboxCommit{Own: own}), im.ErrUnknown)
	}
	must(t, faulty.CommitInbox(background(), &im.InboxCommit{Own: own}))
	equal(t, "mark", markOf(t, s, "u", "c").DeletedUpto, int64(3))
	relations, err := s.Relations(background(), []im.RelationKey{own.Relations[0].RelationKey})
	must(t, err)
	equal(t, "relation", relations, own.Relations)
}

func ownWithEntries(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, block("u", 1, 1))
	own := im.OwnState{Views: []im.ReadMark{{UserID: "u", ConversationID: "c", ClearedUpto: 5}}}
	err := s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{block("u", 1, 1)}, Own: own})
	mustBe(t, err, im.ErrDuplicate)
	equal(t, "refused with its block", markOf(t, s, "u", "c").ClearedUpto, int64(0))
	must(t, s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{block("u", 2, 1)}, Own: own}))
	equal(t, "taken with its block", markOf(t, s, "u", "c").ClearedUpto, int64(5))
}

func eventsByID(t *testing.T, s StoreUnderTest) {
	a, b := messages("a", "u", 1, 3), messages("b", "u", 1, 2)
	must(t, s.InsertEvents(background(), slices.Concat(a, b), nil))
	got, err := s.EventsByID(background(), im.MessageRefs(b[1].ID, 5, a[0].ID))
	must(t, err)
	equal(t, "events", sortEvents(got), []im.Event{a[0], b[1]})
	got, err = s.EventsByID(background(), nil)
	must(t, err)
	equal(t, "none", len(got), 0)
}

func profilesRise(t *testing.T, s StoreUnderTest) {
	u := user("u")
	must(t, s.CreateUser(background(), u))
	write := func(seq int64, nickname, avatar, bio *string) {
		commitOwn(t, s, im.OwnState{Profiles: []im.ProfileUpdate{{UserID: u.ID, Seq: seq, Nickname: nickname, AvatarFileID: avatar, Bio: bio}}})
	}
	a, b, empty := "a", "b", ""
	write(5, &a, &a, nil)
	write(7, nil, &b, &b)
	write(6, &b, &a, &a)
	write(8, nil, nil, &empty)
	u.Nickname, u.AvatarFileID, u.Bio = "b", "b", ""
	got, err := s.UserByName(background(), "u")
	must(t, err)
	equal(t, "user", got, u)
	write(9, nil, nil, &b)
	must(t, s.ChangeAccount(background(), u.ID, im.AccountChange{Delete: true}))
	write(10, &a, &a, &a)
	got, err = s.UserByName(background(), "u")
	must(t, err)
	equal(t, "deleted", got, im.User{ID: u.ID, Username: "u", CreatedAtMs: u.CreatedAtMs, Disabled: true, Deleted: true})
}

func blocksAreNotListed(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	events := messages(id, "v", 1, 3)
	for _, i := range []int{0, 2} {
		events[i].Kind, events[i].Counted = im.KindContact, false
	}
	must(t, s.InsertEvents(background(), events[:1], nil))
	equal(t, "with a block alone", len(listed(t, s, "u")), 0)
	must(t, s.InsertEvents(background(), events[1:], nil))
	for _, who := range []string{"u", "v"} {
		view := listed(t, s, who)[0]
		equal(t, "head and time of "+who, []int64{view.Head, view.LastAtMs}, []int64{2, events[1].AtMs})
	}
	states, err := s.Conversations(background(), []string{id})
	must(t, err)
	equal(t, "changes", seqsOf(states[0].Changes), []int64{1, 3})
}
