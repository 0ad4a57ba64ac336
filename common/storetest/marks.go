package storetest

import (
	"cmp"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var markTests = []testCase{
	{"rise column by column", marksRise},
	{"cursors rise column by column", cursorsRise},
	{"due receipts are those not receipted", dueReceipts},
	{"unread counts others' counted events in one's stays", unreadCounts},
	{"unread is exact to a thousand", unreadBound},
}

func marksRise(t *testing.T, s StoreUnderTest) {
	write := func(read, receipted, delivered int64) {
		mark := im.ReadMark{UserID: "u", ConversationID: "c", ReadUpto: read, ReceiptedUpto: receipted, DeliveredUpto: delivered}
		must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{mark}}))
	}
	write(5, 2, 3)
	write(6, 0, 9)
	write(4, 3, 0)
	marks, err := s.Marks(background(), []im.ReadKey{{UserID: "v", ConversationID: "c"}, {UserID: "u", ConversationID: "c"}, {UserID: "u", ConversationID: "d"}})
	must(t, err)
	equal(t, "marks", marks, []im.ReadMark{
		{UserID: "v", ConversationID: "c"},
		{UserID: "u", ConversationID: "c", ReadUpto: 6, ReceiptedUpto: 3, DeliveredUpto: 9},
		{UserID: "u", ConversationID: "d"},
	})
}

func cursorsRise(t *testing.T, s StoreUnderTest) {
	const uuid = "019b0000-0000-7000-8000-0000000000ab"
	write := func(cursors ...im.Cursor) {
		must(t, s.CommitInbox(background(), &im.InboxCommit{Cursors: cursors}))
	}
	write(im.Cursor{UserID: "u", DeviceID: "a", Seq: 5}, im.Cursor{UserID: "u", DeviceID: uuid}, im.Cursor{UserID: "v", DeviceID: "a", Seq: 1})
	write(im.Cursor{UserID: "u", DeviceID: "a", Seq: 4, ReceiptedSeq: 3})
	write(im.Cursor{UserID: "u", DeviceID: "a", Seq: 6, ReceiptedSeq: 2})
	cursors, err := s.Cursors(background(), []string{"u", "nobody"})
	must(t, err)
	slices.SortFunc(cursors, func(a, b im.Cursor) int { return cmp.Compare(b.DeviceID, a.DeviceID) })
	equal(t, "cursors", cursors, []im.Cursor{
		{UserID: "u", DeviceID: "a", Seq: 6, ReceiptedSeq: 3},
		{UserID: "u", DeviceID: uuid},
	})
}

func dueReceipts(t *testing.T, s StoreUnderTest) {
	const partitions = 4
	commit := im.InboxCommit{
		Marks: []im.ReadMark{
			{UserID: "u", ConversationID: "c", ReadUpto: 5, ReceiptedUpto: 4},
			{UserID: "u", ConversationID: "d", ReadUpto: 5, ReceiptedUpto: 5},
			{UserID: "w", ConversationID: "c", ReadUpto: 1},
		},
		Cursors: []im.Cursor{
			{UserID: "u", DeviceID: "a", Seq: 2, ReceiptedSeq: 2},
			{UserID: "u", DeviceID: "b", Seq: 9, ReceiptedSeq: 2},
			{UserID: "w", DeviceID: "a"},
		},
	}
	must(t, s.CommitInbox(background(), &commit))
	due := func(user string) (marks []im.ReadMark, cursors []im.Cursor) {
		for p := range partitions {
			m, c, err := s.DueReceipts(background(), p, partitions)
			must(t, err)
			if p == im.Partition(user, partitions) {
				marks, cursors = m, c
			}
			for _, mark := range m {
				equal(t, "partition", im.Partition(mark.UserID, partitions), p)
			}
		}
		marks = slices.DeleteFunc(marks, func(m im.ReadMark) bool { return m.UserID != user })
		cursors = slices.DeleteFunc(cursors, func(c im.Cursor) bool { return c.UserID != user })
		return marks, cursors
	}
	marks, cursors := due("u")
	equal(t, "marks", marks, commit.Marks[:1])
	equal(t, "cursors", cursors, commit.Cursors[1:2])
	must(t, s.CommitInbox(background(), &im.InboxCommit{
		Marks:   []im.ReadMark{{UserID: "u", ConversationID: "c", ReceiptedUpto: 5}},
		Cursors: []im.Cursor{{UserID: "u", DeviceID: "b", ReceiptedSeq: 9}},
	}))
	marks, cursors = due("u")
	equal(t, "left", len(marks)+len(cursors), 0)
	marks, _ = due("w")
	equal(t, "of the other", marks, commit.Marks[2:])
}

func unreadCounts(t *testing.T, s StoreUnderTest) {
	id := group(t, s, "g",
		im.Member{UserID: "u", JoinedSeq: 3, LeftSeq: 6},
		im.Member{UserID: "u", JoinedSeq: 9, LeftSeq: im.Forever},
		im.Member{UserID: "v", JoinedSeq: 1, LeftSeq: im.Forever})
	events := messages(id, "v", 1, 12)
	events[3].Counted = false // seq 4
	events[10].SenderID = "u" // seq 11
	must(t, s.InsertEvents(background(), events, nil))
	var marks []im.ReadMark
	for _, upto := range []int64{0, 3, 5, 7, 9, 12, 99} {
		marks = append(marks, im.ReadMark{UserID: "u", ConversationID: id, ReadUpto: upto})
	}
	marks = append(marks, im.ReadMark{UserID: "v", ConversationID: id}, im.ReadMark{UserID: "nobody", ConversationID: id}, im.ReadMark{UserID: "u", ConversationID: "none"})
	counts, err := s.Unread(background(), marks)
	must(t, err)
	// Of u are 3 5 6 9 10 12; of v, who sent the rest, 11.
	equal(t, "unread", counts, []int{6, 5, 4, 3, 2, 0, 0, 1, 0, 0})
}

func unreadBound(t *testing.T, s StoreUnderTest) {
	id := direct(t, s, "u", "v")
	must(t, s.InsertEvents(background(), messages(id, "v", 1, im.MaxUnread+5), nil))
	counts, err := s.Unread(background(), []im.ReadMark{
		{UserID: "u", ConversationID: id},
		{UserID: "u", ConversationID: id, ReadUpto: 5},
		{UserID: "u", ConversationID: id, ReadUpto: 6},
	})
	must(t, err)
	equal(t, "unread", counts, []int{im.MaxUnread, im.MaxUnread, im.MaxUnread - 1})
}
