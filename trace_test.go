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
		trace + "-" + span + "-1-05e3ac9a4f6e3b90-1", trace + "-" + span + "-1-", "g" + trace[1:] + "-" + span,
	} {
		if got, ok := im.ParseTrace(header); ok || got != (im.Trace{}) {
			t.Errorf("%q was taken: %+v", header, got)
		}
	}
}
