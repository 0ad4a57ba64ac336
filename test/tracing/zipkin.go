// Package tracing tells, of a system that runs and reports to a real Zipkin, the
// story of one message that is traced all the way, and judges the trace that Zipkin
// gives back. It is the same on the embedded server and on a cluster.
package tracing

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// patience bounds every wait. It is long because machines are busy; nothing waits
// for it to pass.
const patience = 30 * time.Second

// Span is one of a trace, as Zipkin gives it back.
type Span struct {
	TraceID   string `json:"traceId"`
	ID        string
	ParentID  string `json:"parentId"`
	Name      string
	Kind      string
	Timestamp int64 // Unix microseconds
	Duration  int64 // microseconds
	Endpoint  struct {
		Service string `json:"serviceName"`
	} `json:"localEndpoint"`
	Tags map[string]string
}

// End is when the span ended, in Unix microseconds.
func (s *Span) End() int64 { return s.Timestamp + s.Duration }

// Zipkin returns the address of a Zipkin: the one that IM_TEST_ZIPKIN_URI names, or
// one that is started for the test. Without either the test is skipped.
func Zipkin(t *testing.T) string {
	t.Helper()
	if uri := os.Getenv("IM_TEST_ZIPKIN_URI"); uri != "" {
		return uri
	}
	if !local.HasZipkin() {
		const why = "java and mvn are not installed and IM_TEST_ZIPKIN_URI is not set"
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal(why)
		}
		t.Skip(why + " (IM_TEST_REQUIRE=all makes this a failure)")
	}
	zipkin, err := local.StartZipkin(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := zipkin.Stop(); err != nil {
			t.Error(err)
		}
	})
	return zipkin.URI()
}

// Await asks Zipkin for a trace until it has at least so many spans of each name:
// they come in batches, from several servers.
func Await(t *testing.T, zipkin, traceID string, want map[string]int) []Span {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		spans, err := ask(ctx, zipkin, traceID)
		if err == nil && complete(spans, want) {
			return spans
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("trace %s has not become complete: %v; it has %v, want %v", traceID, err, names(spans), want)
		}
	}
}

func ask(ctx context.Context, zipkin, traceID string) ([]Span, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, zipkin+"/api/v2/trace/"+traceID, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("zipkin answers %s", answer.Status)
	}
	var spans []Span
	if err := json.NewDecoder(answer.Body).Decode(&spans); err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	slices.SortFunc(spans, func(a, b Span) int { return int(a.Timestamp - b.Timestamp) })
	return spans, nil
}

func complete(spans []Span, want map[string]int) bool {
	counts := names(spans)
	for name, n := range want {
		if counts[name] < n {
			return false
		}
	}
	return true
}

func names(spans []Span) map[string]int {
	counts := map[string]int{}
	for i := range spans {
		counts[spans[i].Name]++
	}
	return counts
}
