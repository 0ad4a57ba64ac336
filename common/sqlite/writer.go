package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/im-transfer/im"
)

// The bounds of group commit. A caller waits for a place in the queue when it is
// full.
const (
	maxQueued  = 1024
	maxGrouped = 64
)

// request is a call that writes. Either the writer begins it or its caller
// abandons it, never both: what is begun is waited for, so that the answer is
// true and the caller's memory is not used after it. What it does may be done
// twice, the first time rolled back: nothing outside the database may tell.
type request struct {
	do      func(*tx) error
	taken   atomic.Bool // by the writer, or by the caller who gives up
	failure error       // of do; the group's, where that has one, comes before it
	answer  chan error
}

// writer owns the connection that writes. Its goroutine alone uses it.
type writer struct {
	queue  chan *request
	pauses chan chan struct{} // the writer stands still until what it got is closed
	dial   func() (*conn, error)
	tx     *tx // nil after a failed commit, until the next connects again
	frames int // pages written to the log since the checkpointer was told
	limit  int
	full   chan<- struct{}
	ended  sync.WaitGroup

	// commit ends a transaction; tests put faults here.
	commit func(*conn) error
}

func newWriter(ctx context.Context, path string, o Options, s *Store) (*writer, error) {
	w := &writer{
		queue:  make(chan *request, maxQueued),
		pauses: make(chan chan struct{}),
		limit:  o.CheckpointBytes / pageBytes,
		full:   s.checkpointer.full,
		commit: func(c *conn) error { return c.exec("COMMIT") },
	}
	w.dial = func() (*conn, error) {
		return dialWriter(context.WithoutCancel(ctx), path, fmt.Sprintf("cache_size = -%d", o.CacheBytes/1024),
			fmt.Sprintf("journal_size_limit = %d", 2*o.CheckpointBytes))
	}
	c, err := w.dial()
	if err != nil {
		return nil, err
	}
	w.tx = newTx(c, s.users, s.conversations)
	w.ended.Go(func() { w.run(s) })
	return w, nil
}

// close ends the goroutine; nothing may be queued after it.
func (w *writer) close() error {
	close(w.queue)
	w.ended.Wait()
	if w.tx == nil {
		return nil
	}
	return w.tx.close()
}

func (w *writer) run(s *Store) {
	for {
		select {
		case first, ok := <-w.queue:
			if !ok {
				return
			}
			w.write(w.gather(first), s)
		case resume := <-w.pauses:
			<-resume
		}
	}
}

// gather takes what is ready besides first.
func (w *writer) gather(first *request) []*request {
	group := make([]*request, 0, 1+min(len(w.queue), maxGrouped))
	group = append(group, first)
	for len(group) < maxGrouped {
		select {
		case next, ok := <-w.queue:
			if !ok {
				return group
			}
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// write carries a group out and answers every request that its caller has not
// abandoned.
func (w *writer) write(group []*request, s *Store) {
	begun := group[:0]
	for _, r := range group {
		if r.taken.CompareAndSwap(false, true) {
			begun = append(begun, r)
		}
	}
	if len(begun) == 0 {
		return
	}
	err := w.transact(begun, s)
	for _, r := range begun {
		if err != nil { // a duplicate of what is not committed is none
			r.failure = err
		}
		r.answer <- r.failure
	}
}

// transact runs a group in one transaction. Its error is every request's. A request
// that fails by itself is rare; then all that the group did is rolled back and done
// again, each request under a savepoint. After a failure that may have ended the
// transaction the connection is given up: a new one has no state to be wrong about.
func (w *writer) transact(group []*request, s *Store) error {
	if w.tx == nil {
		c, err := w.dial()
		if err != nil {
			return err
		}
		w.tx = newTx(c, s.users, s.conversations)
	}
	if err := w.carryOut(group); err != nil {
		return w.abandon(fmt.Errorf("nothing was written: %w", err))
	}
	im.CrashPoint(im.CrashBeforeTransaction)
	if err := w.commit(w.tx.conn); err != nil {
		return w.abandon(commitError(err))
	}
	im.CrashPoint(im.CrashTransactionCommitted)
	w.tx.committed()
	w.measure()
	return nil
}

// carryOut leaves a transaction with all that the group could do.
func (w *writer) carryOut(group []*request) error {
	if err := w.tx.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	failure := w.tx.together(group)
	if failure == nil {
		return nil
	}
	w.tx.forget()
	if err := w.tx.exec("ROLLBACK"); err != nil {
		return fmt.Errorf("%w (the transaction is gone: %w)", failure, err)
	}
	err := w.tx.exec("BEGIN IMMEDIATE")
	for i := 0; i < len(group) && err == nil; i++ {
		group[i].failure, err = w.tx.guarded(group[i].do)
	}
	return err
}

func (w *writer) abandon(err error) error {
	tx := w.tx
	w.tx = nil
	return errors.Join(err, tx.close())
}

// commitError tells what a failed COMMIT means. A full disk or a lock is met
// before the commit's frame is whole. Any other error may come after that, and
// recovery would then find the transaction in the log.
func commitError(err error) error {
	switch codeOf(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_BUSY:
		return fmt.Errorf("commit, nothing was written: %w", err)
	}
	return fmt.Errorf("commit: %w: %w", im.ErrUnknown, err)
}

// measure tells the checkpointer when the log has grown enough.
func (w *writer) measure() {
	n, _, err := w.tx.raw.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		return
	}
	w.frames += n
	if w.frames < w.limit {
		return
	}
	select {
	case w.full <- struct{}{}:
		w.frames = 0
	default: // still at the one before
	}
}

// write queues a call that writes and waits for its commit. When the context
// ends before the writer has begun, nothing was written; after that the outcome
// is waited for.
func (s *Store) write(ctx context.Context, action string, do func(*tx) error) error {
	if !s.enter() {
		return fmt.Errorf("%s: %w", action, errClosed)
	}
	defer s.calls.Done()
	if err := s.writer.submit(ctx, &request{do: do, answer: make(chan error, 1)}); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

func (w *writer) submit(ctx context.Context, r *request) error {
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-r.answer
	}
}
