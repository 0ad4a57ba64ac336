package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keep stores the row again whenever it has been lost, until the registration ends.
func (g *registration) keep() {
	defer close(g.done)
	for {
		select {
		case <-g.lost:
			g.restore()
		case <-g.ctx.Done():
			return
		}
	}
}

// restore tries until etcd has the row.
func (g *registration) restore() {
	r := g.registry
	began := time.Now()
	r.log.Warn("the registration in etcd is lost or old; registering anew", "server", g.id)
	for g.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(g.ctx, r.options.Timeout)
		err := r.take(ctx)
		if err == nil {
			err = again(ctx, g.store)
			r.give()
		}
		cancel()
		if err == nil {
			r.log.Info("registered anew", "server", g.id, "after", time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-time.After(r.view.silence() / 2):
		case <-g.ctx.Done():
		}
	}
}

// store writes the row under the lease that is kept alive, or under a new one; busy
// is held.
func (g *registration) store(ctx context.Context) error {
	g.registry.mu.Lock()
	kept := g.kept
	g.registry.mu.Unlock()
	if kept != clientv3.NoLease {
		err := g.put(ctx, kept)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
	granted, err := g.registry.client.Grant(ctx, int64(g.registry.options.TTL/time.Second))
	if err != nil {
		return fmt.Errorf("get a lease: %w", err)
	}
	if err := g.put(ctx, granted.ID); err != nil {
		return err
	}
	return g.keepAlive(granted.ID)
}

// keepAlive renews a lease until the registration ends. When the lease is lost, or
// may be because etcd has not answered for a TTL, keep is woken.
func (g *registration) keepAlive(lease clientv3.LeaseID) error {
	r := g.registry
	alive, err := r.client.KeepAlive(g.ctx, lease)
	if err != nil {
		return fmt.Errorf("keep the lease: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed // the end of the registration ends the renewal
	}
	g.kept = lease
	r.running.Go(func() {
		for range alive { // only the end matters
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if g.kept == lease {
			g.kept = clientv3.NoLease
			g.again()
		}
	})
	return nil
}

func (g *registration) put(ctx context.Context, lease clientv3.LeaseID) error {
	r := g.registry
	text, err := json.Marshal(serverJSON(g.server))
	if err != nil {
		return fmt.Errorf("encode the row: %w", err)
	}
	answer, err := r.client.Put(ctx, r.prefix+serversFolder+g.id, string(text), clientv3.WithLease(lease))
	if err != nil {
		return fmt.Errorf("store the row: %w", err)
	}
	g.lease, g.unsure = lease, false
	r.mu.Lock()
	g.stored = answer.Header.Revision
	r.mu.Unlock()
	return nil
}

// missed is told that at a revision etcd had no such row; the registry's lock is
// held.
func (g *registration) missed(revision int64) {
	if g.stored < revision {
		g.again()
	}
}

// again wakes keep. It never blocks.
func (g *registration) again() {
	select {
	case g.lost <- struct{}{}:
	default:
	}
}
