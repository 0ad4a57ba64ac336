package local_test

import (
	"os"
	"strings"
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// A broker comes back on its data after kill -9, and stops when told.
func TestRabbitMQ(t *testing.T) {
	if !local.HasRabbitMQ() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("RabbitMQ is not installed")
		}
		t.Skip("RabbitMQ is not installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	broker, err := local.StartRabbitMQ(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := broker.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := broker.Control(t.Context(), "add_vhost", "kept"); err != nil {
		t.Fatal(err)
	}
	before := broker.PID()

	broker.Kill()
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	hosts, err := broker.Control(t.Context(), "list_vhosts")
	if err != nil || !strings.Contains(hosts, "kept") || broker.PID() == before {
		t.Fatalf("after a restart: %q, %v", hosts, err)
	}
}
