// Package sqlite is the embedded store: one SQLite database (WAL,
// synchronous=FULL) in a data directory that it holds locked. It satisfies the
// store interfaces of transfer and http.
//
// One goroutine, the writer, owns the only connection that writes. It commits
// what all callers have ready in one transaction with one sync, each call under
// a savepoint of its own. Readers share a small pool of connections and see
// every commit that has been answered. A third goroutine moves the log into the
// database (checkpoint.go).
//
// Users and conversations are integers inside (keys.go); ids and block contents
// are packed (pack.go, entries.go).
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/im-transfer/im"
)

// Options of a Store; the zero value is good.
type Options struct {
	Readers         int          // read connections; 4 if 0
	CacheBytes      int          // page cache of the writer, 16 MiB if 0; a reader has an eighth
	CheckpointBytes int          // length of the log that starts a checkpoint; 64 MiB if 0
	Logger          *slog.Logger // slog.Default() if nil

	Now func() time.Time // the wall clock, by which entries age; time.Now if nil
}

func (o Options) withDefaults() Options {
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.CheckpointBytes == 0 {
		o.CheckpointBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store is an open data directory. All methods are safe for concurrent use.
type Store struct {
	now           func() time.Time
	info          im.StoreInfo
	users         *keyspace
	conversations *keyspace
	writer        *writer
	checkpointer  *checkpointer
	readers       chan *conn // those not in use
	lock          *os.File

	mu     sync.RWMutex // guards closed, and calls.Add, under RLock, against calls.Wait
	closed bool
	calls  sync.WaitGroup
}

var errClosed = errors.New("store is closed")

// Open opens the store in a directory and makes both if they are missing. It
// fails when another Store, of any process, has the directory open, or when the
// database was written by a newer version.
func Open(ctx context.Context, dir string, options Options) (*Store, error) {
	s, err := open(ctx, dir, options.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		now:           o.Now,
		lock:          lock,
		users:         newKeyspace("user_keys"),
		conversations: newKeyspace("conversation_keys"),
		readers:       make(chan *conn, o.Readers),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	path, err := createFile(dir)
	if err != nil {
		return nil, err
	}
	if s.info, err = prepareDatabase(ctx, path); err != nil {
		return nil, err
	}
	if err := s.start(ctx, path, o); err != nil {
		return nil, err
	}
	return s, nil
}

// createFile makes an empty database file that only its owner may read; the log
// inherits that.
func createFile(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "im.db"))
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	return path, errors.Join(file.Close(), syncDir(dir))
}

func (s *Store) start(ctx context.Context, path string, o Options) error {
	for range cap(s.readers) {
		c, err := dial(ctx, path, "query_only = 1", fmt.Sprintf("cache_size = -%d", o.CacheBytes/8/1024))
		if err != nil {
			return err
		}
		s.readers <- c
	}
	var err error
	if s.checkpointer, err = newCheckpointer(ctx, path, o); err != nil {
		return err
	}
	s.writer, err = newWriter(ctx, path, o, s)
	if err != nil {
		return err
	}
	s.checkpointer.start(s.writer)
	return nil
}

// Close waits for the calls in progress, ends the goroutines and releases the
// directory. Later calls fail; a second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	var errs []error
	if s.checkpointer != nil {
		errs = append(errs, s.checkpointer.close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	close(s.readers)
	for c := range s.readers {
		errs = append(errs, c.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// enter counts a call in progress; false when the store is closed.
func (s *Store) enter() bool {
	s.mu.RLock() // thousands may read at once, and none may close
	defer s.mu.RUnlock()
	if !s.closed {
		s.calls.Add(1)
	}
	return !s.closed
}

// read runs f with a read connection. What f reads in several statements may be
// of several moments; snapshot reads of one.
func (s *Store) read(ctx context.Context, action string, f func(*conn) error) error {
	if !s.enter() {
		return fmt.Errorf("%s: %w", action, errClosed)
	}
	defer s.calls.Done()
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		if err := f(c); err != nil {
			return fmt.Errorf("%s: %w", action, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", action, ctx.Err())
	}
}

// snapshot is read with everything as of one moment.
func (s *Store) snapshot(ctx context.Context, action string, f func(*conn) error) error {
	return s.read(ctx, action, func(c *conn) (err error) {
		if err := c.exec("BEGIN"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.exec("COMMIT")) }()
		return f(c)
	})
}

// Info returns the store's own row.
func (s *Store) Info(context.Context) (im.StoreInfo, error) { return s.info, nil }

// nowMs is the store's clock, Unix milliseconds.
func nowMs() int64 { return time.Now().UnixMilli() }
