package tracing

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// Where every role is a process of its own, and there are several of each, the way of
// a message is still one trace.
func TestAMessageIsFollowedThroughACluster(t *testing.T) {
	if missing := local.HasEngines(); missing != nil || !local.HasZipkin() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("something is not installed, for the engines or Zipkin: ", missing)
		}
		t.Skipf("something is not installed, for the engines or Zipkin: %v (IM_TEST_REQUIRE=all makes this a failure)", missing)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "im")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/im-transfer/im/cmd/im")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, output)
	}
	cluster, err := local.StartEngines(t.Context(), local.Options{
		Dir: dir, Binary: binary, Tracing: true, Settings: map[string]string{"tracing.sample_rate": "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.StartServers(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, server := range cluster.Role("http") {
		Tell(t, System{HTTP: server.URL(), ServiceKey: cluster.ServiceKey, Zipkin: cluster.Zipkin.URI()})
	}
}
