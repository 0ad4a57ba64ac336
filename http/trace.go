package http

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

// Tracer decides which requests are traced, and takes their spans.
type Tracer interface {
	// Join decides about a request that brings a trace, or none. It returns the place
	// of the request's own span, which is Sampled; otherwise what the request carries
	// on.
	Join(from im.Trace) im.Trace
	// Report takes a span that is over. It must not block.
	Report(span im.Span)
}

// b3Headers are those that a page of another origin may send.
const b3Headers = "B3, X-B3-TraceId, X-B3-SpanId, X-B3-ParentSpanId, X-B3-Sampled, X-B3-Flags"

// traceOf returns the trace that a request brings, in one header or in several (here
// in the form that net/http keeps them in, which costs nothing to look up). What
// can be none is as nothing: the headers may be another's, of a proxy on the way.
func traceOf(header http.Header) im.Trace {
	if single := header.Get("B3"); single != "" {
		trace, _ := im.ParseTrace(single)
		return trace
	}
	several := im.Trace{
		TraceID: header.Get("X-B3-Traceid"), SpanID: header.Get("X-B3-Spanid"), ParentID: header.Get("X-B3-Parentspanid"),
	}
	switch sampled := header.Get("X-B3-Sampled"); {
	case header.Get("X-B3-Flags") == "1":
		several.Sampling = "d"
	case sampled == "true", sampled == "false": // as older libraries write it
		several.Sampling = map[string]string{"true": "1", "false": "0"}[sampled]
	default:
		several.Sampling = sampled
	}
	if several.Sampling == "" {
		several.ParentID = "" // which has no place in a header that decides nothing
	}
	trace, _ := im.ParseTrace(several.String())
	return trace
}

// join decides whether a request is traced; the answer to one that is says where.
func (s *Server) join(rec *record, from im.Trace) {
	if s.config.Tracer == nil {
		return
	}
	rec.trace = s.config.Tracer.Join(from)
	if rec.trace.Sampled() {
		rec.Header().Set("B3", rec.trace.String())
	}
}

// joinUnknown decides about a request before it is known whose it is: a stranger may
// say that it is not traced, but not that it is.
func (s *Server) joinUnknown(rec *record, asked im.Trace) {
	rec.asked = asked
	if demanded(asked) {
		asked.Sampling = ""
	}
	s.join(rec, asked)
}

// joinKnown obeys what a request brought, now that it is known whose it is.
func (s *Server) joinKnown(rec *record) {
	if demanded(rec.asked) {
		s.join(rec, rec.asked)
	}
}

// demanded reports whether a trace has been asked for.
func demanded(t im.Trace) bool { return t.Sampling == "1" || t.Sampling == "d" }

// messageTrace returns the b3 that a message carries on. Its own, which stands in
// the body, is the one that the whole request joins; one that is none is for accept
// to refuse.
func (s *Server) messageTrace(ctx context.Context, own string) string {
	rec := recordOf(ctx)
	if trace, ok := im.ParseTrace(own); ok && own != "" {
		s.join(rec, trace)
	}
	return rec.trace.String()
}

// trace reports the span of a request that has been answered.
func (s *Server) trace(rec *record, r *http.Request, id string, started time.Time) {
	if !rec.trace.Sampled() {
		return
	}
	name := rec.pattern
	if name == "" {
		name = r.Method
	}
	tags := map[string]string{
		"http.method": r.Method, "http.path": r.URL.Path, "http.status_code": strconv.Itoa(rec.status), "request.id": id,
	}
	if rec.code != "" {
		tags["error"] = string(rec.code)
	}
	s.config.Tracer.Report(im.Span{
		Trace: rec.trace, Name: strings.ToLower(name), Kind: im.SpanServer, Start: started, End: time.Now(), Tags: tags,
	})
}
