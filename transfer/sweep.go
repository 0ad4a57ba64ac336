package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/im-transfer/im"
)

const (
	sweepUsers  = 256 // ids of users read at once
	sweepBlocks = 100 // blocks, or other rows, deleted at once
	sweepRests  = 9   // a sweeper rests so many times as long as it has worked

	// A pass over all users begins this part of the retention after the one before,
	// within bounds.
	sweepsInRetention = 30
	mostOften         = 100 * time.Millisecond
	leastOften        = 24 * time.Hour

	// A sweeper trusts the store's clock while it is no further from ours.
	maxClockMove = time.Hour
)

// errClockMoved: by which clock blocks are old is not sure any more.
var errClockMoved = errors.New("the store's clock has moved against ours")

// sweeper deletes what the inboxes of one partition are not kept for any longer.
// It runs on a goroutine of its own as long as the partition is held, and shares
// no state with the partition's: no commit needs a block that it may delete. Two
// sweepers of a partition delete the same blocks.
//
// Nothing of it is stored. A pass begins at a random user, so that whoever sweeps
// after it, and however short every sweeper lives, everybody has their turn.
type sweeper struct {
	store      SweepStore
	log        *slog.Logger
	now        func() time.Time // not moved by steps of the clock
	metrics    *metrics
	retention  time.Duration // of inboxes; 0 = for ever, as of the others
	journal    time.Duration
	progress   time.Duration
	partition  int
	partitions int
}

// sweep begins to sweep an inbox partition, where anything is to be; what it
// returns ends that and waits for it.
func (s *Server) sweep(ctx context.Context, q int) (stop func()) {
	if s.config.Retention+s.config.KeepConnections+s.config.KeepProgress == 0 {
		return func() {}
	}
	w := &sweeper{
		store: s.store, log: s.log.With("partition", partitionName(TopicInbox, q)), now: s.now, metrics: s.metrics,
		retention: s.config.Retention, journal: s.config.KeepConnections, progress: s.config.KeepProgress,
		partition: q, partitions: s.config.InboxPartitions,
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	s.goRun(func() {
		defer close(done)
		w.run(ctx)
	})
	return func() {
		cancel()
		<-done
	}
}

// run sweeps until the context ends. When the clocks come apart it deletes nothing
// more: which of them is wrong, a person must find out.
func (w *sweeper) run(ctx context.Context) {
	every := min(max(w.shortest()/sweepsInRetention, mostOften), leastOften)
	rest := rand.N(min(every, time.Minute)) // servers that start at once do not sweep at once
	for pause(ctx, rest) {
		began := w.now()
		err := w.pass(ctx, im.NewID())
		if errors.Is(err, errClockMoved) {
			w.log.Error("retention has stopped: nothing is deleted from these inboxes until the clocks agree and the server is started again", "error", err)
			w.metrics.stoppedFor.Inc()
			<-ctx.Done()
			w.metrics.stoppedFor.Dec()
			return
		}
		rest = max(0, every-w.now().Sub(began))
	}
}

// shortest is the shortest time that anything is kept for.
func (w *sweeper) shortest() time.Duration {
	shortest := time.Duration(math.MaxInt64)
	for _, kept := range []time.Duration{w.retention, w.journal, w.progress} {
		if kept > 0 {
			shortest = min(shortest, kept)
		}
	}
	return shortest
}

// pass sweeps every user of the partition once, those above an id first.
func (w *sweeper) pass(ctx context.Context, start string) error {
	if err := w.walk(ctx, start, ""); err != nil {
		return err
	}
	return w.walk(ctx, "", start)
}

// walk sweeps the users above an id, up to another or, where that is empty, to the
// end.
func (w *sweeper) walk(ctx context.Context, after, upto string) error {
	for {
		var now time.Time
		var ids []string
		err := w.do(ctx, func(ctx context.Context) (err error) {
			if now, err = w.clock(ctx); err != nil {
				return err
			}
			ids, err = w.store.UsersAfter(ctx, after, sweepUsers)
			return err
		})
		if err != nil {
			return err
		}
		for _, after = range ids {
			if upto != "" && after > upto {
				return nil
			}
			if im.Partition(after, w.partitions) != w.partition {
				continue
			}
			if err := w.user(ctx, after, now); err != nil {
				return err
			}
		}
		if len(ids) < sweepUsers {
			return nil
		}
	}
}

// clock is the store's, by which things are old.
func (w *sweeper) clock(ctx context.Context) (time.Time, error) {
	clock, err := w.store.Clock(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the store's clock: %w", err)
	}
	if own := w.now(); clock.Sub(own).Abs() > maxClockMove {
		return time.Time{}, fmt.Errorf("%w: it is %v there, and %v here", errClockMoved, clock.UTC(), own.UTC())
	}
	return clock, nil
}

// user sweeps all that is kept of one user for a time.
func (w *sweeper) user(ctx context.Context, id string, now time.Time) error {
	for _, part := range []struct {
		kept  time.Duration
		sweep func(ctx context.Context, userID string, before time.Time, limit int) (int, error)
		count func(float64)
	}{
		{w.retention, w.store.SweepInbox, w.metrics.swept.Add},
		{w.journal, w.store.SweepConnections, func(float64) {}},
		{w.progress, w.store.SweepProgress, func(float64) {}},
	} {
		for n := sweepBlocks; part.kept > 0 && n >= sweepBlocks; {
			err := w.do(ctx, func(ctx context.Context) (err error) {
				n, err = part.sweep(ctx, id, now.Add(-part.kept), sweepBlocks)
				return err
			})
			if err != nil {
				return err
			}
			part.count(float64(n))
		}
	}
	return nil
}

// do calls the store until it answers, and then rests in proportion, so that a store
// that is slow is asked less. It gives up when the context ends or the clocks have
// come apart.
func (w *sweeper) do(ctx context.Context, call func(context.Context) error) error {
	const first, longest = time.Second, time.Minute
	for wait := first; ; wait = min(2*wait, longest) {
		began := w.now()
		bounded, cancel := context.WithTimeout(ctx, stepTimeout)
		err := call(bounded)
		cancel()
		rest := sweepRests * w.now().Sub(began)
		if errors.Is(err, errClockMoved) {
			return err
		}
		if err != nil {
			rest = wait
		}
		if err != nil && wait == first && ctx.Err() == nil {
			w.log.Warn("the store can not be swept; trying again", "error", err)
		}
		if !pause(ctx, rest) {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
	}
}

// pause waits, and reports whether the context still stands.
func pause(ctx context.Context, how time.Duration) bool {
	select {
	case <-time.After(how):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
