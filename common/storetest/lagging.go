package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// Lagging is a store that several machines keep copies of, and whose majority can
// fall behind. While it does, writes are on the primary only: its unique indexes
// refuse by them, but they are neither acknowledged nor shown to any reader, for
// both are with majority. Then the majority catches up, or the primary is lost and
// what it alone had is rolled back. Safe for concurrent use.
type Lagging struct {
	transfer.Store

	mu      sync.RWMutex // held for writing by writes that wait for the majority
	lags    bool
	waiting []*lagged // in the order of the primary's log
}

// lagged is a write that the majority does not have yet.
type lagged struct {
	events []im.Event
	blocks []im.Block
	term   im.Term
	done   func() error // for all copies
	answer chan error
}

// NewLagging wraps a store without outbox whose majority is up to date.
func NewLagging(store transfer.Store) *Lagging { return &Lagging{Store: store} }

// Lag lets the majority fall behind, if it has not yet.
func (l *Lagging) Lag() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lags = true
}

// CatchUp gives the majority all that the primary has.
func (l *Lagging) CatchUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.waiting {
		w.answer <- w.done()
	}
	l.lags, l.waiting = false, nil
}

// RollBack makes a machine of the majority the primary: what it does not have was
// never written, and whoever waits for it does not know.
func (l *Lagging) RollBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.waiting {
		w.answer <- fmt.Errorf("rolled back: %w", im.ErrUnknown)
	}
	l.lags, l.waiting = false, nil
}

// now carries out a write at once, unless the majority lags.
func (l *Lagging) now(write func() error) (done bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.lags {
		return false, nil
	}
	return true, write()
}

// later puts a write on the primary and waits for the majority.
func (l *Lagging) later(ctx context.Context, w *lagged) error {
	w.answer = make(chan error, 1)
	l.mu.Lock()
	if !l.lags { // it has caught up just now
		defer l.mu.Unlock()
		return w.done()
	}
	refusal := l.admit(ctx, w)
	if refusal == nil || len(w.events)+len(w.blocks) > 0 {
		l.waiting = append(l.waiting, w)
	}
	l.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the majority: %w: %w", im.ErrUnknown, ctx.Err())
	}
}

// admit is the primary's unique indexes. As in any ordered write what comes before
// the row that is refused stays.
func (l *Lagging) admit(ctx context.Context, w *lagged) error {
	for i := range w.events {
		if err := l.admitEvent(ctx, &w.events[i]); err != nil {
			w.events = w.events[:i]
			return err
		}
	}
	for i := range w.blocks {
		if err := l.admitBlock(ctx, &w.blocks[i]); err != nil {
			w.blocks = w.blocks[:i]
			return err
		}
	}
	if w.term.Term == 0 {
		return nil
	}
	last, err := l.LastTerm(ctx, w.term.Partition)
	if err != nil && !errors.Is(err, im.ErrNotFound) {
		return err
	}
	taken := last.Term >= w.term.Term
	for _, other := range l.waiting {
		taken = taken || other.term.Partition == w.term.Partition && other.term.Term == w.term.Term
	}
	return refused(taken, "a term")
}

func (l *Lagging) admitEvent(ctx context.Context, e *im.Event) error {
	ref := im.EventRef{ConversationID: e.ConversationID, Seq: e.Seq}
	byKey, err := l.EventsByKey(ctx, []im.ClientKey{e.Key()})
	if err != nil {
		return err
	}
	at, err := l.EventsAt(ctx, []im.EventRef{ref})
	if err != nil {
		return err
	}
	taken := len(byKey)+len(at) > 0
	for _, other := range l.waiting {
		for _, o := range other.events {
			taken = taken || o.Key() == e.Key() || o.ConversationID == e.ConversationID && o.Seq == e.Seq
		}
	}
	return refused(taken, "an event")
}

func (l *Lagging) admitBlock(ctx context.Context, b *im.Block) error {
	ids := make(map[im.EventID]bool, len(b.Entries))
	keys := make([]im.EntryKey, 0, len(b.Entries))
	for _, e := range b.Entries {
		ids[e.EventID] = true
		keys = append(keys, im.EntryKey{UserID: b.UserID, EventID: e.EventID})
	}
	found, err := l.FindEntries(ctx, keys)
	if err != nil {
		return err
	}
	page, err := l.Blocks(ctx, b.UserID, b.FirstSeq-1, 1)
	if err != nil {
		return err
	}
	taken := len(found) > 0 || len(page.Blocks) > 0 && page.Blocks[0].FirstSeq == b.FirstSeq
	for _, other := range l.waiting {
		for _, o := range other.blocks {
			if o.UserID != b.UserID {
				continue
			}
			taken = taken || o.FirstSeq == b.FirstSeq
			for _, e := range o.Entries {
				taken = taken || ids[e.EventID]
			}
		}
	}
	return refused(taken, "a block")
}

func refused(taken bool, what string) error {
	if !taken {
		return nil
	}
	return fmt.Errorf("the primary has %s: %w", what, im.ErrDuplicate)
}

// InsertEvents is the store's, once the majority has it.
func (l *Lagging) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	done, err := l.now(func() error { return l.Store.InsertEvents(ctx, events, packs) })
	if done {
		return err
	}
	w := &lagged{events: append([]im.Event(nil), events...)}
	w.done = func() error { return l.Store.InsertEvents(context.WithoutCancel(ctx), w.events, packs) }
	return l.later(ctx, w)
}

// CommitInbox is the store's, once the majority has it.
func (l *Lagging) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	done, err := l.now(func() error { return l.Store.CommitInbox(ctx, commit) })
	if done {
		return err
	}
	kept := CloneCommit(commit)
	w := &lagged{blocks: kept.Blocks}
	w.done = func() error {
		kept.Blocks = w.blocks
		return l.Store.CommitInbox(context.WithoutCancel(ctx), kept)
	}
	return l.later(ctx, w)
}

// InsertTerm is the store's, once the majority has it.
func (l *Lagging) InsertTerm(ctx context.Context, term im.Term) error {
	done, err := l.now(func() error { return l.Store.InsertTerm(ctx, term) })
	if done {
		return err
	}
	return l.later(ctx, &lagged{term: term, done: func() error {
		return l.Store.InsertTerm(context.WithoutCancel(ctx), term)
	}})
}

// Project is the store's, once the majority has it.
func (l *Lagging) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	done, err := l.now(func() error { return l.Store.Project(ctx, conversations, members) })
	if done {
		return err
	}
	return l.later(ctx, &lagged{done: func() error {
		return l.Store.Project(context.WithoutCancel(ctx), conversations, members)
	}})
}

// ProjectMessages is the store's, once the majority has it.
func (l *Lagging) ProjectMessages(ctx context.Context, states []im.MessageState) error {
	done, err := l.now(func() error { return l.Store.ProjectMessages(ctx, states) })
	if done {
		return err
	}
	return l.later(ctx, &lagged{done: func() error {
		return l.Store.ProjectMessages(context.WithoutCancel(ctx), states)
	}})
}

// CloneCommit returns a copy of a commit for whoever keeps it longer than its
// writer does.
func CloneCommit(commit *im.InboxCommit) *im.InboxCommit {
	clone := &im.InboxCommit{
		Marks: append([]im.ReadMark(nil), commit.Marks...), Cursors: append([]im.Cursor(nil), commit.Cursors...),
		Blocks: append([]im.Block(nil), commit.Blocks...), Packs: append([]im.Pack(nil), commit.Packs...),
		Done: append([]im.PackRef(nil), commit.Done...),
		Own: im.OwnState{
			Views: append([]im.ReadMark(nil), commit.Own.Views...), Deleted: append([]im.Deletion(nil), commit.Own.Deleted...),
			Relations: append([]im.Relation(nil), commit.Own.Relations...), Profiles: append([]im.ProfileUpdate(nil), commit.Own.Profiles...),
		},
	}
	for i := range clone.Blocks {
		clone.Blocks[i].Entries = append([]im.InboxEntry(nil), clone.Blocks[i].Entries...)
	}
	return clone
}
