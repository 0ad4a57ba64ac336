package im

import "time"

// SpanKind says on which side of a hand-over a span is; empty for a step within a
// server.
type SpanKind string

// The kinds of spans, as Zipkin writes them.
const (
	SpanServer   SpanKind = "SERVER"   // a request is answered
	SpanProducer SpanKind = "PRODUCER" // something is put into the queue
	SpanConsumer SpanKind = "CONSUMER" // something is taken out of it
)

// Span is one step on the way of a traced message that is over.
type Span struct {
	Trace          // its own place
	Name  string   // lower case
	Kind  SpanKind // may be empty
	Start time.Time
	End   time.Time
	Tags  map[string]string // not written to after the span has been reported
}
