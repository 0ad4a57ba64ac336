package session_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// spans is a tracer that traces what brings a decision for it, and hands over what
// is reported.
type spans chan im.Span

func (s spans) Join(from im.Trace) im.Trace {
	if from.Sampling == "1" {
		return from.Child()
	}
	return from
}

func (s spans) Report(span im.Span) { s <- span }

// next receives a span, which must have a name.
func (s spans) next(t *testing.T, name string) im.Span {
	t.Helper()
	select {
	case one := <-s:
		if one.Name != name || one.End.Before(one.Start) {
			t.Fatalf("span %+v, want %s", one, name)
		}
		return one
	case <-time.After(10 * time.Second):
		t.Fatalf("no span %s came within 10 s", name)
		panic("unreachable")
	}
}

func (s spans) none(t *testing.T) {
	t.Helper()
	select {
	case one := <-s:
		t.Errorf("reported %+v", one)
	default:
	}
}

const traced = "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"

// acked answers sends, and delivers nothing.
func acked(*imv1.Publish) *imv1.Reply {
	return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{MessageId: 42, ConversationId: "c"}}}
}

// A send's span lasts until its answer, and what follows hangs below it.
func TestTheSpanOfASend(t *testing.T) {
	s := make(spans, 100)
	cluster := sessiontest.New(t, 1)
	cluster.OnPublish = acked
	c := connect(t, cluster.Hub(t, session.Config{Tracer: s}), wire.JSON)
	c.Login("ann", "d1")
	one := send("m1")
	one.B3 = traced
	c.Send(wire.OpSend, 7, one)
	c.Expect("send_ack 7", nil)

	span := s.next(t, "send")
	if span.ParentID != "a2fb4a1d1a96d312" || span.Kind != im.SpanServer || span.Tags["error"] != "" ||
		span.Tags["message.id"] != "42" || span.Tags["conversation.id"] != "c" {
		t.Errorf("span %+v", span)
	}
	if b3 := cluster.Published()[0].B3; b3 != span.Trace.String() {
		t.Errorf("published with b3 %q, want %q", b3, span.Trace)
	}
	s.none(t)
}

func TestASendThatIsNotTracedCarriesItsB3On(t *testing.T) {
	s := make(spans, 100)
	cluster := sessiontest.New(t, 1)
	cluster.OnPublish = acked
	c := connect(t, cluster.Hub(t, session.Config{Tracer: s}), wire.JSON)
	c.Login("ann", "d1")
	for i, b3 := range []string{"", "0", "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-0", "no b3"} {
		one := send(strconv.Itoa(i))
		one.B3 = b3
		c.Send(wire.OpSend, int32(i+1), one)
		c.Expect("send_ack "+strconv.Itoa(i+1), nil)
		want := b3
		if b3 == "no b3" {
			want = "" // accept reads the client's own, and refuses it
		}
		if got := cluster.Published()[i].B3; got != want {
			t.Errorf("published with b3 %q, want %q", got, want)
		}
	}
	s.none(t)
}

// An entry's span lasts until it is written; then the wait for the device's ack
// begins.
func TestTheSpansOfADelivery(t *testing.T) {
	s := make(spans, 100)
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{Tracer: s}), wire.Proto)
	c.Login("ann", "d1")
	entry, err := (&imv1.Entry{Kind: "message", Message: &imv1.Message{MessageId: 42, ConversationId: "c"}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Push("ann", 1, &imv1.Push{What: &imv1.Push_Entry{Entry: entry}, B3: "0"})
	cluster.Push("ann", 2, &imv1.Push{What: &imv1.Push_Entry{Entry: entry}, B3: traced})
	c.Expect("deliver 0", nil)
	c.Expect("deliver 0", nil)
	deliver := s.next(t, "deliver")
	s.none(t)
	c.Send(wire.OpAck, 0, &imv1.Ack{Seq: 2})
	ack := s.next(t, "ack")

	for _, span := range []im.Span{deliver, ack} {
		if span.ParentID != "a2fb4a1d1a96d312" || span.Tags["inbox.seq"] != "2" || span.Tags["message.id"] != "42" ||
			span.Tags["conversation.id"] != "c" || span.Tags["platform"] != "web" {
			t.Errorf("span %+v", span)
		}
	}
	if ack.SpanID == deliver.SpanID || ack.Start.Before(deliver.End) {
		t.Errorf("ack %+v does not follow %+v", ack, deliver)
	}
}

// What a session leaves open ends with it.
func TestTheSpansOfASessionThatEnds(t *testing.T) {
	s := make(spans, 100)
	cluster := sessiontest.New(t, 1)
	published := make(chan struct{})
	cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { close(published); return nil }
	c := connect(t, cluster.Hub(t, session.Config{Tracer: s}), wire.JSON)
	c.Login("ann", "d1")
	one := send("m1")
	one.B3 = traced
	c.Send(wire.OpSend, 1, one)
	<-published
	c.Wire.Close()
	if span := s.next(t, "send"); span.Tags["error"] == "" {
		t.Errorf("span %+v has no error", span)
	}
}
