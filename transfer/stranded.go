package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/im-transfer/im"
)

// A transfer that has lost its own way to the store or the queue can do nothing with
// its partitions, and nobody else may as long as it is listed. So it leaves them to
// others, in two steps, that nothing moves when the store or the queue is away for
// everybody: after half of Config.GiveUpAfter without an answer its row says that it
// is in doubt, and after the whole it leaves if another transfer is in none. It comes
// back when all has been well for as long.

// errStranded ends a partition that is left to others: what is being tried for it is
// broken off, for it would take until its time is over, and the next owner waits.
var errStranded = errors.New("the store or the queue does not answer here")

// standingAsks is how often in Config.GiveUpAfter the store and the queue are asked
// for a sign of life. That no answer comes is an event that nothing else tells.
const standingAsks = 10

// standing is how this transfer stands to what it depends on. One goroutine has it.
type standing struct {
	server   *Server
	row      im.Server
	answered time.Time // when store and queue have answered last
	sound    time.Time // since when they have, without a break; zero: they do not
}

func newStanding(s *Server, row im.Server) *standing {
	return &standing{server: s, row: row, answered: s.now(), sound: s.now()}
}

// watch asks and judges until the context ends.
func (w *standing) watch(ctx context.Context) {
	tick := time.NewTicker(w.server.config.GiveUpAfter / standingAsks)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := w.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err = w.judge(ctx, err); err != nil {
			w.server.complain(w.server.log, "tell the registry how this transfer stands", "error", err)
		}
	}
}

// ask waits for a sign of life of both, bounded.
func (w *standing) ask(ctx context.Context) error {
	s := w.server
	ctx, cancel := context.WithTimeout(ctx, s.config.GiveUpAfter/4)
	defer cancel()
	if _, err := s.store.LastTerm(ctx, partitionName(TopicInbox, 0)); err != nil && !errors.Is(err, im.ErrNotFound) {
		return fmt.Errorf("ask the store: %w", err)
	}
	if err := s.queue.Ping(ctx); err != nil {
		return fmt.Errorf("ask the queue: %w", err)
	}
	return nil
}

// judge draws the conclusion from one answer, or its want.
func (w *standing) judge(ctx context.Context, silence error) error {
	s, now := w.server, w.server.now()
	if silence == nil {
		if w.answered = now; w.sound.IsZero() {
			w.sound = now
		}
		return w.recover(ctx, now)
	}
	w.sound = time.Time{}
	switch silent := now.Sub(w.answered); {
	case s.stranded.Load():
		return nil
	case silent >= s.config.GiveUpAfter && w.row.Stranded && w.others():
		s.log.Error("partitions are left to others, for the store or the queue does not answer here", "silent", silent, "error", silence)
		s.stranded.Store(true)
		return s.registry.Deregister(ctx, w.row.ID)
	case silent >= s.config.GiveUpAfter/2 && !w.row.Stranded:
		s.log.Warn("the store or the queue does not answer", "silent", silent, "error", silence)
		return w.tell(ctx, true)
	}
	return nil
}

// recover takes the doubt back, and comes back where partitions have been left: when
// all has been well for long enough, or nobody else is there.
func (w *standing) recover(ctx context.Context, now time.Time) error {
	s := w.server
	switch {
	case !s.stranded.Load():
		if !w.row.Stranded {
			return nil
		}
		s.log.Info("the store and the queue answer again")
	case now.Sub(w.sound) < s.config.GiveUpAfter && w.others():
		return nil
	default:
		s.log.Info("the store and the queue answer again; taking partitions")
		s.stranded.Store(false)
	}
	return w.tell(ctx, false)
}

// tell puts the row into the registry. If that fails it is told at the next occasion.
func (w *standing) tell(ctx context.Context, stranded bool) error {
	row := w.row
	row.Stranded = stranded
	if err := w.server.registry.Register(ctx, row); err != nil {
		return err
	}
	w.row = row
	return nil
}

// others reports whether another transfer is listed that is in no doubt.
func (w *standing) others() bool {
	list := w.server.transfers.Load()
	return list != nil && slices.ContainsFunc(*list, func(other im.Server) bool {
		return other.ID != w.row.ID && !other.Stranded
	})
}

// Ready returns why the server can serve nobody, nil when it can.
func (s *Server) Ready() error {
	if s.stranded.Load() {
		return errStranded
	}
	return nil
}
