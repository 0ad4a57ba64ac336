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

// ErrAway is the error of a call to a store that is away.
var ErrAway = errors.New("injected: store is away")

// Outage is a store that goes away and comes back: meanwhile calls wait, as for a
// server that is being looked for, until it is back or their context ends. Safe for
// concurrent use.
type Outage struct {
	store transfer.Store

	mu    sync.Mutex
	gone  bool
	back  chan struct{} // closed when the store is there
	calls map[string]bool
	await map[string]chan struct{}
}

// NewOutage wraps a store that is there.
func NewOutage(store transfer.Store) *Outage {
	there := make(chan struct{})
	close(there)
	return &Outage{store: store, back: there, await: map[string]chan struct{}{}}
}

// Away makes the store go away for these calls by name, or for all; one that is
// away must first come Back.
func (o *Outage) Away(calls ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.back, o.calls = make(chan struct{}), nil
	if len(calls) > 0 {
		o.calls = make(map[string]bool, len(calls))
	}
	for _, call := range calls {
		o.calls[call] = true
	}
}

// Back ends an outage. The calls that wait are carried out.
func (o *Outage) Back() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.back)
}

// Gone makes every later call fail at once and for ever, as those of a process that
// was killed: what it had begun may still be done.
func (o *Outage) Gone() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
}

// Waits returns a channel that is closed when the next call of this name has begun
// to wait.
func (o *Outage) Waits(call string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.await[call] == nil {
		o.await[call] = make(chan struct{})
	}
	return o.await[call]
}

func (o *Outage) pass(ctx context.Context, call string) error {
	o.mu.Lock()
	back := o.back
	if o.gone {
		o.mu.Unlock()
		return fmt.Errorf("%s: %w", call, ErrAway)
	}
	if o.calls != nil && !o.calls[call] {
		o.mu.Unlock()
		return nil
	}
	select {
	case <-back:
		o.mu.Unlock()
		return nil
	default:
	}
	if waited := o.await[call]; waited != nil {
		close(waited)
		delete(o.await, call)
	}
	o.mu.Unlock()
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", call, ErrAway, ctx.Err())
	}
}

// through carries a call out once the store is there.
func through[A any](ctx context.Context, o *Outage, call string, do func() (A, error)) (answer A, err error) {
	if err := o.pass(ctx, call); err != nil {
		return answer, err
	}
	return do()
}

// InsertEvents is the store's.
func (o *Outage) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	if err := o.pass(ctx, "InsertEvents"); err != nil {
		return err
	}
	return o.store.InsertEvents(ctx, events, packs)
}

// EventsByKey is the store's.
func (o *Outage) EventsByKey(ctx context.Context, keys []im.ClientKey) ([]im.Event, error) {
	return through(ctx, o, "EventsByKey", func() ([]im.Event, error) { return o.store.EventsByKey(ctx, keys) })
}

// EventsAt is the store's.
func (o *Outage) EventsAt(ctx context.Context, refs []im.EventRef) ([]im.Event, error) {
	return through(ctx, o, "EventsAt", func() ([]im.Event, error) { return o.store.EventsAt(ctx, refs) })
}

// EventsAfter is the store's.
func (o *Outage) EventsAfter(ctx context.Context, id string, after int64, limit int) ([]im.Event, error) {
	return through(ctx, o, "EventsAfter", func() ([]im.Event, error) { return o.store.EventsAfter(ctx, id, after, limit) })
}

// EventsByID is the store's.
func (o *Outage) EventsByID(ctx context.Context, refs []im.MessageRef) ([]im.Event, error) {
	return through(ctx, o, "EventsByID", func() ([]im.Event, error) { return o.store.EventsByID(ctx, refs) })
}

// MessageStates is the store's.
func (o *Outage) MessageStates(ctx context.Context, refs []im.MessageRef) ([]im.MessageState, error) {
	return through(ctx, o, "MessageStates", func() ([]im.MessageState, error) { return o.store.MessageStates(ctx, refs) })
}

// ProjectMessages is the store's.
func (o *Outage) ProjectMessages(ctx context.Context, states []im.MessageState) error {
	if err := o.pass(ctx, "ProjectMessages"); err != nil {
		return err
	}
	return o.store.ProjectMessages(ctx, states)
}

// StaysAt is the store's.
func (o *Outage) StaysAt(ctx context.Context, ref im.EventRef) ([]im.Member, error) {
	return through(ctx, o, "StaysAt", func() ([]im.Member, error) { return o.store.StaysAt(ctx, ref) })
}

// Conversations is the store's.
func (o *Outage) Conversations(ctx context.Context, ids []string) ([]im.ConversationState, error) {
	return through(ctx, o, "Conversations", func() ([]im.ConversationState, error) { return o.store.Conversations(ctx, ids) })
}

// Project is the store's.
func (o *Outage) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	if err := o.pass(ctx, "Project"); err != nil {
		return err
	}
	return o.store.Project(ctx, conversations, members)
}

// UsersByID is the store's.
func (o *Outage) UsersByID(ctx context.Context, ids []string) ([]im.User, error) {
	return through(ctx, o, "UsersByID", func() ([]im.User, error) { return o.store.UsersByID(ctx, ids) })
}

// Heads is the store's.
func (o *Outage) Heads(ctx context.Context, ids []string) ([]im.InboxHead, error) {
	return through(ctx, o, "Heads", func() ([]im.InboxHead, error) { return o.store.Heads(ctx, ids) })
}

// CommitInbox is the store's.
func (o *Outage) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	if err := o.pass(ctx, "CommitInbox"); err != nil {
		return err
	}
	return o.store.CommitInbox(ctx, commit)
}

// FindEntries is the store's.
func (o *Outage) FindEntries(ctx context.Context, keys []im.EntryKey) ([]im.EntryKey, error) {
	return through(ctx, o, "FindEntries", func() ([]im.EntryKey, error) { return o.store.FindEntries(ctx, keys) })
}

// Blocks is the store's.
func (o *Outage) Blocks(ctx context.Context, userID string, after int64, limit int) (im.InboxPage, error) {
	return through(ctx, o, "Blocks", func() (im.InboxPage, error) { return o.store.Blocks(ctx, userID, after, limit) })
}

// Cursors is the store's.
func (o *Outage) Cursors(ctx context.Context, ids []string) ([]im.Cursor, error) {
	return through(ctx, o, "Cursors", func() ([]im.Cursor, error) { return o.store.Cursors(ctx, ids) })
}

// Marks is the store's.
func (o *Outage) Marks(ctx context.Context, keys []im.ReadKey) ([]im.ReadMark, error) {
	return through(ctx, o, "Marks", func() ([]im.ReadMark, error) { return o.store.Marks(ctx, keys) })
}

// DueReceipts is the store's.
func (o *Outage) DueReceipts(ctx context.Context, partition, n int) ([]im.ReadMark, []im.Cursor, error) {
	if err := o.pass(ctx, "DueReceipts"); err != nil {
		return nil, nil, err
	}
	return o.store.DueReceipts(ctx, partition, n)
}

// Unread is the store's.
func (o *Outage) Unread(ctx context.Context, marks []im.ReadMark) ([]int, error) {
	return through(ctx, o, "Unread", func() ([]int, error) { return o.store.Unread(ctx, marks) })
}

// Deleted is the store's.
func (o *Outage) Deleted(ctx context.Context, userID string, refs []im.EventRef) ([]im.EventRef, error) {
	return through(ctx, o, "Deleted", func() ([]im.EventRef, error) { return o.store.Deleted(ctx, userID, refs) })
}

// Relations is the store's.
func (o *Outage) Relations(ctx context.Context, keys []im.RelationKey) ([]im.Relation, error) {
	return through(ctx, o, "Relations", func() ([]im.Relation, error) { return o.store.Relations(ctx, keys) })
}

// DueRelations is the store's.
func (o *Outage) DueRelations(ctx context.Context, partition, n int) ([]im.RelationKey, error) {
	return through(ctx, o, "DueRelations", func() ([]im.RelationKey, error) { return o.store.DueRelations(ctx, partition, n) })
}

// Clock is the store's.
func (o *Outage) Clock(ctx context.Context) (time.Time, error) {
	return through(ctx, o, "Clock", func() (time.Time, error) { return o.store.Clock(ctx) })
}

// UsersAfter is the store's.
func (o *Outage) UsersAfter(ctx context.Context, after string, limit int) ([]string, error) {
	return through(ctx, o, "UsersAfter", func() ([]string, error) { return o.store.UsersAfter(ctx, after, limit) })
}

// SweepInbox is the store's.
func (o *Outage) SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return through(ctx, o, "SweepInbox", func() (int, error) { return o.store.SweepInbox(ctx, userID, before, limit) })
}

// SweepConnections is the store's.
func (o *Outage) SweepConnections(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return through(ctx, o, "SweepConnections", func() (int, error) { return o.store.SweepConnections(ctx, userID, before, limit) })
}

// SweepProgress is the store's.
func (o *Outage) SweepProgress(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return through(ctx, o, "SweepProgress", func() (int, error) { return o.store.SweepProgress(ctx, userID, before, limit) })
}

// Sharing is the store's.
func (o *Outage) Sharing(ctx context.Context, userID string, others []string) ([]im.Sharing, error) {
	return through(ctx, o, "Sharing", func() ([]im.Sharing, error) { return o.store.Sharing(ctx, userID, others) })
}

// LastSeen is the store's.
func (o *Outage) LastSeen(ctx context.Context, userIDs []string) ([]int64, error) {
	return through(ctx, o, "LastSeen", func() ([]int64, error) { return o.store.LastSeen(ctx, userIDs) })
}

// RecordConnections is the store's.
func (o *Outage) RecordConnections(ctx context.Context, connections []im.Connection) error {
	if err := o.pass(ctx, "RecordConnections"); err != nil {
		return err
	}
	return o.store.RecordConnections(ctx, connections)
}

// AddProgress is the store's.
func (o *Outage) AddProgress(ctx context.Context, rows []im.Progress) error {
	if err := o.pass(ctx, "AddProgress"); err != nil {
		return err
	}
	return o.store.AddProgress(ctx, rows)
}

// LastTerm is the store's.
func (o *Outage) LastTerm(ctx context.Context, partition string) (im.Term, error) {
	return through(ctx, o, "LastTerm", func() (im.Term, error) { return o.store.LastTerm(ctx, partition) })
}

// InsertTerm is the store's.
func (o *Outage) InsertTerm(ctx context.Context, term im.Term) error {
	if err := o.pass(ctx, "InsertTerm"); err != nil {
		return err
	}
	return o.store.InsertTerm(ctx, term)
}

// LoginState is the store's.
func (o *Outage) LoginState(ctx context.Context, userID, deviceID string) (im.LoginState, error) {
	return through(ctx, o, "LoginState", func() (im.LoginState, error) { return o.store.LoginState(ctx, userID, deviceID) })
}

// Families is the store's.
func (o *Outage) Families(ctx context.Context, devices []im.DeviceKey) ([]string, error) {
	return through(ctx, o, "Families", func() ([]string, error) { return o.store.Families(ctx, devices) })
}

// PendingPacks is the store's.
func (o *Outage) PendingPacks(ctx context.Context) ([]im.Pack, error) {
	return through(ctx, o, "PendingPacks", func() ([]im.Pack, error) { return o.store.PendingPacks(ctx) })
}

// Info is the store's.
func (o *Outage) Info(ctx context.Context) (im.StoreInfo, error) {
	return through(ctx, o, "Info", func() (im.StoreInfo, error) { return o.store.Info(ctx) })
}

// Quarantine is the store's.
func (o *Outage) Quarantine(ctx context.Context, item im.Quarantined) error {
	if err := o.pass(ctx, "Quarantine"); err != nil {
		return err
	}
	return o.store.Quarantine(ctx, item)
}

// Quarantined is the store's.
func (o *Outage) Quarantined(ctx context.Context, afterMs, afterID int64, limit int) ([]im.Quarantined, error) {
	return through(ctx, o, "Quarantined", func() ([]im.Quarantined, error) { return o.store.Quarantined(ctx, afterMs, afterID, limit) })
}

// QuarantinedItem is the store's.
func (o *Outage) QuarantinedItem(ctx context.Context, id int64) (im.Quarantined, error) {
	return through(ctx, o, "QuarantinedItem", func() (im.Quarantined, error) { return o.store.QuarantinedItem(ctx, id) })
}

// Release is the store's.
func (o *Outage) Release(ctx context.Context, id int64, packs []im.Pack) error {
	if err := o.pass(ctx, "Release"); err != nil {
		return err
	}
	return o.store.Release(ctx, id, packs)
}
