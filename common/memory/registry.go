package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/im-transfer/im"
)

// Registry knows the servers of this process, and settings for them. It has no goroutine of its own.
// All methods are safe for concurrent use.
type Registry struct {
	mu       sync.Mutex // guards what follows
	servers  map[string]*registration
	watchers map[*watcher]struct{}
	facts    *im.ClusterFacts
	settings map[string]string
	readers  map[chan map[string]string]struct{} // of settings
}

type registration struct {
	server im.Server
	forget func() bool // stops the watch of its context
}

// watcher is one call of Watch. Its channel holds at most the newest list; the
// registry's lock makes it the only sender.
type watcher struct {
	role  string
	lists chan []im.Server
}

// NewRegistry returns a registry that knows nobody.
func NewRegistry() *Registry {
	return &Registry{
		servers: map[string]*registration{}, watchers: map[*watcher]struct{}{},
		settings: map[string]string{}, readers: map[chan map[string]string]struct{}{},
	}
}

// Register makes a server known until the context ends or Deregister is called. A
// second call for the same id replaces the row and its context.
func (r *Registry) Register(ctx context.Context, server im.Server) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("register %s: %w", server.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	row := &registration{server: server}
	row.forget = context.AfterFunc(ctx, func() { r.remove(server.ID, row) })
	former := r.servers[server.ID]
	r.servers[server.ID] = row
	if former == nil {
		r.announce(server.Role)
		return nil
	}
	former.forget()
	if former.server != server {
		r.announce(server.Role)
	}
	if former.server.Role != server.Role {
		r.announce(former.server.Role)
	}
	return nil
}

// Deregister makes a server unknown; one that is not known is no error.
func (r *Registry) Deregister(_ context.Context, id string) error {
	r.remove(id, nil)
	return nil
}

// Watch sends the live servers of a role, sorted by id: at once, and after every
// change, the newest list replacing one not yet taken. The channel is
// closed when the context ends.
func (r *Registry) Watch(ctx context.Context, role string) (<-chan []im.Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &watcher{role: role, lists: make(chan []im.Server, 1)}
	r.watchers[w] = struct{}{}
	w.lists <- r.list(role)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
		close(w.lists)
	})
	return w.lists, nil
}

// Facts stores the cluster facts if there are none and returns those in force.
func (r *Registry) Facts(_ context.Context, facts im.ClusterFacts) (im.ClusterFacts, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.facts == nil {
		r.facts = &facts
	}
	return *r.facts, nil
}

// remove forgets a server, with only given just if that is still its row.
func (r *Registry) remove(id string, only *registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.servers[id]
	if row == nil || only != nil && row != only {
		return
	}
	row.forget()
	delete(r.servers, id)
	r.announce(row.server.Role)
}

// announce gives every watcher of a role the newest list; r.mu is held.
func (r *Registry) announce(role string) {
	for w := range r.watchers {
		if w.role != role {
			continue
		}
		select {
		case <-w.lists: // the older one, which nobody has taken
		default:
		}
		w.lists <- r.list(role)
	}
}

func (r *Registry) list(role string) []im.Server {
	list := make([]im.Server, 0, len(r.servers))
	for _, row := range r.servers {
		if row.server.Role == role {
			list = append(list, row.server)
		}
	}
	slices.SortFunc(list, func(a, b im.Server) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
