package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/im-transfer/im/test/tracing"
)

// One message by HTTP to a device on WebSocket and one on TCP is one trace in
// Zipkin, though nothing is sampled but what the client asks for.
func TestATracedMessageCanBeFollowed(t *testing.T) {
	t.Parallel()
	zipkin := tracing.Zipkin(t)
	s := startHere(t, map[string]string{"tracing.endpoint": zipkin + "/api/v2/spans", "tracing.sample_rate": "0"})
	key, err := os.ReadFile(filepath.Join(s.settings["data_dir"], "service.key"))
	if err != nil {
		t.Fatal(err)
	}
	tracing.Tell(t, tracing.System{HTTP: s.http, ServiceKey: strings.TrimSpace(string(key)), Zipkin: zipkin})
}
