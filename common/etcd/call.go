package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// call asks etcd, again while it is not well, for at most Options.Timeout. What it
// asks must do no harm when it is done twice.
func (r *Registry) call(ctx context.Context, action string, ask func(context.Context) error) error {
	return r.callWithin(ctx, r.options.Timeout, action, ask)
}

// callWithin is call with a bound of its own; one below 0 is none.
func (r *Registry) callWithin(ctx context.Context, bound time.Duration, action string, ask func(context.Context) error) error {
	ctx, cancel := r.within(ctx, bound)
	defer cancel()
	if err := again(ctx, ask); err != nil {
		return fmt.Errorf("%s: %w", action, r.reason(err))
	}
	return nil
}

// bounded returns a context that ends with the given one, with the registry, and
// after Options.Timeout.
func (r *Registry) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return r.within(ctx, r.options.Timeout)
}

func (r *Registry) within(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := func() {}
	if bound >= 0 {
		ctx, stop = context.WithTimeout(ctx, bound)
	}
	forget := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { forget(); stop(); cancel() }
}

// reason names the end of the registry where that is why something was broken off.
func (r *Registry) reason(err error) error {
	if r.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// again asks until it works, the context ends, or the answer is that it never will.
func again(ctx context.Context, ask func(context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// passing reports whether an error may be over soon: the connection's, a leader's,
// or that etcd has too much to do.
func passing(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	code := status.Code(err)
	var coded interface{ Code() codes.Code } // etcd's own errors
	if errors.As(err, &coded) {
		code = coded.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Aborted:
		return true
	}
	return false
}
