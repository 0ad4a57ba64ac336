// Package registrytest is the conformance suite that every driver of the
// registry passes.
package registrytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// patience bounds every wait of the suite.
const patience = 20 * time.Second

// Registry is all that servers and operators ask of a registry.
type Registry interface {
	transfer.Registry
	Facts(ctx context.Context, facts im.ClusterFacts) (im.ClusterFacts, error)
	Settings(ctx context.Context) (<-chan map[string]string, error)
	PutSetting(ctx context.Context, name, value string) error
	DeleteSetting(ctx context.Context, name string) error
}

// Opened is an empty registry under test. Another returns the same registry as
// another process sees it; nil, where it lives within one process.
type Opened struct {
	Registry Registry
	Another  func() Registry
}

func (o Opened) another() Registry {
	if o.Another == nil {
		return o.Registry
	}
	return o.Another()
}

// Run runs the suite; open is called once for each test and cleans up after it.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for _, story := range []struct {
		name string
		tell func(t *testing.T, o Opened)
	}{
		{"a watch begins with those who live", begins},
		{"a watch shows who comes, changes and goes, sorted", follows},
		{"roles do not mix", roles},
		{"a registration ends with its context", endsWithContext},
		{"a second registration outlives the first one's context", replaced},
		{"an ended context registers nobody", lateRegister},
		{"a slow watcher gets the newest list", newest},
		{"a watch ends with its context", watchEnds},
		{"the first facts stand", facts},
		{"of facts written at once one stands", factsAtOnce},
		{"all watchers end with the same list", concurrent},
		{"settings begin with what is set", settingsBegin},
		{"settings follow every change", settingsFollow},
		{"a slow reader of settings gets the newest", settingsNewest},
		{"settings end with their context", settingsEnd},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, open(t)) })
	}
}

func server(role, id string, load int64) im.Server {
	return im.Server{ID: id, Role: role, Address: "127.0.0.1:1", URL: "ws://127.0.0.1:1/ws", Load: load}
}

func register(t *testing.T, r transfer.Registry, s im.Server) {
	t.Helper()
	if err := r.Register(t.Context(), s); err != nil {
		t.Fatalf("register %s: %v", s.ID, err)
	}
}

func deregister(t *testing.T, r transfer.Registry, id string) {
	t.Helper()
	if err := r.Deregister(t.Context(), id); err != nil {
		t.Fatalf("deregister %s: %v", id, err)
	}
}

func watch(t *testing.T, r transfer.Registry, role string) <-chan []im.Server {
	t.Helper()
	lists, err := r.Watch(t.Context(), role)
	if err != nil {
		t.Fatalf("watch %s: %v", role, err)
	}
	return lists
}

// until takes lists until one is as wanted; every one before it must be sorted.
func until(t *testing.T, lists <-chan []im.Server, want ...im.Server) {
	t.Helper()
	await(t, lists, want, func(list []im.Server) bool {
		if !slices.IsSortedFunc(list, func(a, b im.Server) int { return cmp.Compare(a.ID, b.ID) }) {
			t.Fatalf("not sorted: %v", list)
		}
		return slices.Equal(list, want)
	})
}

// await takes what a channel sends until it is as wanted.
func await[T any](t *testing.T, values <-chan T, want T, is func(T) bool) {
	t.Helper()
	late := time.After(patience)
	var last T
	for {
		select {
		case value, open := <-values:
			if !open {
				t.Fatalf("the watch ended at %v", last)
			}
			if last = value; is(value) {
				return
			}
		case <-late:
			t.Fatalf("waiting for %v, last seen %v", want, last)
		}
	}
}

func begins(t *testing.T, o Opened) {
	first := watch(t, o.Registry, "transfer")
	select {
	case list := <-first:
		if len(list) != 0 {
			t.Fatalf("an empty registry lists %v", list)
		}
	case <-time.After(patience):
		t.Fatal("no list at once")
	}
	register(t, o.Registry, server("transfer", "a", 0))
	until(t, watch(t, o.another(), "transfer"), server("transfer", "a", 0))
}

func follows(t *testing.T, o Opened) {
	lists := watch(t, o.another(), "websocket")
	b, a := server("websocket", "b", 1), server("websocket", "a", 2)
	register(t, o.Registry, b)
	until(t, lists, b)
	register(t, o.Registry, a)
	until(t, lists, a, b)
	b.Load = 7
	register(t, o.Registry, b)
	until(t, lists, a, b)
	deregister(t, o.Registry, "a")
	until(t, lists, b)
	deregister(t, o.Registry, "a") // unknown by now: no error
	deregister(t, o.Registry, "b")
	until(t, lists)
}

func roles(t *testing.T, o Opened) {
	tcp, http := watch(t, o.Registry, "tcp"), watch(t, o.Registry, "http")
	register(t, o.Registry, server("tcp", "t", 0))
	register(t, o.Registry, server("http", "h", 0))
	until(t, tcp, server("tcp", "t", 0))
	until(t, http, server("http", "h", 0))
}

func endsWithContext(t *testing.T, o Opened) {
	lists := watch(t, o.another(), "tcp")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := o.Registry.Register(ctx, server("tcp", "t", 0)); err != nil {
		t.Fatal(err)
	}
	until(t, lists, server("tcp", "t", 0))
	cancel()
	until(t, lists)
}

func replaced(t *testing.T, o Opened) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := o.Registry.Register(ctx, server("tcp", "t", 1)); err != nil {
		t.Fatal(err)
	}
	register(t, o.Registry, server("tcp", "t", 2))
	cancel()
	register(t, o.Registry, server("tcp", "u", 3))
	until(t, watch(t, o.Registry, "tcp"), server("tcp", "t", 2), server("tcp", "u", 3))
}

func lateRegister(t *testing.T, o Opened) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Registry.Register(ctx, server("tcp", "late", 0)); err == nil {
		t.Fatal("registered with an ended context")
	}
	until(t, watch(t, o.Registry, "tcp"))
}

func newest(t *testing.T, o Opened) {
	slow, quick := watch(t, o.Registry, "tcp"), watch(t, o.Registry, "tcp")
	for load := range int64(100) {
		register(t, o.Registry, server("tcp", "t", load))
	}
	until(t, quick, server("tcp", "t", 99))
	// The slow one has taken nothing; at most a list that was on its way comes
	// before the newest.
	for range 3 {
		select {
		case list := <-slow:
			if len(list) == 1 && list[0].Load == 99 {
				return
			}
		case <-time.After(patience):
			t.Fatal("the newest list never came")
		}
	}
	t.Fatal("a slow watcher got old lists")
}

func watchEnds(t *testing.T, o Opened) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lists, err := o.Registry.Watch(ctx, "tcp")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	late := time.After(patience)
	for {
		select {
		case _, open := <-lists:
			if !open {
				register(t, o.Registry, server("tcp", "t", 0)) // nobody listens; nothing breaks
				return
			}
		case <-late:
			t.Fatal("the channel is still open")
		}
	}
}

func facts(t *testing.T, o Opened) {
	first := im.ClusterFacts{ConversationPartitions: 16, InboxPartitions: 32, Prefetch: 64, Format: 1}
	other := im.ClusterFacts{ConversationPartitions: 8, InboxPartitions: 8, Prefetch: 8, Format: 2}
	for _, c := range []struct {
		registry Registry
		facts    im.ClusterFacts
	}{{o.Registry, first}, {o.Registry, other}, {o.another(), other}} {
		got, err := c.registry.Facts(t.Context(), c.facts)
		if err != nil || got != first {
			t.Fatalf("facts are %+v, %v", got, err)
		}
	}
}

func factsAtOnce(t *testing.T, o Opened) {
	var writers sync.WaitGroup
	got := make([]im.ClusterFacts, 8)
	for i := range got {
		r := o.another()
		writers.Go(func() {
			var err error
			if got[i], err = r.Facts(t.Context(), im.ClusterFacts{Format: i + 1}); err != nil {
				t.Errorf("facts: %v", err)
			}
		})
	}
	writers.Wait()
	for _, facts := range got {
		if facts != got[0] || facts.Format == 0 {
			t.Fatalf("facts in force differ: %+v", got)
		}
	}
}

func concurrent(t *testing.T, o Opened) {
	var lists []<-chan []im.Server
	for range 4 {
		lists = append(lists, watch(t, o.another(), "tcp"))
	}
	var want []im.Server
	var writers sync.WaitGroup
	for i := range 8 {
		id := fmt.Sprint(i)
		want = append(want, server("tcp", id, 9))
		writers.Go(func() {
			for load := range int64(10) {
				if err := o.Registry.Register(t.Context(), server("tcp", id, load)); err != nil {
					t.Errorf("register: %v", err)
				}
			}
		})
	}
	writers.Wait()
	for _, list := range lists {
		until(t, list, want...)
	}
}
