package zipkin

import (
	"strconv"
	"time"

	"github.com/openzipkin/zipkin-go/model"

	"github.com/im-transfer/im"
)

// Tracer speaks for one server. It is safe for concurrent use.
type Tracer struct {
	reporter *Reporter
	endpoint *model.Endpoint
	serverID string
}

// Tracer returns a tracer for a server: service is its service name in Zipkin,
// serverID goes into the tag server.id of its spans.
func (r *Reporter) Tracer(service, serverID string) *Tracer {
	return &Tracer{reporter: r, endpoint: &model.Endpoint{ServiceName: service}, serverID: serverID}
}

// Join decides about a request whether it is traced, once for all of its way. from
// is the trace that it brings: one that is decided stays so, another is sampled by
// the rate. It returns the place of the request's own span, which is Sampled; or
// what the request must carry on so that nobody decides again, nothing where it
// brought nothing.
func (t *Tracer) Join(from im.Trace) im.Trace {
	switch {
	case from.Sampling == "0":
		return from
	case from.Sampling == "" && !t.reporter.chosen():
		if from.TraceID != "" {
			from.Sampling = "0"
		}
		return from
	case from.Sampling == "":
		from.Sampling = "1"
	}
	return from.Child()
}

// Report takes a span that is over. It never waits; a span for which there is no
// room is dropped.
func (t *Tracer) Report(span im.Span) { t.reporter.put(report{tracer: t, span: span}) }

// report is a span on its way, and whose it is.
type report struct {
	tracer *Tracer
	span   im.Span
}

// model returns the span in Zipkin's form; not ok when it has no place in a trace
// or no time.
func (r *report) model() (model.SpanModel, bool) {
	s := &r.span
	trace, err1 := model.TraceIDFromHex(s.TraceID)
	id, err2 := spanID(s.SpanID)
	if err1 != nil || err2 != nil || id == 0 || s.Start.Unix() < 1 {
		return model.SpanModel{}, false
	}
	context := model.SpanContext{TraceID: trace, ID: id, Debug: s.Sampling == "d"}
	if s.ParentID != "" {
		parent, err := spanID(s.ParentID)
		if err != nil {
			return model.SpanModel{}, false
		}
		context.ParentID = &parent
	}
	tags := make(map[string]string, len(s.Tags)+1)
	for name, value := range s.Tags {
		tags[name] = value
	}
	tags["server.id"] = r.tracer.serverID
	return model.SpanModel{
		SpanContext: context, Name: s.Name, Kind: model.Kind(s.Kind), LocalEndpoint: r.tracer.endpoint,
		Timestamp: s.Start, Duration: max(s.End.Sub(s.Start), time.Microsecond), Tags: tags, // Zipkin leaves out a duration of 0
	}, true
}

func spanID(hex string) (model.ID, error) {
	id, err := strconv.ParseUint(hex, 16, 64)
	return model.ID(id), err
}
