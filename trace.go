package im

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
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
	if header == "" {
		return t, true
	}
	if validSampling(header) {
		return Trace{Sampling: header}, true
	}
	parts := strings.SplitN(header, "-", 5)
	if len(parts) < 2 || len(parts) > 4 {
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

// Sampled reports whether spans of the trace are wanted.
func (t Trace) Sampled() bool { return t.TraceID != "" && (t.Sampling == "1" || t.Sampling == "d") }

// Child returns a new span's place below t; at the beginning of a new trace where t
// names none.
func (t Trace) Child() Trace {
	if t.TraceID == "" {
		return Trace{TraceID: randomID() + randomID(), SpanID: randomID(), Sampling: t.Sampling}
	}
	return Trace{TraceID: t.TraceID, SpanID: randomID(), Sampling: t.Sampling, ParentID: t.SpanID}
}

// Sibling returns the place of another span below the same parent.
func (t Trace) Sibling() Trace {
	t.SpanID = randomID()
	return t
}

// randomID returns 16 hexadecimal digits that are not all zero.
func randomID() string {
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], 1+rand.Uint64N(1<<64-1))
	return hex.EncodeToString(id[:])
}
