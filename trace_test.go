package im_test

import (
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func TestTraceIsReadAndWritten(t *testing.T) {
	const trace, span = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
	for _, header := range []string{
		"", "0", "1", "d", trace + "-" + span, trace[16:] + "-" + span, trace + "-" + span + "-1",
		trace + "-" + span + "-d-05e3ac9a4f6e3b90",
	} {
		got, ok := im.ParseTrace(header)
		if !ok || got.String() != header {
			t.Errorf("%q = %+v, %v", header, got, ok)
		}
	}
	for _, header := range []string{
		"2", "-", trace, trace + "-", trace + "-" + span + "-x", strings.ToUpper(trace) + "-" + span, trace[1:] + "-" + span,
		trace + "-" + span + "-1-05e3ac9a4f6e3b90-1", strings.Repeat("-", 100), trace + "-" + span + "-1-", "g" + trace[1:] + "-" + span,
	} {
		if got, ok := im.ParseTrace(header); ok || got != (im.Trace{}) {
			t.Errorf("%q was taken: %+v", header, got)
		}
	}
}

func TestAChildIsBelowItsParent(t *testing.T) {
	root := im.Trace{Sampling: "d"}.Child()
	child := root.Child()
	if len(root.TraceID) != 32 || root.ParentID != "" || root.Sampling != "d" {
		t.Errorf("a new trace = %+v", root)
	}
	if child.TraceID != root.TraceID || child.ParentID != root.SpanID || child.SpanID == root.SpanID || child.Sampling != "d" {
		t.Errorf("child = %+v of %+v", child, root)
	}
	sibling := child.Sibling()
	if sibling.ParentID != root.SpanID || sibling.TraceID != root.TraceID || sibling.SpanID == child.SpanID {
		t.Errorf("sibling = %+v of %+v", sibling, child)
	}
	for _, trace := range []im.Trace{root, child, sibling} {
		if got, ok := im.ParseTrace(trace.String()); !ok || got != trace {
			t.Errorf("%q is no header", trace)
		}
	}
}

func TestSampled(t *testing.T) {
	const place = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1"
	for header, want := range map[string]bool{
		"": false, "0": false, "1": false, place: false, place + "-0": false, place + "-1": true, place + "-d": true,
	} {
		if trace, ok := im.ParseTrace(header); !ok || trace.Sampled() != want {
			t.Errorf("%q sampled = %v, want %v", header, trace.Sampled(), want)
		}
	}
}

// What carries no trace, or one that says no, costs nothing to read.
func TestReadingNoTraceAllocatesNothing(t *testing.T) {
	for _, header := range []string{"", "0"} {
		if n := testing.AllocsPerRun(100, func() { im.ParseTrace(header) }); n != 0 {
			t.Errorf("%q takes %v allocations", header, n)
		}
	}
}
