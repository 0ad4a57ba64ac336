package test

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/test/tracing"
)

// One message by HTTP to a device on WebSocket and one on TCP is one trace in
// Zipkin, though nothing is sampled but what the client asks for.
func TestATracedMessageCanBeFollowed(t *testing.T) {
	t.Parallel()
	zipkin := tracing.Zipkin(t)
	s := startHere(t, map[string]string{"tracing.endpoint": zipkin + "/api/v2/spans", "tracing.sample_rate": "0"})
	tracing.Tell(t, tracing.System{HTTP: s.http, ServiceKey: s.key, Zipkin: zipkin})
}

// A collector that is not there costs its spans, which are counted, and no message.
func TestADeadCollectorCostsNoMessage(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"tracing.endpoint": "http://" + freePorts(t, 1)[0] + "/api/v2/spans", "tracing.sample_rate": "1"})
	users := s.users("alice", "bob")
	sender, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	receiver, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	sayMany(t, sender, users[1], 0, 100)
	receiver.untilMessages(100)
	receiver.contiguous(0)

	const dropped = `im_tracing_spans_dropped_total{reason="unreachable"} `
	s.untilMetric(dropped, func(n float64) bool { return n >= 100 })
}

// untilMetric polls the metrics until a line's value is as wanted, or patience is out.
func (s *server) untilMetric(line string, is func(float64) bool) {
	s.t.Helper()
	deadline, every := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer every.Stop()
	for {
		response, err := s.web.Get("http://" + s.admin() + "/metrics")
		if err != nil {
			s.t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\n"+line)
		value, _, _ := strings.Cut(rest, "\n")
		if n, err := strconv.ParseFloat(value, 64); err == nil && is(n) {
			return
		}
		select {
		case <-every.C:
		case <-deadline:
			s.t.Fatalf("%sstays at %q", line, value)
		}
	}
}
