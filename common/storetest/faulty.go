package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// Fault is what goes wrong with one write.
type Fault int

// The faults.
const (
	None           Fault = iota
	Refused              // a plain error: nothing was written
	FalseDuplicate       // im.ErrDuplicate, nothing was written: a row that reads do not show yet
	UnknownDone          // im.ErrUnknown, and it was written
	UnknownLost          // im.ErrUnknown, and nothing was written
	UnknownHalf          // im.ErrUnknown, and the first half was written, packs and done ones not
)

// ErrRefused is the error of a Refused write.
var ErrRefused = errors.New("injected: store refuses writes")

// Plan decides the fault of the nth call (from 1) of a write: "InsertEvents",
// "Project", "ProjectMessages", "CommitInbox", "SweepInbox", "InsertTerm", "Quarantine" or "Release".
// It is called from the writing goroutines, one at a time.
type Plan interface {
	Fault(write string, n int) Fault
}

// Script is a plan that names the faults of each write's first calls.
type Script map[string][]Fault

// Fault returns the nth of a write's faults, None behind the last.
func (s Script) Fault(write string, n int) Fault {
	if n > len(s[write]) {
		return None
	}
	return s[write][n-1]
}

// PlanFunc is a function as a plan.
type PlanFunc func(write string, n int) Fault

// Fault calls f.
func (f PlanFunc) Fault(write string, n int) Fault { return f(write, n) }

// Faulty wraps a store so that its writes fail by plan. Reads go through.
func Faulty(store transfer.Store, plan Plan) transfer.Store {
	return &faulty{Store: store, plan: plan, calls: make(map[string]int)}
}

type faulty struct {
	transfer.Store

	mu    sync.Mutex // guards plan and calls
	plan  Plan
	calls map[string]int
}

// write carries out the fault that is planned for this call.
func (f *faulty) write(name string, all, half func() error) error {
	f.mu.Lock()
	f.calls[name]++
	fault := f.plan.Fault(name, f.calls[name])
	f.mu.Unlock()
	switch fault {
	case Refused:
		return ErrRefused
	case FalseDuplicate:
		return fmt.Errorf("injected: %w", im.ErrDuplicate)
	case UnknownLost:
		return fmt.Errorf("injected: %w", im.ErrUnknown)
	case UnknownDone:
		return unknown(all())
	case UnknownHalf:
		return unknown(half())
	}
	return all()
}

// unknown hides that a write was done; a refused one stays refused.
func unknown(err error) error {
	if err == nil {
		err = fmt.Errorf("injected: %w", im.ErrUnknown)
	}
	return err
}

func nothing() error { return nil }

// InsertEvents is the store's, or a fault.
func (f *faulty) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	return f.write("InsertEvents",
		func() error { return f.Store.InsertEvents(ctx, events, packs) },
		func() error { return f.Store.InsertEvents(ctx, events[:len(events)/2], nil) })
}

// Project is the store's, or a fault; its half is the members.
func (f *faulty) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	return f.write("Project",
		func() error { return f.Store.Project(ctx, conversations, members) },
		func() error { return f.Store.Project(ctx, nil, members) })
}

// CommitInbox is the store's, or a fault; its half is marks, cursors and the
// first half of the blocks.
func (f *faulty) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	return f.write("CommitInbox",
		func() error { return f.Store.CommitInbox(ctx, commit) },
		func() error {
			half := im.InboxCommit{Marks: commit.Marks, Cursors: commit.Cursors, Blocks: commit.Blocks[:len(commit.Blocks)/2]}
			return f.Store.CommitInbox(ctx, &half)
		})
}

// ProjectMessages is the store's, or a fault; its half is half of the states.
func (f *faulty) ProjectMessages(ctx context.Context, states []im.MessageState) error {
	return f.write("ProjectMessages",
		func() error { return f.Store.ProjectMessages(ctx, states) },
		func() error { return f.Store.ProjectMessages(ctx, states[:len(states)/2]) })
}

// SweepInbox is the store's, or a fault; its half is half of the blocks.
func (f *faulty) SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (found int, err error) {
	sweep := func(limit int) func() error {
		return func() error {
			found, err = f.Store.SweepInbox(ctx, userID, before, limit)
			return err
		}
	}
	if err := f.write("SweepInbox", sweep(limit), sweep(limit/2)); err != nil {
		return 0, err
	}
	return found, nil
}

// RecordConnections is the store's, or a fault; its half is half of them.
func (f *faulty) RecordConnections(ctx context.Context, connections []im.Connection) error {
	return f.write("RecordConnections",
		func() error { return f.Store.RecordConnections(ctx, connections) },
		func() error { return f.Store.RecordConnections(ctx, connections[:len(connections)/2]) })
}

// AddProgress is the store's, or a fault; its half is half of it.
func (f *faulty) AddProgress(ctx context.Context, rows []im.Progress) error {
	return f.write("AddProgress",
		func() error { return f.Store.AddProgress(ctx, rows) },
		func() error { return f.Store.AddProgress(ctx, rows[:len(rows)/2]) })
}

// InsertTerm is the store's, or a fault.
func (f *faulty) InsertTerm(ctx context.Context, term im.Term) error {
	return f.write("InsertTerm", func() error { return f.Store.InsertTerm(ctx, term) }, nothing)
}

// Quarantine is the store's, or a fault.
func (f *faulty) Quarantine(ctx context.Context, item im.Quarantined) error {
	return f.write("Quarantine", func() error { return f.Store.Quarantine(ctx, item) }, nothing)
}

// Release is the store's, or a fault.
func (f *faulty) Release(ctx context.Context, id int64, packs []im.Pack) error {
	return f.write("Release", func() error { return f.Store.Release(ctx, id, packs) }, nothing)
}
