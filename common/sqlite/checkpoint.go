package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
)

// pageBytes is the page size, and about what a page takes in the log.
const pageBytes = 4096

// The bounds of a checkpoint. A round beside the writer copies what came during the
// one before, so what is left is soon little. A restart of the log waits for
// readers of what it copies. It gives up soon and looks again, because SQLite waits
// for the place of a reader, which the next reader may have taken. In all the writer
// stands still for a quarter of a second at most; the log then starts over next time.
const (
	maxPassive  = 8  // rounds beside the writer
	maxLeft     = 64 // pages, to be copied in the pause
	maxRestarts = 10
	restartWait = "busy_timeout = 25" // milliseconds
)

// checkpointer moves the log into the database on a connection of its own. Most
// of it is copied while the writer goes on; the rest, and the restart of the log
// at its beginning, in a pause between two transactions. Without that pause a
// writer that never rests would never let the log start over.
type checkpointer struct {
	conn   *conn
	full   chan struct{} // the log is long enough
	stop   chan struct{}
	logger *slog.Logger
	ended  sync.WaitGroup
}

func newCheckpointer(ctx context.Context, path string, o Options) (*checkpointer, error) {
	c, err := dial(ctx, path, restartWait)
	if err != nil {
		return nil, err
	}
	return &checkpointer{
		conn: c, full: make(chan struct{}, 1), stop: make(chan struct{}),
		logger: o.Logger,
	}, nil
}

func (k *checkpointer) start(w *writer) { k.ended.Go(func() { k.run(w) }) }

func (k *checkpointer) close() error {
	close(k.stop)
	k.ended.Wait()
	return k.conn.close()
}

func (k *checkpointer) run(w *writer) {
	for {
		select {
		case <-k.full:
			if err := k.checkpoint(w); err != nil {
				k.logger.Warn("checkpoint failed; the log grows", "error", err)
			}
		case <-k.stop:
			return
		}
	}
}

// checkpoint copies until little is left, or no less than before, then the rest in
// a pause.
func (k *checkpointer) checkpoint(w *writer) error {
	before := int64(math.MaxInt64)
	for range maxPassive {
		_, left, err := k.pragma("PRAGMA wal_checkpoint(PASSIVE)")
		if err != nil {
			return err
		}
		if left <= maxLeft || left > before/2 {
			break
		}
		before = left
	}
	resume := make(chan struct{})
	select {
	case w.pauses <- resume:
		defer close(resume)
	case <-k.stop:
		return nil
	}
	for range maxRestarts {
		if busy, _, err := k.pragma("PRAGMA wal_checkpoint(RESTART)"); err != nil || !busy {
			return err
		}
	}
	return nil
}

// pragma runs a checkpoint and returns whether it met a reader or writer that it
// would have had to wait for, and how many pages it left in the log.
func (k *checkpointer) pragma(text string) (busy bool, left int64, err error) {
	found, err := k.conn.one(text, func(r row) { busy, left = r.int(0) != 0, r.int(1)-r.int(2) })
	if err == nil && !found {
		err = errors.New("no answer")
	}
	return busy, left, err
}
