package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

var eventTests = []testCase{
	{"keep every column", eventColumns},
	{"are found by key, by place and by range", eventReads},
	{"are unique by seq", uniqueSeq},
	{"are unique by client key", uniqueClientKey},
	{"with ids that look alike are apart", alikeIDs},
	{"after the refused one are not in", refusedInTheMiddle},
	{"race for a seq has one winner", seqRace},
	{"of many partitions at once are all in", manyPartitions},
	{"of an ended context are in or refused", endedContext},
}

func eventColumns(t *testing.T, s StoreUnderTest) {
	kinds := []im.Kind{im.KindMessage, im.KindRecall, im.KindEdit, im.KindReaction, im.KindMembership}
	conversation := im.RoomConversation("r")
	var want []im.Event
	for i, kind := range kinds {
		e := message(conversation, "someone", int64(i+1))
		e.Kind = kind
		e.TargetID, e.ThreadID, e.ExpiresAtMs = 1<<62+1, 77, startMs+1
		e.Flags, e.Counted = im.FlagNoPush|1<<31, i%2 == 0
		e.B3 = strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-1"
		e.Body = []byte{0, 1, 255}
		want = append(want, e)
	}
	bare := im.Event{ID: 1, ConversationID: conversation, Seq: 6, Kind: im.KindMessage, ClientID: "c", AtMs: startMs}
	long := message(conversation, strings.Repeat("ü", 32), 7)
	long.DeviceID, long.ClientID, long.Body = strings.Repeat("d", 64), strings.Repeat("c", 64), make([]byte, im.MaxContentBytes)
	long.Hash = 0
	want = append(want, bare, long)
	must(t, s.InsertEvents(background(), want, nil))
	equal(t, "events", stored(t, s, conversation), want)
}

func eventReads(t *testing.T, s StoreUnderTest) {
	a, b := im.DirectConversation("u", "v"), im.DirectConversation("u", "w")
	events := append(messages(a, "u", 1, 5), messages(b, "w", 1, 3)...)
	must(t, s.InsertEvents(background(), events, nil))

	got, err := s.EventsByKey(background(), []im.ClientKey{
		events[6].Key(), events[1].Key(), {ConversationID: a, SenderID: "u", DeviceID: "phone", ClientID: "none"},
		{ConversationID: "nowhere", SenderID: "nobody", DeviceID: "phone", ClientID: "client-1"},
	})
	must(t, err)
	equal(t, "by key", sortEvents(got), sortEvents([]im.Event{events[1], events[6]}))

	got, err = s.EventsAt(background(), []im.EventRef{{ConversationID: a, Seq: 4}, {ConversationID: b, Seq: 4}, {ConversationID: b, Seq: 3}, {ConversationID: "nowhere", Seq: 1}})
	must(t, err)
	equal(t, "by place", sortEvents(got), sortEvents([]im.Event{events[3], events[7]}))

	for _, r := range []struct {
		after int64
		limit int
		want  []int64
	}{{0, 10, []int64{1, 2, 3, 4, 5}}, {0, 2, []int64{1, 2}}, {3, 10, []int64{4, 5}}, {5, 10, nil}} {
		got, err := s.EventsAfter(background(), a, r.after, r.limit)
		must(t, err)
		equal(t, fmt.Sprint("after ", r.after), seqsOf(got), r.want)
	}
}

func uniqueSeq(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	first, other := message(c, "u", 1), message(c, "v", 1)
	other.ID, other.ClientID = first.ID+1, "another"
	must(t, s.InsertEvents(background(), []im.Event{first}, nil))
	mustBe(t, s.InsertEvents(background(), []im.Event{other}, nil), im.ErrDuplicate)
	equal(t, "events", stored(t, s, c), []im.Event{first})
}

func uniqueClientKey(t *testing.T, s StoreUnderTest) {
	a, b := im.DirectConversation("u", "v"), im.DirectConversation("u", "w")
	first := message(a, "u", 1)
	must(t, s.InsertEvents(background(), []im.Event{first}, nil))

	again := message(a, "u", 2)
	again.ClientID = first.ClientID
	mustBe(t, s.InsertEvents(background(), []im.Event{again}, nil), im.ErrDuplicate)

	device, sender, conversation := again, again, again
	device.DeviceID = "web"
	sender.SenderID, sender.Seq = "v", 3
	conversation.ConversationID = b
	must(t, s.InsertEvents(background(), []im.Event{device, sender, conversation}, nil))
}

// alikeIDs gives ids that a driver may pack: none may meet another.
func alikeIDs(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	const uuid = "019b0000-0000-7000-8000-0000000000ab"
	var want []im.Event
	for i, id := range []string{
		uuid, strings.ToUpper(uuid), strings.ReplaceAll(uuid, "-", ""), "{" + uuid + "}", uuid + "0",
		"abcdefghijklmnop", "61626364-6566-6768-696a-6b6c6d6e6f70", // the text of 16 bytes, and their UUID
		"019b0000_0000-7000-8000-0000000000ab", "g19b0000-0000-7000-8000-0000000000ab",
		"-0000-00-0000-0000-0000-000000000000", "0000-000-0000-0000-0000-000000000000", "0", "00", "1", "1.0",
	} {
		e := message(c, "u", int64(2*i+1))
		e.ClientID = id
		d := message(c, "u", int64(2*i+2))
		d.ClientID, d.DeviceID = "same", e.ClientID
		want = append(want, e, d)
	}
	must(t, s.InsertEvents(background(), want, nil))
	equal(t, "events", stored(t, s, c), want)
}

func refusedInTheMiddle(t *testing.T, s StoreUnderTest) {
	a, b := im.DirectConversation("u", "v"), im.DirectConversation("u", "w")
	must(t, s.InsertEvents(background(), messages(a, "u", 2, 2), nil))
	batch := []im.Event{message(b, "u", 1), message(a, "u", 1), message(a, "u", 2), message(a, "u", 3), message(b, "u", 2)}
	mustBe(t, s.InsertEvents(background(), batch, nil), im.ErrDuplicate)

	if hasOutbox(t, s) {
		equal(t, "seqs of a", seqsOf(stored(t, s, a)), []int64{2})
		equal(t, "seqs of b", seqsOf(stored(t, s, b)), []int64(nil))
		return
	}
	equal(t, "after the refused one", len(stored(t, s, a))+len(stored(t, s, b)) <= 3, true)
	for _, e := range append(stored(t, s, a), stored(t, s, b)...) {
		if e.ID == batch[3].ID && e.ConversationID == a || e.Seq == 2 && e.ConversationID == b {
			t.Fatalf("an event behind the refused one is in: %+v", e)
		}
	}
}

func seqRace(t *testing.T, s StoreUnderTest) {
	c := im.DirectConversation("u", "v")
	const writers = 8
	for seq := int64(1); seq <= 20; seq++ {
		errs := together(writers, func(i int) error {
			e := message(c, "u", seq)
			e.ID, e.ClientID = e.ID+int64(i), fmt.Sprint(seq, " by ", i)
			return s.InsertEvents(background(), []im.Event{e}, nil)
		})
		winner := oneWinner(t, errs, im.ErrDuplicate)
		got, err := s.EventsAt(background(), []im.EventRef{{ConversationID: c, Seq: seq}})
		must(t, err)
		equal(t, "winner", got[0].ClientID, fmt.Sprint(seq, " by ", winner))
	}
}

func manyPartitions(t *testing.T, s StoreUnderTest) {
	const partitions, batches, size = 16, 20, 7
	errs := together(partitions, func(p int) error {
		c := im.GroupConversation(fmt.Sprint(p))
		for b := range int64(batches) {
			batch := messages(c, fmt.Sprint("user ", b), b*size+1, (b+1)*size)
			if err := s.InsertEvents(background(), batch, nil); err != nil {
				return err
			}
			// What was answered is there for the next reader.
			got, err := s.EventsAfter(background(), c, b*size, size+1)
			if err != nil || len(got) != size {
				return fmt.Errorf("%d of %d events, %w", len(got), size, err)
			}
		}
		return nil
	})
	must(t, errors.Join(errs...))
	for p := range partitions {
		c := im.GroupConversation(fmt.Sprint(p))
		equal(t, c, seqsOf(stored(t, s, c)), seqsOf(messages(c, "", 1, batches*size)))
	}
}

func endedContext(t *testing.T, s StoreUnderTest) {
	ctx, cancel := context.WithCancel(background())
	cancel()
	c := im.DirectConversation("u", "v")
	err := s.InsertEvents(ctx, messages(c, "u", 1, 1), nil)
	in := len(stored(t, s, c)) == 1
	if in && err != nil && !errors.Is(err, im.ErrUnknown) || !in && err == nil {
		t.Fatalf("in is %v, error is %v", in, err)
	}
}
