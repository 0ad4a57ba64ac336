package http

import (
	"net/http"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// spans is a tracer that traces what brings a decision for it, and keeps what is
// reported.
type spans []im.Span

func (s *spans) Join(from im.Trace) im.Trace {
	if from.Sampling == "1" || from.Sampling == "d" {
		return from.Child()
	}
	return from
}

func (s *spans) Report(span im.Span) { *s = append(*s, span) }

const (
	traceID = "463ac35c9f6413ad48485a3953bb6124"
	spanID  = "a2fb4a1d1a96d312"
)

func TestTheSpanOfARequest(t *testing.T) {
	s := &spans{}
	w := newWorld(t, func(c *Config) { c.Tracer = s })
	_, token := w.token("alice")
	*s = nil
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1})
	body := `{"client_msg_id":"c1","to":{"user_id":"bob"},"content":{"type":"text","text":"hi"}}`
	answer := w.call("POST", "/v1/messages", token, body, "b3", traceID+"-"+spanID+"-1", "X-Request-Id", "r1").ok("send", 200)

	if len(*s) != 1 {
		t.Fatalf("reported %+v", *s)
	}
	span := (*s)[0]
	want := map[string]string{"http.method": "POST", "http.path": "/v1/messages", "http.status_code": "200", "request.id": "r1"}
	if span.Name != "post /v1/messages" || span.Kind != im.SpanServer || span.TraceID != traceID || span.ParentID != spanID ||
		span.End.Before(span.Start) || len(span.Tags) != len(want) {
		t.Errorf("span %+v", span)
	}
	for name, value := range want {
		if span.Tags[name] != value {
			t.Errorf("tag %s = %q, want %q", name, span.Tags[name], value)
		}
	}
	publish, _ := w.lastSend()
	if b3 := span.Trace.String(); publish.GetB3() != b3 || answer.header.Get("B3") != b3 {
		t.Errorf("published with %q, answered with %q, want %q", publish.GetB3(), answer.header.Get("B3"), b3)
	}
}

// The trace in a message's body is its own; the request joins it.
func TestTheTraceOfTheMessageStandsAboveThatOfTheRequest(t *testing.T) {
	s := &spans{}
	w := newWorld(t, func(c *Config) { c.Tracer = s })
	_, token := w.token("alice")
	*s = nil
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1})
	for _, header := range []string{"", "0", "1"} {
		body := `{"to":{"user_id":"bob"},"content":{"type":"text","text":"hi"},"b3":"` + traceID + "-" + spanID + `-1"}`
		w.call("POST", "/v1/messages", token, body, "b3", header).ok("send", 200)
		span := (*s)[len(*s)-1]
		if publish, _ := w.lastSend(); publish.GetB3() != span.Trace.String() || span.TraceID != traceID {
			t.Errorf("with header %q: published with %q, span %+v", header, publish.GetB3(), span)
		}
	}
	if len(*s) != 3 {
		t.Errorf("%d spans of 3 requests", len(*s))
	}
}

func TestAFailureIsAnErrorOfTheSpan(t *testing.T) {
	s := &spans{}
	w := newWorld(t, func(c *Config) { c.Tracer = s })
	_, token := w.token("alice")
	*s = nil
	w.call("GET", "/v1/inbox?limit=-1", token, nil, "b3", "1")
	if len(*s) != 1 || (*s)[0].Name != "get /v1/inbox" || (*s)[0].Tags["error"] != "invalid" {
		t.Errorf("reported %+v", *s)
	}
}

// Who has shown neither a token nor the service key can not have a request traced: the
// sampling rate alone decides about it. It can say that it is not.
func TestStrangersDoNotDecideToTrace(t *testing.T) {
	s := &spans{}
	w := newWorld(t, func(c *Config) { c.Tracer, c.ServiceKey = s, "0123456789abcdef" })
	for _, b3 := range []string{"1", "d", traceID + "-" + spanID + "-1", traceID + "-" + spanID + "-d", "0"} {
		for path, token := range map[string]string{
			"/v1/inbox": "", "/v1/conversations": "wrong", "/v1/gateway": "", "/v1/nothing": "", "/v1/service/users": "wrong",
		} {
			for _, method := range []string{"GET", "POST"} {
				if answer := w.call(method, path, token, nil, "b3", b3); len(*s) != 0 || answer.header.Get("B3") != "" {
					t.Errorf("%s %s with b3 %q: reported %+v", method, path, b3, *s)
				}
				*s = nil
			}
		}
	}
	w.call("POST", "/v1/service/users", "0123456789abcdef", `{"users":[{"username":"a","nickname":"a"}]}`, "b3", "d").ok("with the key", 200)
	if len(*s) != 1 || (*s)[0].Sampling != "d" {
		t.Errorf("with the service key: reported %+v", *s)
	}
}

func TestWhatIsNotTraced(t *testing.T) {
	s := &spans{}
	w := newWorld(t, func(c *Config) { c.Tracer = s })
	_, token := w.token("alice")
	w.pipeline.reply = sendAckOf(&imv1.SendAck{MessageId: 1})
	for header, carried := range map[string]string{
		"": "", "0": "0", traceID + "-" + spanID + "-0": traceID + "-" + spanID + "-0", "nonsense": "",
	} {
		body := `{"to":{"user_id":"bob"},"content":{"type":"text","text":"hi"}}`
		answer := w.call("POST", "/v1/messages", token, body, "b3", header).ok("send", 200)
		if publish, _ := w.lastSend(); publish.GetB3() != carried || answer.header.Get("B3") != "" {
			t.Errorf("b3 %q: published with %q, answered with %q", header, publish.GetB3(), answer.header.Get("B3"))
		}
	}
	w.call("GET", "/", "", nil, "b3", "1") // a page is no request to the API
	if len(*s) != 0 {
		t.Errorf("reported %+v", *s)
	}
}

func TestTheHeadersOfATrace(t *testing.T) {
	const parent = "05e3ac9a4f6e3b90"
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"one":             {[]string{"b3", traceID + "-" + spanID + "-1-" + parent}, traceID + "-" + spanID + "-1-" + parent},
		"one above all":   {[]string{"b3", "0", "X-B3-TraceId", traceID, "X-B3-SpanId", spanID, "X-B3-Sampled", "1"}, "0"},
		"several":         {[]string{"X-B3-TraceId", traceID, "X-B3-SpanId", spanID, "X-B3-ParentSpanId", parent, "X-B3-Sampled", "1"}, traceID + "-" + spanID + "-1-" + parent},
		"undecided":       {[]string{"X-B3-TraceId", traceID, "X-B3-SpanId", spanID, "X-B3-ParentSpanId", parent}, traceID + "-" + spanID},
		"only a decision": {[]string{"X-B3-Sampled", "0"}, "0"},
		"of old":          {[]string{"X-B3-TraceId", traceID, "X-B3-SpanId", spanID, "X-B3-Sampled", "true"}, traceID + "-" + spanID + "-1"},
		"debug":           {[]string{"X-B3-TraceId", traceID, "X-B3-SpanId", spanID, "X-B3-Flags", "1"}, traceID + "-" + spanID + "-d"},
		"no span":         {[]string{"X-B3-TraceId", traceID, "X-B3-Sampled", "1"}, ""},
		"nonsense":        {[]string{"X-B3-TraceId", "x", "X-B3-SpanId", "y"}, ""},
		"none":            {nil, ""},
	} {
		header := make(map[string][]string)
		for i := 0; i < len(c.headers); i += 2 {
			header[http.CanonicalHeaderKey(c.headers[i])] = []string{c.headers[i+1]}
		}
		if got := traceOf(header).String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Deciding not to trace a request without a trace takes no memory.
func TestNotTracingARequestAllocatesNothing(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Tracer = &spans{} })
	rec, header := &record{}, map[string][]string{}
	if n := testing.AllocsPerRun(100, func() { w.server.join(rec, traceOf(header)) }); n != 0 {
		t.Errorf("it takes %v allocations", n)
	}
}
