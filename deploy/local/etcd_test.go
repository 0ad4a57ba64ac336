package local_test

import (
	"os"
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// Etcd comes back on the same port after kill -9, and stops when told, even while
// it is paused.
func TestEtcd(t *testing.T) {
	if !local.HasEtcd() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("etcd is not installed")
		}
		t.Skip("etcd is not installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	etcd, err := local.StartEtcd(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	before, uri := etcd.PID(), etcd.URI()

	etcd.Kill()
	if etcd.PID() != 0 {
		t.Fatal("killed, but it has a process")
	}
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if etcd.PID() == before || etcd.URI() != uri {
		t.Fatalf("process %d, then %d; address %s, then %s", before, etcd.PID(), uri, etcd.URI())
	}

	if err := etcd.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Stop(); err != nil {
		t.Fatal(err)
	}
}
