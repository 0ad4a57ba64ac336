package test

import (
	"context"
	"errors"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/deploy/local"
)

// Every crash place on the embedded drivers: one process, which is started again.
func TestCrashPlacesOfTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	const servers = 3 // more would not be faster on few cores
	walk(t, onEmbedded, servers, func(t *testing.T, _ int) *scene {
		s := startProcess(t, nil)
		return &scene{server: s, system: embedded{s}}
	})
}

// embedded is a server of all roles.
type embedded struct{ *server }

func (e embedded) armed(_ context.Context, _ string, environment ...string) (*local.Server, error) {
	e.kill()
	e.process.Environment = environment
	return e.process.Server, e.process.Launch()
}

func (e embedded) mended(ctx context.Context, _ string) (*local.Server, error) {
	e.process.Environment = nil
	return e.process.Server, e.process.Start(ctx)
}

// quiet has nothing to wait for: what a row does before is told in the row.
func (e embedded) quiet(*testing.T) {}

func (e embedded) transfer() *local.Server { return e.process.Server }

func (e embedded) store(t *testing.T) keptStore {
	t.Helper()
	e.kill()
	store, err := sqlite.Open(t.Context(), e.settings["data_dir"], sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// disturb uses the outbox, from which the next start publishes.
func (e embedded) disturb(t *testing.T, partition int, arm func()) {
	t.Helper()
	store := e.store(t)
	pack := im.Pack{Partition: partition, Ref: im.PackRef{Commit: 1, Partition: partition}, Body: []byte("\xff not a pack")}
	if err := errors.Join(store.InsertEvents(t.Context(), nil, []im.Pack{pack}), store.Close()); err != nil {
		t.Fatal(err)
	}
	arm()
}
