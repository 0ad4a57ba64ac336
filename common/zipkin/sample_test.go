package zipkin_test

import (
	"math"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/zipkin"
)

// tracer returns one that samples by a rate; nothing is reported to it.
func tracer(t testing.TB, rate float64) (*zipkin.Reporter, *zipkin.Tracer) {
	t.Helper()
	r, err := zipkin.NewReporter(zipkin.Config{Endpoint: "http://127.0.0.1:1", SampleRate: rate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, r) })
	return r, r.Tracer("im-http", "s")
}

// What a request brings is obeyed, whatever the rate; nobody decides twice.
func TestTheDecisionOfTheClientStands(t *testing.T) {
	const place = "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312"
	for _, c := range []struct {
		rate   float64
		header string
		want   string // what is carried on; "child" = a span below, "root" = of a new trace
	}{
		{0, "", ""},
		{0, "0", "0"},
		{1, "0", "0"},
		{0, place, place + "-0"},
		{1, place + "-0", place + "-0"},
		{1, "", "root-1"},
		{0, "1", "root-1"},
		{0, "d", "root-d"},
		{1, place, "child-1"},
		{0, place + "-1", "child-1"},
		{0, place + "-d-05e3ac9a4f6e3b90", "child-d"},
	} {
		from, ok := im.ParseTrace(c.header)
		if !ok {
			t.Fatal(c.header)
		}
		_, tr := tracer(t, c.rate)
		got := tr.Join(from)
		switch {
		case !got.Sampled() && got.String() != c.want,
			got.Sampled() && got.ParentID == "" && "root-"+got.Sampling != c.want,
			got.Sampled() && got.ParentID != "" && "child-"+got.Sampling != c.want,
			got.ParentID != "" && got.Sampled() && (got.ParentID != from.SpanID || got.TraceID != from.TraceID):
			t.Errorf("rate %v, b3 %q: %q, want %q", c.rate, c.header, got, c.want)
		}
	}
}

func TestTheRateIsKeptAndMayChange(t *testing.T) {
	const requests = 40_000
	r, tr := tracer(t, 0.25)
	share := func() float64 {
		sampled := 0
		for range requests {
			if tr.Join(im.Trace{}).Sampled() {
				sampled++
			}
		}
		return float64(sampled) / requests
	}
	for _, rate := range []float64{0.25, 0.01, 1, 0} {
		if err := r.SetSampleRate(rate); err != nil {
			t.Fatal(err)
		}
		// Six standard deviations: it fails by chance once in 500 million runs.
		if got, off := share(), 6*math.Sqrt(rate*(1-rate)/requests); math.Abs(got-rate) > off {
			t.Errorf("rate %v: %v sampled, more than %v off", rate, got, off)
		}
	}
	if err := r.SetSampleRate(1); err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if err := r.SetSampleRate(rate); err == nil {
			t.Errorf("rate %v was taken", rate)
		}
	}
	if share() != 1 {
		t.Error("a bad rate changed the old one")
	}
}

func TestNotSamplingAllocatesNothing(t *testing.T) {
	_, tr := tracer(t, 1e-12)
	no, _ := im.ParseTrace("0")
	for _, from := range []im.Trace{{}, no} {
		if n := testing.AllocsPerRun(1000, func() { tr.Join(from) }); n != 0 {
			t.Errorf("%q takes %v allocations", from, n)
		}
	}
}

func BenchmarkNotSampled(b *testing.B) {
	_, tr := tracer(b, 0.01)
	b.ReportAllocs()
	for b.Loop() {
		tr.Join(im.Trace{})
	}
}
