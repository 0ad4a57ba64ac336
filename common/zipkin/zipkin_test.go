package zipkin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/zipkin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector answers batches of spans with what answer says, once it returns.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	batches [][]map[string]any
}

func collect(t *testing.T, answer func(*http.Request) int) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var spans []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&spans); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		c.batches = append(c.batches, spans)
		c.mu.Unlock()
		w.WriteHeader(answer(r))
	}))
	t.Cleanup(c.Close)
	return c
}

func always(status int) func(*http.Request) int {
	return func(*http.Request) int { return status }
}

// start starts a reporter that sends quickly.
func start(t *testing.T, config zipkin.Config) *zipkin.Reporter {
	t.Helper()
	if config.Interval == 0 {
		config.Interval = time.Millisecond
	}
	r, err := zipkin.NewReporter(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, r) })
	return r
}

// stop lets a reporter send what it has.
func stop(t testing.TB, r *zipkin.Reporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func span(name string) im.Span {
	now := time.Now()
	return im.Span{Trace: im.Trace{Sampling: "1"}.Child(), Name: name, Start: now, End: now.Add(time.Millisecond)}
}

// counts checks how many spans were sent and, by reason, dropped; no other was.
func counts(t *testing.T, r *zipkin.Reporter, sent uint64, dropped map[zipkin.Reason]uint64) {
	t.Helper()
	if r.Sent() != sent {
		t.Errorf("%d spans sent, want %d", r.Sent(), sent)
	}
	for _, reason := range zipkin.Reasons() {
		if got := r.Dropped(reason); got != dropped[reason] {
			t.Errorf("%d spans dropped as %s, want %d", got, reason, dropped[reason])
		}
	}
}

func TestSpansComeAsTheyWereReported(t *testing.T) {
	headers := make(chan http.Header, 1)
	c := collect(t, func(r *http.Request) int { headers <- r.Header; return http.StatusAccepted })
	r := start(t, zipkin.Config{Endpoint: c.URL + "/api/v2/spans"})
	began := time.UnixMicro(1_700_000_000_000_001)
	parent := im.Trace{TraceID: "463ac35c9f6413ad48485a3953bb6124", SpanID: "a2fb4a1d1a96d312", Sampling: "d"}
	child := parent.Child()
	tracer := r.Tracer("im-transfer", "server-1")
	tracer.Report(im.Span{
		Trace: child, Name: "store", Kind: im.SpanConsumer, Start: began, End: began.Add(2500 * time.Microsecond),
		Tags: map[string]string{"batch.size": "3"},
	})
	stop(t, r)

	want := map[string]any{
		"traceId": parent.TraceID, "id": child.SpanID, "parentId": parent.SpanID, "debug": true, "name": "store", "kind": "CONSUMER",
		"timestamp": 1_700_000_000_000_001.0, "duration": 2500.0, "localEndpoint": map[string]any{"serviceName": "im-transfer"},
		"tags": map[string]any{"batch.size": "3", "server.id": "server-1"},
	}
	got, wanted := encode(t, c.batches), encode(t, [][]map[string]any{{want}})
	if got != wanted {
		t.Errorf("the collector got %s, want %s", got, wanted)
	}
	if header := <-headers; header.Get("B3") != "0" || header.Get("Content-Type") != "application/json" {
		t.Errorf("headers = %v", header)
	}
	counts(t, r, 1, nil)
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSpansAreSentInBatches(t *testing.T) {
	c := collect(t, always(http.StatusAccepted))
	r := start(t, zipkin.Config{Endpoint: c.URL, Batch: 4, Interval: time.Hour}) // so that a full batch or the end sends
	tracer := r.Tracer("im-http", "s")
	for range 10 {
		tracer.Report(span("it"))
	}
	stop(t, r)
	total := 0
	for _, batch := range c.batches {
		total += len(batch)
		if len(batch) > 4 {
			t.Errorf("a batch of %d spans", len(batch))
		}
	}
	if total != 10 || len(c.batches) > 4 {
		t.Errorf("%d spans in %d batches", total, len(c.batches))
	}
	counts(t, r, 10, nil)
}

// Spans without a place in a trace or a time harm no others.
func TestWhatIsNoSpanIsDropped(t *testing.T) {
	c := collect(t, always(http.StatusAccepted))
	r := start(t, zipkin.Config{Endpoint: c.URL, Interval: time.Hour})
	tracer := r.Tracer("im-http", "s")
	for _, change := range []func(*im.Span){
		func(*im.Span) {},
		func(s *im.Span) { s.Trace = im.Trace{} },
		func(s *im.Span) { s.SpanID = "0000000000000000" },
		func(s *im.Span) { s.ParentID = "x" },
		func(s *im.Span) { s.Start = time.Time{} },
		func(s *im.Span) { s.End = s.Start.Add(-time.Hour) }, // a clock was set back: as short as can be
	} {
		one := span("it")
		change(&one)
		tracer.Report(one)
	}
	stop(t, r)
	counts(t, r, 2, map[zipkin.Reason]uint64{zipkin.Invalid: 4})
}

func TestACollectorThatComesBackIsUsedAgain(t *testing.T) {
	status := make(chan int, 4)
	c := collect(t, func(*http.Request) int { return <-status })
	log := &bytes.Buffer{}
	r := start(t, zipkin.Config{Endpoint: c.URL, Batch: 1, Log: slog.New(slog.NewTextHandler(log, nil))})
	for _, s := range []int{202, 500, 500, 202} {
		status <- s
		r.Tracer("im-http", "s").Report(span("it"))
	}
	stop(t, r)
	counts(t, r, 2, map[zipkin.Reason]uint64{zipkin.Refused: 2})
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "level=INFO") != 1 {
		t.Errorf("the log says each change once, not %s", text)
	}
}

func TestWhatIsNoReporter(t *testing.T) {
	for _, config := range []zipkin.Config{
		{}, {Endpoint: "zipkin"}, {Endpoint: "http://[::1"}, {Endpoint: "http://127.0.0.1", SampleRate: 1.5},
	} {
		if _, err := zipkin.NewReporter(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}
