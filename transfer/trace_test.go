package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// spans is a tracer that hands over what is reported.
type spans chan im.Span

func (s spans) Report(span im.Span) { s <- span }

func traced(s spans) option {
	return func(c *transfer.Config, w *world) { c.Tracer, w.store = s, storetest.WithoutOutbox(w.db) }
}

// until receives spans until there are so many of each name, and returns them all.
func (s spans) until(t *testing.T, want map[string]int) map[string][]im.Span {
	t.Helper()
	got, missing := map[string][]im.Span{}, 0
	for _, n := range want {
		missing += n
	}
	for missing > 0 {
		one := recv(t, s)
		got[one.Name] = append(got[one.Name], one)
		if len(got[one.Name]) <= want[one.Name] {
			missing--
		}
	}
	return got
}

var root = im.Trace{TraceID: "463ac35c9f6413ad48485a3953bb6124", SpanID: "a2fb4a1d1a96d312", Sampling: "1"}

// publish posts sends of one user in one stream message, each with a trace.
func (g *gate) publish(from string, traces []im.Trace, sends ...*imv1.Send) {
	g.t.Helper()
	up := &imv1.ToTransfer{}
	for i, send := range sends {
		body, err := send.MarshalVT()
		must(g.t, err)
		up.Publishes = append(up.Publishes, &imv1.Publish{
			Session: 1, Request: g.request.Add(1), UserId: from, DeviceId: "d1", What: &imv1.Publish_Send{Send: body}, B3: traces[i].String(),
		})
	}
	g.up(up)
}

func TestEveryStepOfATracedMessageIsAChildOfItsRoot(t *testing.T) {
	s := make(spans, 1000)
	w := start(t, traced(s))
	w.users("alice") // a self-chat: one recipient
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.publish("alice", []im.Trace{root}, text("alice", "m1", "", "hello"))
	ack := recv(t, g.replies).GetSendAck()
	pushed := recv(t, g.pushes)
	got := s.until(t, map[string]int{
		"accept": 1, "publish": 1, "sequence": 1, "store": 1, "fan-out": 1, "inbox": 1, "push": 1, "sequence batch": 1, "inbox batch": 1,
	})

	for name, all := range got {
		one := all[0]
		if len(all) != 1 || one.End.Before(one.Start) || one.Tags["partition"] == "" {
			t.Errorf("spans %s = %+v", name, all)
		}
		if name == "sequence batch" || name == "inbox batch" {
			continue
		}
		if one.TraceID != root.TraceID || one.ParentID != root.SpanID || !one.Sampled() || one.Tags["conversation.id"] != ack.ConversationId {
			t.Errorf("%s = %+v, no child of %+v", name, one, root)
		}
		if name != "accept" && name != "publish" && one.Tags["message.id"] != strconv.FormatInt(ack.MessageId, 10) {
			t.Errorf("%s has the tags %v, the message is %d", name, one.Tags, ack.MessageId)
		}
	}
	for before, after := range map[string]string{"accept": "publish", "sequence": "store", "store": "fan-out", "inbox": "push"} {
		if end, start := got[before][0].End, got[after][0].Start; !end.Equal(start) {
			t.Errorf("%s ends %s before %s starts", before, start.Sub(end), after)
		}
	}
	if seq := got["inbox"][0].Tags["inbox.seq"]; seq != strconv.FormatInt(pushed.entry.Seq, 10) {
		t.Errorf("inbox seq %s, pushed %d", seq, pushed.entry.Seq)
	}
}

// A commit is of many messages: its span, in a trace of its own, names those that
// are traced, and they name it.
func TestTheSpanOfABatchAndThoseOfItsMessagesNameEachOther(t *testing.T) {
	const messages = 50
	s := make(spans, 10000)
	w := start(t, traced(s))
	w.users("alice")
	g := w.gate()
	traces, sends := make([]im.Trace, messages), make([]*imv1.Send, messages)
	for i := range messages {
		if sends[i] = text("alice", fmt.Sprint("m", i), "", "hello"); i%2 == 0 {
			traces[i] = im.Trace{Sampling: "1"}.Child()
		}
	}
	g.publish("alice", traces, sends...) // they are one queue item, and so one batch
	got := s.until(t, map[string]int{"sequence": messages / 2, "inbox": messages / 2, "sequence batch": 1, "inbox batch": 1})

	for batch, step := range map[string]string{"sequence batch": "sequence", "inbox batch": "inbox"} {
		whole := got[batch][0]
		if len(got[batch]) != 1 || whole.Tags["batch.size"] != strconv.Itoa(messages) || whole.ParentID != "" {
			t.Errorf("%s = %+v", batch, got[batch])
		}
		links := linksOf(whole)
		for _, one := range got[step] {
			if !links[one.TraceID+"/"+one.SpanID] || one.Tags["batch"] != whole.TraceID+"/"+whole.SpanID {
				t.Errorf("%s %+v and its batch do not name each other: %v", step, one, whole.Tags)
			}
		}
		if len(links) != messages/2 {
			t.Errorf("%s has %d links", batch, len(links))
		}
	}
}

func linksOf(span im.Span) map[string]bool {
	links := map[string]bool{}
	for tag, value := range span.Tags {
		if strings.HasPrefix(tag, "link.") {
			links[value] = true
		}
	}
	return links
}

func TestTheLinksOfABatchAreBounded(t *testing.T) {
	const messages = 100
	s := make(spans, 10000)
	w := start(t, traced(s))
	w.users("alice")
	traces, sends := slices.Repeat([]im.Trace{root}, messages), make([]*imv1.Send, messages)
	for i := range messages {
		sends[i] = text("alice", fmt.Sprint("m", i), "", "hello")
	}
	w.gate().publish("alice", traces, sends...)
	whole := s.until(t, map[string]int{"sequence batch": 1})["sequence batch"][0]
	if n := len(linksOf(whole)); n != 32 || whole.Tags["batch.size"] != "100" {
		t.Errorf("%d links of %s messages", n, whole.Tags["batch.size"])
	}
}

// What came a second time, for the answer had been lost, stands beside the first.
func TestARepeatIsAnotherStepOfTheSameTrace(t *testing.T) {
	s := make(spans, 1000)
	w := start(t, traced(s))
	w.users("alice")
	g := w.gate()
	for range 2 {
		g.publish("alice", []im.Trace{root}, text("alice", "m1", "", "hello"))
		recv(t, g.replies)
	}
	steps := s.until(t, map[string]int{"sequence": 2})["sequence"]
	if first, second := steps[0], steps[1]; first.ParentID != second.ParentID || first.SpanID == second.SpanID ||
		first.Tags["repeat"] != "" || second.Tags["repeat"] != "true" || first.Tags["message.id"] != second.Tags["message.id"] {
		t.Errorf("first %+v, then %+v", first, second)
	}
}

func TestARefusalIsAnError(t *testing.T) {
	s := make(spans, 1000)
	w := start(t, traced(s))
	w.users("alice")
	g := w.gate()
	g.publish("alice", []im.Trace{root}, text("alice", "m2", "m1", "hello"))
	recv(t, g.replies)
	if one := s.until(t, map[string]int{"sequence": 1})["sequence"][0]; one.Tags["error"] != "out_of_order" {
		t.Errorf("sequence = %+v", one)
	}
	g.publish("alice", []im.Trace{root}, text("alice", "m1", "", ""))
	recv(t, g.replies)
	for one := recv(t, s); one.Name != "accept" || one.Tags["error"] != "invalid"; one = recv(t, s) {
	} // the first one's accept has none
}

// lostOnce is a store in which another owner has put a foreign event, once.
type lostOnce struct {
	transfer.Store
	done *bool
}

func (l lostOnce) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	if *l.done {
		return l.Store.InsertEvents(ctx, events, packs)
	}
	*l.done = true
	foreign := slices.Clone(events)
	for i := range foreign {
		foreign[i].ID, foreign[i].ClientID, foreign[i].B3 = foreign[i].ID+1, "foreign", ""
	}
	return errors.Join(l.Store.InsertEvents(ctx, foreign, packs), im.ErrDuplicate)
}

// An owner that stands down leaves its step in the trace; the next owner's stands
// beside it, below the same root.
func TestTheTraceGoesOnWithTheNextOwner(t *testing.T) {
	s := make(spans, 1000)
	w := start(t, func(c *transfer.Config, w *world) {
		c.Tracer, w.store = s, lostOnce{storetest.WithoutOutbox(w.db), new(bool)}
	})
	w.users("alice")
	g := w.gate()
	g.publish("alice", []im.Trace{root}, text("alice", "m1", "", "hello"))
	if ack := recv(t, g.replies).GetSendAck(); ack.GetConversationSeq() != 2 {
		t.Fatalf("ack = %v", ack)
	}
	got := s.until(t, map[string]int{"sequence": 2, "store": 1, "fan-out": 1, "inbox": 1})
	if first, second := got["sequence"][0], got["sequence"][1]; first.Tags["error"] == "" || second.Tags["error"] != "" ||
		first.ParentID != root.SpanID || second.ParentID != root.SpanID {
		t.Errorf("first %+v, then %+v", first, second)
	}
}

// What is not traced reports nothing, and carries on what it came with.
func TestWhatIsNotTracedCarriesItsB3OnAndReportsNothing(t *testing.T) {
	s := make(spans, 1000)
	w := start(t, traced(s))
	w.users("alice")
	g := w.gate()
	no := im.Trace{TraceID: root.TraceID, SpanID: root.SpanID, Sampling: "0"}
	for i, trace := range []im.Trace{{}, {Sampling: "0"}, no} {
		g.publish("alice", []im.Trace{trace}, text("alice", fmt.Sprint("m", i), "", "hello"))
		ack := recv(t, g.replies).GetSendAck()
		events, err := w.db.EventsAt(t.Context(), []im.EventRef{{ConversationID: ack.GetConversationId(), Seq: ack.GetConversationSeq()}})
		must(t, err)
		if len(events) != 1 || events[0].B3 != trace.String() {
			t.Errorf("stored %+v, want b3 %q", events, trace)
		}
	}
	// The inbox is behind the acks: a traced one comes after all of them.
	g.publish("alice", []im.Trace{root}, text("alice", "last", "", "hello"))
	got := s.until(t, map[string]int{"inbox": 1})
	if names := slices.Sorted(maps.Keys(got)); len(got["sequence"]) != 1 || len(got["inbox"]) != 1 || len(got["accept"]) != 1 {
		t.Errorf("more than one message was traced: %v", names)
	}
}

// The client's own is looked at even where the gateway has joined it.
func TestABadB3OfAClientIsInvalid(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	send := text("alice", "m1", "", "hello")
	send.B3 = "nonsense"
	g.publish("alice", []im.Trace{root}, send)
	if c := code(recv(t, g.replies)); c != "invalid" {
		t.Errorf("code %q, want invalid", c)
	}
}
