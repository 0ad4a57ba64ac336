package zipkin_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/common/zipkin"
)

// A collector that does not answer holds up the spans, never who reports them: what
// does not fit into the buffer is dropped, and counted.
func TestASlowCollectorCostsOnlyItsSpans(t *testing.T) {
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	c := collect(t, func(*http.Request) int {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-answer
		return http.StatusAccepted
	})
	r := start(t, zipkin.Config{Endpoint: c.URL, Buffer: 8, Batch: 4})
	tracer := r.Tracer("im-transfer", "s")
	for range 4 {
		tracer.Report(span("in the request"))
	}
	<-asked // the buffer is empty now, or holds what came after the batch's first
	began := time.Now()
	for range 1000 {
		tracer.Report(span("while it waits"))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("1,000 reports took %s", took)
	}
	close(answer)
	stop(t, r)
	full := r.Dropped(zipkin.Full)
	if full < 1000-8 || full > 1000-4 { // the request took one to four of the first
		t.Errorf("%d spans dropped as full", full)
	}
	counts(t, r, 1004-full, map[zipkin.Reason]uint64{zipkin.Full: full})
}

func TestACollectorThatRefusesIsCounted(t *testing.T) {
	c := collect(t, always(http.StatusInternalServerError))
	r := start(t, zipkin.Config{Endpoint: c.URL})
	for range 10 {
		r.Tracer("im-transfer", "s").Report(span("it"))
	}
	stop(t, r)
	counts(t, r, 0, map[zipkin.Reason]uint64{zipkin.Refused: 10})
}

func TestADeadCollectorIsCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	r := start(t, zipkin.Config{Endpoint: "http://" + address + "/api/v2/spans"})
	for range 10 {
		r.Tracer("im-transfer", "s").Report(span("it"))
	}
	stop(t, r)
	counts(t, r, 0, map[zipkin.Reason]uint64{zipkin.Unreachable: 10})
}

// silent takes connections and never answers: a collector that was paused.
func silent(t *testing.T) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "http://" + listener.Addr().String()
}

func TestARequestIsBoundedInTime(t *testing.T) {
	r := start(t, zipkin.Config{Endpoint: silent(t), Timeout: 20 * time.Millisecond})
	r.Tracer("im-transfer", "s").Report(span("it"))
	stop(t, r)
	counts(t, r, 0, map[zipkin.Reason]uint64{zipkin.Unreachable: 1})
}

func TestStopIsBoundedInTime(t *testing.T) {
	r := start(t, zipkin.Config{Endpoint: silent(t), Batch: 2, Timeout: time.Hour})
	tracer := r.Tracer("im-transfer", "s")
	for range 7 {
		tracer.Report(span("it"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
	tracer.Report(span("too late"))
	counts(t, r, 0, map[zipkin.Reason]uint64{zipkin.Stopped: 8})
	if err := r.Stop(ctx); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

// What clients write can be long, in a path or a message that fails: it is cut, so
// that it neither fills the memory nor makes the collector refuse the whole batch.
// Whoever else has the same tags keeps them whole.
func TestLongTagsAreCut(t *testing.T) {
	c := collect(t, always(http.StatusAccepted))
	r := start(t, zipkin.Config{Endpoint: c.URL})
	long := strings.Repeat("ä", 300) // 600 bytes
	one := span(strings.Repeat("n", 600))
	one.Tags = map[string]string{"http.path": long, "short": "as it is"}
	r.Tracer("im-http", "s").Report(one)
	stop(t, r)
	got := c.batches[0][0]
	tags := got["tags"].(map[string]any)
	want := strings.Repeat("ä", 254) + "…" // a whole letter less than fits
	if name := got["name"].(string); tags["http.path"] != want || tags["short"] != "as it is" || len(name) != 512 {
		t.Errorf("sent %v, and %d bytes of a name", tags, len(name))
	}
	if one.Tags["http.path"] != long {
		t.Error("the tags of the caller were changed")
	}
}

// The buffer is bounded in bytes too, and what is sent makes room again.
func TestTheBufferIsBoundedInBytes(t *testing.T) {
	asked := make(chan struct{}, 10)
	c := collect(t, func(*http.Request) int { asked <- struct{}{}; return http.StatusAccepted })
	big := span("big")
	big.Tags = map[string]string{}
	for i := range 10 {
		big.Tags[strconv.Itoa(i)] = strings.Repeat("x", 500)
	}
	// Three of them fit.
	r := start(t, zipkin.Config{Endpoint: c.URL, Bytes: 20_000, Batch: 1, Interval: time.Hour})
	for range 10 {
		for range 3 {
			r.Tracer("im-http", "s").Report(big)
		}
		for range 3 {
			<-asked
		}
	}
	for range 5 {
		small := span("small")
		small.Tags = map[string]string{"one": strings.Repeat("x", 500)}
		r.Tracer("im-http", "s").Report(small)
	}
	stop(t, r)
	counts(t, r, 35, nil)

	r = start(t, zipkin.Config{Endpoint: c.URL, Bytes: 20_000, Interval: time.Hour})
	for range 10 {
		r.Tracer("im-http", "s").Report(big)
	}
	stop(t, r)
	counts(t, r, 3, map[zipkin.Reason]uint64{zipkin.Full: 7})
}
