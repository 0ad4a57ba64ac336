package etcd_test

import (
	"log/slog"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/etcd"
	"github.com/im-transfer/im/common/registrytest"
	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ transfer.Registry = (*etcd.Registry)(nil)
	_ http.Discovery    = (*etcd.Registry)(nil)
)

const (
	ttl      = 2 * time.Second // the least that etcd gives by default
	patience = 20 * time.Second
)

// private starts an etcd that the test may do anything to.
func private(t *testing.T) *local.Etcd {
	t.Helper()
	return privateIn(t, t.TempDir())
}

func privateIn(t *testing.T, dir string) *local.Etcd {
	t.Helper()
	if !local.HasEtcd() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("etcd is not installed")
		}
		t.Skip("etcd is not installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	server, err := local.StartEtcd(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// shared returns the address of an etcd that is left as it is.
func shared(t *testing.T) string {
	t.Helper()
	if uri := os.Getenv("IM_TEST_ETCD_URI"); uri != "" {
		return uri
	}
	return private(t).URI()
}

// open opens the registry as one server does.
func open(t *testing.T, options etcd.Options) *etcd.Registry {
	t.Helper()
	if options.TTL == 0 {
		options.TTL = ttl
	}
	options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	r, err := etcd.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func cluster() string { return "test-" + strconv.FormatInt(time.Now().UnixNano(), 36) }

func TestRegistryConforms(t *testing.T) {
	t.Parallel()
	uri := shared(t)
	registrytest.Run(t, func(t *testing.T) registrytest.Opened {
		options := etcd.Options{URI: uri, Cluster: cluster()}
		return registrytest.Opened{
			Registry: open(t, options),
			Another:  func() registrytest.Registry { return open(t, options) },
		}
	})
}

func server(id string, load int64) im.Server {
	return im.Server{ID: id, Role: "transfer", Address: "127.0.0.1:1", URL: "", Load: load}
}

func register(t *testing.T, r *etcd.Registry, s im.Server) {
	t.Helper()
	if err := r.Register(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// until takes what a watch sends until it is as wanted.
func until[T any](t *testing.T, values <-chan T, what string, wanted func(T) bool) {
	t.Helper()
	late := time.After(patience)
	var last T
	for {
		select {
		case value, open := <-values:
			if !open {
				t.Fatalf("waiting for %s, the watch ended at %v", what, last)
			}
			if last = value; wanted(value) {
				return
			}
		case <-late:
			t.Fatalf("waiting for %s, last seen %v", what, last)
		}
	}
}

// listed returns a condition for until: these and no others.
func listed(want ...im.Server) func([]im.Server) bool {
	return func(list []im.Server) bool { return slices.Equal(list, want) }
}

func watch(t *testing.T, r *etcd.Registry) <-chan []im.Server {
	t.Helper()
	lists, err := r.Watch(t.Context(), "transfer")
	if err != nil {
		t.Fatal(err)
	}
	return lists
}
