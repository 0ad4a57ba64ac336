package transfer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// stepTimeout bounds one try of a step.
const stepTimeout = 10 * time.Second

// persist runs a step again and again until it succeeds: an error of the store
// holds up what waits for it, it loses nothing. A try that has begun is finished,
// bounded, even when the context ends meanwhile, unless that is because we are
// stranded. It gives up for another owner, and when the context has ended.
func (s *Server) persist(ctx context.Context, log *slog.Logger, step func(context.Context) error) error {
	return s.repeat(ctx, context.WithoutCancel(ctx), log, step)
}

// retry is persist for what can be broken off: reads, and what is done again by the
// next owner.
func (s *Server) retry(ctx context.Context, log *slog.Logger, step func(context.Context) error) error {
	return s.repeat(ctx, ctx, log, step)
}

func (s *Server) repeat(ctx, within context.Context, log *slog.Logger, step func(context.Context) error) error {
	const first, longest = 10 * time.Millisecond, time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		bounded, cancel := context.WithTimeout(within, stepTimeout)
		keep := context.AfterFunc(ctx, func() {
			if errors.Is(context.Cause(ctx), errStranded) {
				cancel()
			}
		})
		err := step(bounded)
		keep()
		cancel()
		if err == nil || errors.Is(err, errForeign) {
			return err
		}
		if ctx.Err() == nil {
			s.complain(log, "the store or queue refuses; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait/2 + rand.N(wait)): // spread, so that all do not come back at once
		}
	}
}

// complainEvery is the least time between two lines that say the same.
const complainEvery = 10 * time.Second

// complaints bounds the lines about what goes wrong again and again, in every
// partition, while the store or the queue is away.
type complaints struct {
	mu  sync.Mutex
	was map[string]complaint // by message: a handful
}

type complaint struct {
	at     time.Time
	silent int // times since
}

// complain warns of what an operator would act on, at most once in ten seconds,
// with how often it was not said in between.
func (s *Server) complain(log *slog.Logger, message string, args ...any) {
	c := &s.complaints
	c.mu.Lock()
	was, now := c.was[message], s.now()
	if said := !was.at.IsZero() && now.Sub(was.at) < complainEvery; said {
		was.silent++
		c.was[message] = was
		c.mu.Unlock()
		return
	}
	c.was[message] = complaint{at: now}
	c.mu.Unlock()
	if was.silent > 0 {
		args = append(args, "not_said", was.silent)
	}
	log.Warn(message, args...) //nolint:sloglint // a literal, in its callers
}
