package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/im-transfer/im"
)

// registration keeps the row of one server of this process in etcd.
type registration struct {
	registry *Registry
	id       string
	ctx      context.Context // ends with the registration
	cancel   context.CancelFunc
	done     chan struct{} // closed when keep has ended
	lost     chan struct{} // holds one signal: the row has to be stored again

	// Guarded by the registry's busy token.
	server im.Server
	lease  clientv3.LeaseID // that the row was stored under last
	unsure bool             // whether etcd has this row

	// Guarded by the registry's lock.
	kept   clientv3.LeaseID // the lease that is being kept alive; 0 = none
	stored int64            // the revision of the row as stored last
	calls  int              // of Register; only the newest one's context counts
	forget func() bool      // stops the watch of that context
}

// Register makes a server known until the context ends, Deregister or Close. It
// returns when etcd has the row. From then on the row is kept: a lease that is lost
// while etcd is away is replaced when etcd is back. A second call for the same id
// replaces the row and its context; if it fails, the row is replaced as soon as etcd
// answers. The first call for an id waits for an etcd that does not answer, as Open
// does; after one that failed the server is not known.
func (r *Registry) Register(ctx context.Context, server im.Server) error {
	bound := r.options.Timeout
	if !r.registered(server.ID) {
		bound = r.options.Wait
	}
	bounded, cancel := r.within(ctx, bound)
	defer cancel()
	if err := r.register(bounded, ctx, server); err != nil {
		return fmt.Errorf("register %s: %w", server.ID, r.reason(err))
	}
	return nil
}

func (r *Registry) registered(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mine[id] != nil
}

// register is Register with two contexts: one bounds the call, the row ends with the
// other.
func (r *Registry) register(bounded, ctx context.Context, server im.Server) error {
	if err := r.take(bounded); err != nil {
		return err
	}
	defer r.give()
	r.mu.Lock()
	g := r.mine[server.ID]
	if g != nil {
		g.heed(ctx)
	}
	r.mu.Unlock()
	if g == nil {
		return r.begin(bounded, ctx, server)
	}
	if g.server == server && !g.unsure {
		return nil
	}
	g.server, g.unsure = server, true
	err := again(bounded, g.store)
	if err != nil {
		g.again()
	}
	return err
}

// begin registers a server for the first time.
func (r *Registry) begin(bounded, ctx context.Context, server im.Server) error {
	g := &registration{registry: r, id: server.ID, server: server, done: make(chan struct{}), lost: make(chan struct{}, 1)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := again(bounded, g.store); err != nil {
		g.cancel()
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		g.cancel()
		return ErrClosed
	}
	r.mine[g.id] = g
	g.heed(ctx)
	r.running.Go(g.keep)
	return nil
}

// heed ties the registration to a context in place of the one before; the registry's
// lock is held.
func (g *registration) heed(ctx context.Context) {
	if g.forget != nil {
		g.forget()
	}
	g.calls++
	call := g.calls
	g.forget = context.AfterFunc(ctx, func() {
		r := g.registry
		r.mu.Lock()
		current := r.mine[g.id] == g && g.calls == call && !r.closed
		if current {
			delete(r.mine, g.id)
			r.ending.Add(1)
		}
		r.mu.Unlock()
		if !current {
			return
		}
		defer r.ending.Done()
		bounded, cancel := r.bounded(context.Background())
		defer cancel()
		if err := g.end(bounded); err != nil {
			r.log.Warn("a server stays listed until its lease runs out", "server", g.id, "error", err)
		}
	})
}

// Deregister makes a server that was registered here unknown; any other is no error.
// After an error it stays listed until its lease has run out.
func (r *Registry) Deregister(ctx context.Context, id string) error {
	r.mu.Lock()
	g := r.mine[id]
	delete(r.mine, id)
	r.mu.Unlock()
	if g == nil {
		return nil
	}
	bounded, cancel := r.bounded(ctx)
	defer cancel()
	return g.end(bounded)
}

// end revokes the lease of a registration that is no longer among the registry's.
func (g *registration) end(ctx context.Context) error {
	r := g.registry
	r.mu.Lock()
	g.forget()
	r.mu.Unlock()
	g.cancel()
	<-g.done
	err := r.take(ctx)
	if err == nil {
		defer r.give()
		err = again(ctx, func(ctx context.Context) error {
			_, err := r.client.Revoke(ctx, g.lease)
			return err
		})
	}
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("deregister %s: %w", g.id, r.reason(err))
	}
	return nil
}

func (r *Registry) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case r.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Registry) give() { <-r.busy }
