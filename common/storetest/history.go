package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var historyTests = []testCase{
	{"goes both ways", historyWays},
	{"is the union of one's stays", historyStays},
	{"pages cover everything once", historyPages},
	{"stays come with past ones", staysOf},
	{"read marks are of present members", readMarksOf},
}

func historyWays(t *testing.T, s StoreUnderTest) {
	c := im.GroupConversation("g")
	events := messages(c, "u", 1, 10)
	events[4].Kind = im.KindRecall // seq 5
	must(t, s.InsertEvents(background(), events, nil))
	always := []im.Member{{ConversationID: c, UserID: "u", JoinedSeq: 1, LeftSeq: im.Forever}}
	for _, r := range []struct {
		im.EventRange
		want []int64
		more bool
	}{
		{im.EventRange{Limit: 3}, []int64{8, 9, 10}, true},
		{im.EventRange{Limit: 50}, []int64{1, 2, 3, 4, 6, 7, 8, 9, 10}, false},
		{im.EventRange{Limit: 9}, []int64{1, 2, 3, 4, 6, 7, 8, 9, 10}, false},
		{im.EventRange{Limit: 8}, []int64{2, 3, 4, 6, 7, 8, 9, 10}, true},
		{im.EventRange{Before: 6, Limit: 2}, []int64{3, 4}, true},
		{im.EventRange{Before: 1, Limit: 2}, nil, false},
		{im.EventRange{Forward: true, Limit: 2}, []int64{1, 2}, true},
		{im.EventRange{Forward: true, After: 4, Limit: 2}, []int64{6, 7}, true},
		{im.EventRange{Forward: true, After: 8, Limit: 2}, []int64{9, 10}, false},
		{im.EventRange{Forward: true, After: 10, Limit: 2}, nil, false},
	} {
		r.ConversationID, r.Stays = c, always
		got, more, err := s.History(background(), r.EventRange)
		must(t, err)
		equal(t, fmt.Sprintf("%+v", r.EventRange), seqsOf(got), r.want)
		equal(t, fmt.Sprintf("more of %+v", r.EventRange), more, r.more)
	}
}

func historyStays(t *testing.T, s StoreUnderTest) {
	c := im.GroupConversation("g")
	must(t, s.InsertEvents(background(), messages(c, "u", 1, 20), nil))
	stays := []im.Member{
		{ConversationID: c, UserID: "u", JoinedSeq: 12, LeftSeq: 14},
		{ConversationID: c, UserID: "u", JoinedSeq: 3, LeftSeq: 5},
		{ConversationID: c, UserID: "u", JoinedSeq: 19, LeftSeq: im.Forever},
	}
	for _, r := range []struct {
		im.EventRange
		want []int64
		more bool
	}{
		{im.EventRange{Limit: 4}, []int64{13, 14, 19, 20}, true},
		{im.EventRange{Limit: 8}, []int64{3, 4, 5, 12, 13, 14, 19, 20}, false},
		{im.EventRange{Before: 13, Limit: 2}, []int64{5, 12}, true},
		{im.EventRange{Before: 4, Limit: 2}, []int64{3}, false},
		{im.EventRange{Forward: true, Limit: 4}, []int64{3, 4, 5, 12}, true},
		{im.EventRange{Forward: true, After: 4, Limit: 2}, []int64{5, 12}, true},
		{im.EventRange{Forward: true, After: 14, Limit: 2}, []int64{19, 20}, false},
	} {
		r.ConversationID, r.Stays = c, stays
		got, more, err := s.History(background(), r.EventRange)
		must(t, err)
		equal(t, fmt.Sprintf("%+v", r.EventRange), seqsOf(got), r.want)
		equal(t, fmt.Sprintf("more of %+v", r.EventRange), more, r.more)
	}
}

func historyPages(t *testing.T, s StoreUnderTest) {
	c := im.GroupConversation("g")
	must(t, s.InsertEvents(background(), messages(c, "u", 1, 30), nil))
	stays := []im.Member{{JoinedSeq: 2, LeftSeq: 9}, {JoinedSeq: 15, LeftSeq: im.Forever}}
	whole, _, err := s.History(background(), im.EventRange{ConversationID: c, Limit: 100, Stays: stays})
	must(t, err)
	for limit := 1; limit < 30; limit++ {
		var up, down []im.Event
		r := im.EventRange{ConversationID: c, Forward: true, Limit: limit, Stays: stays}
		for more := true; more; {
			var page []im.Event
			page, more, err = s.History(background(), r)
			must(t, err)
			up = append(up, page...)
			r.After = page[len(page)-1].Seq
		}
		r.Forward = false
		for more := true; more; {
			var page []im.Event
			page, more, err = s.History(background(), r)
			must(t, err)
			down = append(page, down...)
			r.Before = page[0].Seq
		}
		equal(t, "upwards", up, whole)
		equal(t, "downwards", down, whole)
	}
}

func staysOf(t *testing.T, s StoreUnderTest) {
	stays := []im.Member{
		{UserID: "u", JoinedSeq: 1, LeftSeq: 4, Role: "member", Seq: 4},
		{UserID: "u", JoinedSeq: 7, LeftSeq: im.Forever, Role: "admin", Seq: 7},
	}
	id := group(t, s, "g", append(stays, im.Member{UserID: "v", JoinedSeq: 1, LeftSeq: im.Forever})...)
	got, err := s.Stays(background(), "u", id)
	must(t, err)
	slices.SortFunc(got, func(a, b im.Member) int { return cmp.Compare(a.JoinedSeq, b.JoinedSeq) })
	for i := range stays {
		stays[i].ConversationID = id
	}
	equal(t, "stays", got, stays)
	got, err = s.Stays(background(), "w", id)
	must(t, err)
	equal(t, "of nobody", len(got), 0)
}

func readMarksOf(t *testing.T, s StoreUnderTest) {
	id := group(t, s, "g",
		im.Member{UserID: "a", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "b", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "c", JoinedSeq: 1, LeftSeq: 3})
	want := []im.ReadMark{{UserID: "a", ConversationID: id, ReadUpto: 4, ReceiptedUpto: 3, DeliveredUpto: 5}, {UserID: "b", ConversationID: id}}
	must(t, s.CommitInbox(background(), &im.InboxCommit{Marks: []im.ReadMark{want[0], {UserID: "c", ConversationID: id, ReadUpto: 2}, {UserID: "b", ConversationID: "x", ReadUpto: 9}}}))
	got, err := s.ReadMarksOf(background(), id)
	must(t, err)
	slices.SortFunc(got, func(a, b im.ReadMark) int { return cmp.Compare(a.UserID, b.UserID) })
	equal(t, "marks", got, want)
}
