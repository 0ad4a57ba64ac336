package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/im-transfer/im"
)

// WithoutOutbox makes a store behave as the distributed ones do: no outbox and
// no transactions. Writes are ordered and stop at the first row that is refused;
// what is before it stays. Entries are unique by (user, event id), among the
// newest 10,000 of a user.
func WithoutOutbox(store Store) Store { return &outboxless{Store: store} }

type outboxless struct {
	Store
	mu sync.Mutex // one inbox commit at a time, so that looking up and writing are one
}

// Info is the store's, without an outbox.
func (o *outboxless) Info(ctx context.Context) (im.StoreInfo, error) {
	info, err := o.Store.Info(ctx)
	info.Outbox = false
	return info, err
}

// PendingPacks returns none.
func (o *outboxless) PendingPacks(context.Context) ([]im.Pack, error) { return nil, nil }

// InsertEvents writes one event after the other and keeps no packs.
func (o *outboxless) InsertEvents(ctx context.Context, events []im.Event, _ []im.Pack) error {
	for i := range events {
		if err := o.Store.InsertEvents(ctx, events[i:i+1], nil); err != nil {
			return halfDone(i, err)
		}
	}
	return nil
}

// CommitInbox writes marks, then cursors, then one block after the other, then own
// state.
func (o *outboxless) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(commit.Marks)+len(commit.Cursors) > 0 {
		if err := o.Store.CommitInbox(ctx, &im.InboxCommit{Marks: commit.Marks, Cursors: commit.Cursors}); err != nil {
			return err
		}
	}
	for i := range commit.Blocks {
		if err := o.commitBlock(ctx, &commit.Blocks[i]); err != nil {
			return halfDone(i, err)
		}
	}
	if commit.Own.Empty() {
		return nil
	}
	if err := o.Store.CommitInbox(ctx, &im.InboxCommit{Own: commit.Own}); err != nil {
		return halfDone(len(commit.Blocks), err)
	}
	return nil
}

func (o *outboxless) commitBlock(ctx context.Context, block *im.Block) error {
	keys := make([]im.EntryKey, 0, len(block.Entries))
	seen := make(map[im.EventID]bool, len(block.Entries))
	for i := range block.Entries {
		id := block.Entries[i].EventID
		if seen[id] {
			return fmt.Errorf("event id twice in a block: %w", im.ErrDuplicate)
		}
		seen[id] = true
		keys = append(keys, im.EntryKey{UserID: block.UserID, EventID: id})
	}
	found, err := o.FindEntries(ctx, keys)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("event id of seq %d: %w", found[0].Seq, im.ErrDuplicate)
	}
	return o.Store.CommitInbox(ctx, &im.InboxCommit{Blocks: []im.Block{*block}})
}

// halfDone turns a plain error behind rows that were written into an unknown
// one: plain errors say that nothing was.
func halfDone(written int, err error) error {
	if written > 0 && !isDuplicate(err) {
		return fmt.Errorf("%w: %w", im.ErrUnknown, err)
	}
	return err
}
