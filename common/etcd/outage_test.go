package etcd_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/etcd"
	"github.com/im-transfer/im/deploy/local"
)

// witness follows a watch and reports every list in which one of the servers that
// live all the time is missing.
type witness struct {
	alive []string
	lists chan []im.Server // passed on
}

func newWitness(t *testing.T, r *etcd.Registry, alive ...string) *witness {
	t.Helper()
	w := &witness{alive: alive, lists: make(chan []im.Server, 1000)}
	lists := watch(t, r)
	until(t, lists, "everybody", func(list []im.Server) bool { return w.missing(list) == "" })
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer close(w.lists)
		for list := range lists {
			if id := w.missing(list); id != "" {
				t.Errorf("%s lives, but is not listed: %v", id, list)
			}
			w.lists <- list
		}
	}()
	return w
}

func (w *witness) missing(list []im.Server) string {
	for _, id := range w.alive {
		if !slices.ContainsFunc(list, func(s im.Server) bool { return s.ID == id }) {
			return id
		}
	}
	return ""
}

// outage tells the story that all outages share: two servers live through it, one
// dies in it, one changes its load. Nobody who lives is ever missing, the dead one
// goes when etcd is back, but not before a TTL has passed, and the new load arrives.
func outage(t *testing.T, service *local.Etcd, begin, end func() error, length time.Duration) {
	options := etcd.Options{URI: service.URI(), Timeout: time.Second}
	a, b, c := open(t, options), open(t, options), open(t, options)
	for id, r := range map[string]*etcd.Registry{"a": a, "b": b, "c": c} {
		register(t, r, server(id, 0))
	}
	until(t, watch(t, a), "all", listed(server("a", 0), server("b", 0), server("c", 0)))
	seen, other := newWitness(t, a, "a", "b"), newWitness(t, b, "a", "b")

	if err := begin(); err != nil {
		t.Fatal(err)
	}
	over := time.After(length)
	c.Die()
	if err := a.Register(t.Context(), server("a", 9)); err == nil {
		t.Error("a load was stored in an etcd that is away")
	}
	<-over
	resumed := time.Now()
	if err := end(); err != nil {
		t.Fatal(err)
	}

	for _, w := range []*witness{seen, other} {
		until(t, w.lists, "the end of c", listed(server("a", 9), server("b", 0)))
	}
	if waited := time.Since(resumed); waited < ttl {
		t.Errorf("c was removed %s after the outage, before the others had a TTL to register anew", waited)
	}
	register(t, b, server("b", 5)) // and it goes on
	for _, w := range []*witness{seen, other} {
		until(t, w.lists, "the new load of b", listed(server("a", 9), server("b", 5)))
	}
}

func TestEtcdPausedForThreeTTLs(t *testing.T) {
	t.Parallel()
	service := private(t)
	outage(t, service, service.Pause, service.Resume, 3*ttl)
}

func TestEtcdKilledAndAwayForThreeTTLs(t *testing.T) {
	t.Parallel()
	service := private(t)
	kill := func() error { service.Kill(); return nil }
	outage(t, service, kill, func() error { return service.Start(t.Context()) }, 3*ttl)
}

func TestEtcdKilledAndBackAtOnce(t *testing.T) {
	t.Parallel()
	service := private(t)
	kill := func() error { service.Kill(); return nil }
	outage(t, service, kill, func() error { return service.Start(t.Context()) }, 0)
}

func TestEtcdComesBackWithoutItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	service := privateIn(t, dir)
	kill := func() error { service.Kill(); return nil }
	outage(t, service, kill, func() error {
		return errors.Join(os.RemoveAll(filepath.Join(dir, "data")), service.Start(t.Context()))
	}, 0)
}

func TestADeadServerGoesWithItsLease(t *testing.T) {
	t.Parallel()
	options := etcd.Options{URI: shared(t), Cluster: cluster()}
	a, b := open(t, options), open(t, options)
	register(t, a, server("a", 0))
	register(t, b, server("b", 0))
	seen := newWitness(t, a, "a")
	until(t, watch(t, a), "both", listed(server("a", 0), server("b", 0)))

	b.Die()

	until(t, seen.lists, "the end of b", listed(server("a", 0)))
}

// Who starts while etcd stands still waits for it, and is there when it goes on.
func TestWhoStartsInAnOutageWaits(t *testing.T) {
	t.Parallel()
	service := private(t)
	r := open(t, etcd.Options{URI: service.URI(), Timeout: 100 * time.Millisecond, Wait: -1})
	if err := service.Pause(); err != nil {
		t.Fatal(err)
	}
	facts := im.ClusterFacts{ConversationPartitions: 16, InboxPartitions: 16, Prefetch: 64, Format: 1}
	started := make(chan error, 1)
	go func() {
		agreed, err := r.Facts(t.Context(), facts)
		if err == nil && agreed != facts {
			t.Errorf("the facts are %+v", agreed)
		}
		started <- errors.Join(err, r.Register(t.Context(), server("a", 0)))
	}()
	select {
	case err := <-started:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(500 * time.Millisecond): // several times what a call may take
	}
	if err := service.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	until(t, watch(t, r), "it is listed", listed(server("a", 0)))
}
