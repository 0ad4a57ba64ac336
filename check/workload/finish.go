package workload

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// mostRounds bounds how often the devices come back because the witness has seen
// what came after they had gone: a late receipt.
const mostRounds = 10

// finish has all devices come back and get everything, until nothing comes any more;
// then they part and the witnesses read. What a witness has seen and a device could
// not, because it came later, is fetched in another round. It returns the users whose
// inbox could not be read, with the reason.
func (r *run) finish(ctx context.Context) (unread map[*user]error, err error) {
	for range mostRounds {
		r.unsettled.Store(int64(len(r.devices)))
		r.progress()
		if err := r.order(ctx, drain); err != nil {
			return nil, err
		}
		quiet, err := r.quiet(ctx)
		if err != nil {
			return nil, err
		}
		r.parted.Add(len(r.devices))
		if err := r.order(ctx, part); err != nil {
			return nil, err
		}
		r.parted.Wait()
		if quiet {
			for _, u := range r.users {
				u.witness.recorded.ReadsLast()
			}
		}
		unread = r.witness(ctx)
		if !quiet || len(unread) > 0 || r.agreed() {
			break
		}
	}
	return unread, ctx.Err()
}

// settle notes that a device that drains has all, or not any more.
func (r *run) settle(settled bool) {
	if settled {
		r.unsettled.Add(-1)
	} else {
		r.unsettled.Add(1)
	}
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// progress notes that something has come.
func (r *run) progress() { r.last.Store(int64(r.now())) }

// quiet waits until every device has all and nothing has come for as long as the
// config says. False: something was outstanding, and for all the run's patience
// nothing came.
func (r *run) quiet(ctx context.Context) (bool, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := r.config.Patience
		settled := r.unsettled.Load() == 0
		if settled {
			wait = r.config.Quiet
		}
		left := time.Duration(r.last.Load()) + wait - r.now()
		if left <= 0 {
			return settled, nil
		}
		timer.Reset(left)
		select {
		case <-timer.C:
		case <-r.moved:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// witness has every inbox read by HTTP.
func (r *run) witness(ctx context.Context) map[*user]error {
	var mu sync.Mutex
	unread := map[*user]error{}
	var group errgroup.Group
	group.SetLimit(parallelHTTP)
	for _, u := range r.users {
		group.Go(func() error {
			if err := u.witness.pull(ctx, r); err != nil {
				mu.Lock()
				defer mu.Unlock()
				unread[u] = err
			}
			return nil
		})
	}
	_ = group.Wait() // its errors are in unread
	return unread
}

// agreed reports whether the devices have seen as much as the witnesses.
func (r *run) agreed() bool {
	for _, d := range r.devices {
		if d.last < d.user.witness.last {
			return false
		}
	}
	return true
}
