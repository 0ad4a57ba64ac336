package etcd

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/im-transfer/im"
)

// feed is one call of Watch or Settings: a view of the mirror. The registry's lock
// makes whoever holds it the only sender.
type feed interface {
	renew(v *view)
	close()
}

// feedOf sends values of one type. Its channel holds at most the newest.
type feedOf[T any] struct {
	values chan T
	last   T
	sent   bool
	look   func(*view) T // makes a new value at each call: the receiver owns it
	same   func(a, b T) bool
}

func (f *feedOf[T]) renew(v *view) {
	next := f.look(v)
	if f.sent && f.same(next, f.last) {
		return
	}
	select {
	case <-f.values: // the older one, which nobody has taken
	default:
	}
	f.last, f.sent = next, true
	f.values <- f.look(v)
}

func (f *feedOf[T]) close() { close(f.values) }

// Watch sends the live servers of a role, sorted by id: at once, and after every
// change, the newest list replacing one not yet taken. While etcd is away the last
// list stands, and for one TTL afterwards nobody is removed from it. The channel is
// closed when the context ends, or with the registry.
func (r *Registry) Watch(ctx context.Context, role string) (<-chan []im.Server, error) {
	lists, err := subscribe(ctx, r, func(v *view) []im.Server { return v.of(role) }, slices.Equal)
	if err != nil {
		return nil, fmt.Errorf("watch the %s servers: %w", role, err)
	}
	return lists, nil
}

// Settings sends what stands in the configuration centre, by name: at once, and
// after every change, the newest replacing what was not yet taken. While etcd is
// away the last known stands. What the values mean, and whether they are valid, is
// for the receiver to say. The channel is closed when the context ends, or with the
// registry.
func (r *Registry) Settings(ctx context.Context) (<-chan map[string]string, error) {
	settings, err := subscribe(ctx, r, func(v *view) map[string]string { return maps.Clone(v.settings) }, maps.Equal)
	if err != nil {
		return nil, fmt.Errorf("watch the settings: %w", err)
	}
	return settings, nil
}

func subscribe[T any](ctx context.Context, r *Registry, look func(*view) T, same func(a, b T) bool) (<-chan T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	f := &feedOf[T]{values: make(chan T, 1), look: look, same: same}
	f.renew(&r.view)
	r.feeds[f] = context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, is := r.feeds[f]; is {
			delete(r.feeds, f)
			f.close()
		}
	})
	return f.values, nil
}

// renew lets every feed look at the view again; r.mu is held.
func (r *Registry) renew() {
	for f := range r.feeds {
		f.renew(&r.view)
	}
}
