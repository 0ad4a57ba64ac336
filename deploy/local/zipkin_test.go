package local_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// Zipkin takes spans and gives them back, comes back on the same port, without them,
// after kill -9, and stops when told, even while it is paused.
func TestZipkin(t *testing.T) {
	if !local.HasZipkin() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("neither Zipkin nor java and mvn are installed")
		}
		t.Skip("java and mvn are not installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	zipkin, err := local.StartZipkin(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	before, uri := zipkin.PID(), zipkin.URI()
	const span = `[{"traceId":"463ac35c9f6413ad","id":"463ac35c9f6413ad","name":"it","timestamp":1,"duration":1}]`
	answer, err := http.Post(zipkin.Endpoint(), "application/json", strings.NewReader(span))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := spansOf(t, zipkin); answer.StatusCode != http.StatusAccepted || got != 1 {
		t.Fatalf("status %d and %d spans, want 202 and 1", answer.StatusCode, got)
	}

	zipkin.Kill()
	if zipkin.PID() != 0 {
		t.Fatal("killed, but it has a process")
	}
	if err := zipkin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if zipkin.PID() == before || zipkin.URI() != uri {
		t.Fatalf("process %d, then %d; address %s, then %s", before, zipkin.PID(), uri, zipkin.URI())
	}
	if got := spansOf(t, zipkin); got != 0 {
		t.Fatalf("%d spans after a restart, which keeps none", got)
	}

	if err := zipkin.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := zipkin.Stop(); err != nil {
		t.Fatal(err)
	}
}

// spansOf counts the spans of the one trace.
func spansOf(t *testing.T, zipkin *local.Zipkin) int {
	t.Helper()
	answer, err := http.Get(zipkin.URI() + "/api/v2/trace/463ac35c9f6413ad")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return 0
	}
	var spans []json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&spans); err != nil {
		t.Fatal(err)
	}
	return len(spans)
}
