// Package app is the composition root: it builds the servers of a process from
// the configuration, starts them in order, and stops them in the reverse order.
// There is no other place where the parts meet.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/transfer"
)

// App is the servers of one process.
type App struct {
	log      *slog.Logger
	steps    []step // started, in order
	failed   chan error
	stopping sync.Once
	stopped  error
	watching sync.WaitGroup
	watched  context.Context
	unwatch  context.CancelFunc
	links    []roleLink // to the transfers
	pipeline *transfer.Server

	// Addresses that the servers listen on, by setting: "http.listen" and so on. With
	// ".url" for ".listen" they are as clients are told them.
	Addresses map[string]string
}

// step is something that was started and must be stopped.
type step struct {
	name string
	stop func(context.Context) error
}

func newApp(log *slog.Logger) *App {
	watched, unwatch := context.WithCancel(context.Background())
	return &App{log: log, failed: make(chan error, 1), watched: watched, unwatch: unwatch, Addresses: map[string]string{}}
}

// started notes how to stop what has just been started.
func (a *App) started(name string, stop func(context.Context) error) {
	a.steps = append(a.steps, step{name, stop})
}

// watch reports a component's failure as the App's.
func (a *App) watch(name string, failed <-chan error) {
	a.watching.Go(func() {
		select {
		case err := <-failed:
			select {
			case a.failed <- fmt.Errorf("%s: %w", name, err):
			default: // the first one stops the rest
			}
		case <-a.watched.Done():
		}
	})
}

// roleLink is the way of one server to the transfers.
type roleLink struct {
	role string
	*session.Link
}

// Ready returns why clients can not be served, nil when they can.
func (a *App) Ready() error {
	for _, link := range a.links {
		if err := link.Ready(); err != nil {
			return fmt.Errorf("the %s server: %w", link.role, err)
		}
	}
	if a.pipeline != nil {
		return a.pipeline.Ready()
	}
	return nil
}

// AwaitReady waits until clients can be served, or ctx ends; then it says why not.
func (a *App) AwaitReady(ctx context.Context) error {
	for _, link := range a.links {
		if err := link.AwaitReady(ctx); err != nil {
			return fmt.Errorf("the %s server: %w", link.role, err)
		}
	}
	return nil
}

// Failed receives the first error by which a component ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// Stop stops everything, last started first, and returns what went wrong. ctx
// bounds all of it together. It may be called again.
func (a *App) Stop(ctx context.Context) error {
	a.stopping.Do(func() {
		var errs []error
		for i := len(a.steps) - 1; i >= 0; i-- {
			s := a.steps[i]
			began := time.Now()
			if err := s.stop(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			}
			a.log.Debug("stopped", "part", s.name, "took", time.Since(began))
		}
		a.unwatch()
		a.watching.Wait()
		a.stopped = errors.Join(errs...)
	})
	return a.stopped
}
