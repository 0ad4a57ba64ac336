package im

import (
	"encoding/hex"
	"strings"
)

// Trace is a place in a trace, as Zipkin's B3 single header carries it
// (https://github.com/openzipkin/b3-propagation). The zero value is no trace.
type Trace struct {
	TraceID  string // 16 or 32 lower-case hexadecimal digits
	SpanID   string // 16
	Sampling string // "1" yes, "0" no, "d" debug; empty = not decided
	ParentID string // 16, or empty
}

// ParseTrace reads a B3 single header: "0", "1" and "d" alone, or
// traceid-spanid[-sampling[-parentid]]. An empty one is no trace; ok is false for
// what is no such header.
func ParseTrace(header string) (t Trace, ok bool) {
	parts := strings.Split(header, "-")
	switch {
	case header == "":
		return t, true
	case validSampling(header):
		return Trace{Sampling: header}, true
	case len(parts) < 2, len(parts) > 4:
		return t, false
	}
	t = Trace{TraceID: parts[0], SpanID: parts[1]}
	ok = (validHex(t.TraceID, 32) || validHex(t.TraceID, 16)) && validHex(t.SpanID, 16)
	if len(parts) > 2 {
		t.Sampling = parts[2]
		ok = ok && validSampling(t.Sampling)
	}
	if len(parts) > 3 {
		t.ParentID = parts[3]
		ok = ok && validHex(t.ParentID, 16)
	}
	if !ok {
		return Trace{}, false
	}
	return t, true
}

func validSampling(s string) bool { return s == "0" || s == "1" || s == "d" }

func validHex(s string, digits int) bool {
	if len(s) != digits || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// String returns the B3 single header, empty for no trace.
func (t Trace) String() string {
	switch {
	case t.TraceID == "":
		return t.Sampling
	case t.Sampling == "":
		return t.TraceID + "-" + t.SpanID
	case t.ParentID == "":
		return t.TraceID + "-" + t.SpanID + "-" + t.Sampling
	}
	return t.TraceID + "-" + t.SpanID + "-" + t.Sampling + "-" + t.ParentID
}
