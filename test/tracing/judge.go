package tracing

import (
	"slices"
	"strings"
	"testing"
)

// Message is what a trace is about.
type Message struct {
	ID             string
	ConversationID string
	Parent         string // span id that the client gave
}

// tolerance is what two clocks of one machine may differ by, in microseconds: a
// transfer's is monotonic since its start, the others' are the wall clock.
const tolerance = 2000

// The steps of the way, in order. The answer to the sender waits for the first;
// deliveries are beside it, and may be behind.
var (
	awaited    = []string{"accept", "publish", "sequence", "store", "fan-out"}
	deliveries = []string{"inbox", "push", "deliver", "ack"}
)

// services says which servers report a span.
var services = map[string][]string{
	"post /v1/messages": {"im-http"},
	"accept":            {"im-transfer"}, "publish": {"im-transfer"}, "sequence": {"im-transfer"}, "store": {"im-transfer"},
	"fan-out": {"im-transfer"}, "inbox": {"im-transfer"}, "push": {"im-transfer"},
	"deliver": {"im-websocket", "im-tcp"}, "ack": {"im-websocket", "im-tcp"},
}

// tagged says which tags a span has, beside server.id.
var tagged = map[string]string{
	"post /v1/messages": "http.method http.path http.status_code request.id",
	"accept":            "partition conversation.id", "publish": "partition conversation.id",
	"sequence": "partition batch.size batch message.id conversation.id queue.waited_ms",
	"store":    "partition batch.size batch message.id conversation.id",
	"fan-out":  "partition batch.size batch message.id conversation.id",
	"inbox":    "partition batch.size batch message.id conversation.id inbox.seq users",
	"push":     "partition message.id conversation.id gateway",
	"deliver":  "message.id conversation.id inbox.seq platform", "ack": "message.id conversation.id inbox.seq platform",
}

// Judge fails the test unless the spans are one tree, each tells what it should, and
// their times add up.
func Judge(t *testing.T, spans []Span, m Message) {
	t.Helper()
	root := rootOf(t, spans, m)
	if root == nil {
		return
	}
	for i := range spans {
		s := &spans[i]
		if s != root && s.ParentID != root.ID {
			t.Errorf("%s is a child of %s, not of the root", s.Name, s.ParentID)
		}
		tells(t, s, m)
	}
	answerAddsUp(t, root, spans)
	deliveriesFollow(t, root, spans)
}

// rootOf finds the one span that is a child of the client's, and that no span is
// there twice.
func rootOf(t *testing.T, spans []Span, m Message) (root *Span) {
	t.Helper()
	ids := map[string]bool{}
	for i := range spans {
		s := &spans[i]
		if ids[s.ID] {
			t.Errorf("two spans have the id %s", s.ID)
		}
		if ids[s.ID] = true; s.ParentID != m.Parent {
			continue
		}
		if root != nil {
			t.Errorf("the trace has two roots: %s and %s", root.Name, s.Name)
		}
		root = s
	}
	if root == nil || root.Name != "post /v1/messages" {
		t.Errorf("the root is %+v", root)
		return nil
	}
	return root
}

func tells(t *testing.T, s *Span, m Message) {
	t.Helper()
	if !slices.Contains(services[s.Name], s.Endpoint.Service) {
		t.Errorf("%s is reported by %q, not by one of %v", s.Name, s.Endpoint.Service, services[s.Name])
	}
	for _, tag := range append(strings.Fields(tagged[s.Name]), "server.id") {
		if s.Tags[tag] == "" {
			t.Errorf("%s has no tag %s: %v", s.Name, tag, s.Tags)
		}
	}
	if id, conversation := s.Tags["message.id"], s.Tags["conversation.id"]; id != "" && id != m.ID || conversation != "" && conversation != m.ConversationID {
		t.Errorf("%s is of message %s in %s: %v", s.Name, m.ID, m.ConversationID, s.Tags)
	}
	if s.Tags["error"] != "" {
		t.Errorf("%s has failed: %v", s.Name, s.Tags)
	}
}

// answerAddsUp checks that the steps that the sender waited for follow each other
// within the root, so that they and the gaps between are its whole time. Where there
// may be a gap is known: before accept, while the request is read and on its way to
// the transfer; before sequence, while the message waits in the queue; and at the
// end, on the way back.
func answerAddsUp(t *testing.T, root *Span, spans []Span) {
	t.Helper()
	at, steps, gaps := root.Timestamp, int64(0), int64(0)
	var waits []int64
	for _, name := range awaited {
		found := of(spans, name)
		if len(found) != 1 {
			t.Errorf("%d spans %s, want 1", len(found), name)
			continue
		}
		s := found[0]
		gap := s.Timestamp - at
		switch name {
		case "accept":
		case "sequence":
			if gap < 0 { // the consumer may be quicker than the confirm
				steps, gap = steps+gap, 0
			}
		default:
			if gap < -1 || gap > 1 { // each was rounded
				t.Errorf("%s begins %d µs after the step before has ended", name, gap)
			}
		}
		if name == "accept" || name == "sequence" {
			waits = append(waits, gap)
		}
		if gap < -tolerance {
			t.Errorf("%s begins %d µs too early", name, -gap)
		}
		at, steps, gaps = s.End(), steps+s.Duration, gaps+gap
	}
	back := root.End() - at
	if back < -tolerance {
		t.Errorf("the answer was there %d µs before its last step was over", -back)
	}
	if off := root.Duration - steps - gaps - back; off < -10 || off > 10 {
		t.Errorf("steps of %d µs and gaps of %d µs are no root of %d µs", steps, gaps+back, root.Duration)
	}
	t.Logf("%d µs for the answer: %d µs in steps; on the way there and in the queue %v µs, back %d µs", root.Duration, steps, waits, back)
}

// deliveriesFollow checks the steps from the queue to the devices: none before what
// it follows, and with each device's ack its time is over.
func deliveriesFollow(t *testing.T, root *Span, spans []Span) {
	t.Helper()
	earliest, last := of(spans, "fan-out"), root.Timestamp
	for _, name := range deliveries {
		found := of(spans, name)
		for _, s := range found {
			if len(earliest) > 0 && s.Timestamp < earliest[0].Timestamp-tolerance {
				t.Errorf("%s begins %d µs before any %s", name, earliest[0].Timestamp-s.Timestamp, earliest[0].Name)
			}
			last = max(last, s.End())
		}
		earliest = found
	}
	for _, ack := range of(spans, "ack") {
		deliver := slices.IndexFunc(spans, func(s Span) bool {
			return s.Name == "deliver" && s.Tags["server.id"] == ack.Tags["server.id"] && s.Tags["platform"] == ack.Tags["platform"]
		})
		if deliver < 0 || ack.Timestamp < spans[deliver].End()-1 {
			t.Errorf("an ack begins before its delivery has ended: %+v", ack)
		}
	}
	t.Logf("%d µs until the last device had acknowledged", last-root.Timestamp)
}

func of(spans []Span, name string) []*Span {
	var found []*Span
	for i := range spans {
		if spans[i].Name == name {
			found = append(found, &spans[i])
		}
	}
	return found
}

// batchesNameTheirMessages asks for the batches that the spans name, and looks for
// the links back.
func batchesNameTheirMessages(t *testing.T, zipkin string, spans []Span) {
	t.Helper()
	for i := range spans {
		s := &spans[i]
		trace, id, named := strings.Cut(s.Tags["batch"], "/")
		if s.Name != "sequence" && s.Name != "inbox" || !named {
			continue
		}
		batch := Await(t, zipkin, trace, map[string]int{s.Name + " batch": 1})
		linked := false
		for tag, value := range batch[0].Tags {
			linked = linked || strings.HasPrefix(tag, "link.") && value == s.TraceID+"/"+s.ID
		}
		if len(batch) != 1 || batch[0].ID != id || !linked {
			t.Errorf("%s names the batch %s, which is %+v", s.Name, s.Tags["batch"], batch)
		}
	}
}
