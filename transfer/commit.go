package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// inboxCommit is a batch on its way into the inboxes.
type inboxCommit struct {
	batch   *inboxBatch
	commit  im.InboxCommit
	late    im.InboxCommit // what says that receipts are out: written once they are
	planned []plannedEntry
	reads   []*readDone
	acks    []durableAck
	stored  bool                // commit is in
	written map[*inboxUser]bool // whose block is in, though the commit is not
	atMs    int64
	out     *publication // the receipts for other partitions

	receipted []receiptedUser
	err       error
}

// plannedEntry is an envelope's entry for one user.
type plannedEntry struct {
	user     *inboxUser
	envelope *imv1.InboxEnvelope
	entry    im.InboxEntry
	seq      int64
	dropped  bool // it was in already
}

// plan makes the blocks of a batch: the entries of each user, in order, after the
// user's committed head. Doubles within the batch are dropped.
func (b *inbox) plan(ctx context.Context, c *inboxCommit) error {
	if err := b.loadUsers(ctx, c.batch.envelopes); err != nil {
		return err
	}
	c.planned, c.reads, c.late, c.receipted = c.planned[:0], nil, im.InboxCommit{}, nil
	c.commit = im.InboxCommit{Done: c.batch.done}
	entries := 0
	for _, envelope := range c.batch.envelopes {
		entries += len(envelope.UserIds)
	}
	c.planned = slices.Grow(c.planned, entries)
	var reads []*imv1.ReadCommand
	for _, envelope := range c.batch.envelopes {
		if read := envelope.GetRead(); read != nil {
			reads = append(reads, read)
			continue
		}
		entry, err := inboxEntry(envelope)
		if err != nil {
			return err
		}
		for _, userID := range envelope.UserIds {
			c.planned = append(c.planned, plannedEntry{user: b.users[userID], envelope: envelope, entry: entry})
		}
	}
	if err := b.planReceipts(ctx, c, reads); err != nil {
		return err
	}
	c.atMs, c.written = b.server.now().UnixMilli(), map[*inboxUser]bool{}
	c.stamp()
	return nil
}

// stamp numbers the planned entries and gathers them into one block per user, but
// for users whose block is in already.
func (c *inboxCommit) stamp() {
	type delivery struct {
		user  *inboxUser
		event im.EventID
	}
	index := make(map[*inboxUser]int, len(c.planned))
	seen := make(map[delivery]bool, len(c.planned))
	c.commit.Blocks = slices.Grow(c.commit.Blocks[:0], len(c.planned))
	firsts := make([]im.InboxEntry, len(c.planned)) // room for the first of each block: most have no other
	for i := range c.planned {
		p := &c.planned[i]
		if c.written[p.user] {
			continue
		}
		key := delivery{p.user, p.entry.EventID}
		if p.dropped || seen[key] {
			p.dropped = true
			continue
		}
		seen[key] = true
		at, ok := index[p.user]
		if !ok {
			at = len(c.commit.Blocks)
			index[p.user] = at
			c.commit.Blocks = append(c.commit.Blocks, im.Block{
				UserID: p.user.id, FirstSeq: p.user.head + 1, AtMs: c.atMs, Entries: firsts[i : i : i+1],
			})
		}
		block := &c.commit.Blocks[at]
		block.Entries = append(block.Entries, p.entry)
		p.seq = block.LastSeq()
	}
}

// write commits, publishes the receipts for other partitions, and only then notes
// that they are out. It may be called again: what is done stays done.
func (b *inbox) write(ctx context.Context, c *inboxCommit) error {
	if err := b.storeOnce(ctx, c); err != nil {
		return err
	}
	if b.outbox { // durable already; waiting for room could wait for ourselves
		for i := range c.commit.Packs {
			b.server.republish(c.commit.Packs[i : i+1])
		}
		return nil
	}
	if c.out == nil {
		c.out = &publication{packs: c.commit.Packs}
	}
	if err := b.server.publishPacks(ctx, c.out); err != nil {
		return err
	}
	if c.late.Empty() {
		return nil
	}
	if err := b.store.CommitInbox(ctx, &c.late); err != nil {
		return fmt.Errorf("note issued receipts: %w", err)
	}
	c.late = im.InboxCommit{}
	return nil
}

// storeOnce brings the commit into the store, once.
func (b *inbox) storeOnce(ctx context.Context, c *inboxCommit) error {
	if c.stored || c.commit.Empty() {
		return nil
	}
	err := b.store.CommitInbox(ctx, &c.commit)
	if errors.Is(err, im.ErrDuplicate) || errors.Is(err, im.ErrUnknown) {
		if err := b.readBack(ctx, c, err); err != nil {
			return err
		}
	}
	if err != nil && !c.stored {
		return fmt.Errorf("commit inbox: %w", err)
	}
	c.stored = true
	return nil
}

// readBack drops from a commit what is in already. A block of somebody else where
// ours should stand means another owner.
func (b *inbox) readBack(ctx context.Context, c *inboxCommit, cause error) error {
	var keys []im.EntryKey
	var userIDs []string
	for _, block := range c.commit.Blocks {
		userIDs = append(userIDs, block.UserID)
		for _, e := range block.Entries {
			keys = append(keys, im.EntryKey{UserID: block.UserID, EventID: e.EventID})
		}
	}
	found, err := b.store.FindEntries(ctx, keys)
	if err != nil {
		return fmt.Errorf("read back entries: %w", err)
	}
	heads, err := b.store.Heads(ctx, userIDs)
	if err != nil {
		return fmt.Errorf("read back heads: %w", err)
	}
	stored := make(map[im.EntryKey]int64, len(found))
	for _, f := range found {
		stored[im.EntryKey{UserID: f.UserID, EventID: f.EventID}] = f.Seq
	}
	return b.reconcile(c, heads, stored, cause)
}

func (b *inbox) reconcile(c *inboxCommit, heads []im.InboxHead, stored map[im.EntryKey]int64, cause error) error {
	written := map[string]bool{} // users whose whole block is in, as it is
	changed := false
	for i, block := range c.commit.Blocks {
		whole, any := true, false
		for at, e := range block.Entries {
			seq, ok := stored[im.EntryKey{UserID: block.UserID, EventID: e.EventID}]
			whole = whole && ok && seq == block.FirstSeq+int64(at)
			any = any || ok
		}
		written[block.UserID] = whole
		changed = changed || any
		if !whole && heads[i].Head >= block.FirstSeq {
			return fmt.Errorf("inbox of %s has a head of %d, ours is %d: %w",
				block.UserID, heads[i].Head, block.FirstSeq-1, errForeign)
		}
	}
	if !changed {
		if errors.Is(cause, im.ErrUnknown) {
			return nil // exactly the same again
		}
		if b.outbox && len(c.commit.Blocks) == 0 {
			c.stored = true // only its packs are unique, by ids of ours: they are in, so all is
			return nil
		}
		return errors.New("a conflict that the store does not show")
	}
	if len(written) == len(c.commit.Blocks) && allTrue(written) && b.outbox {
		c.stored = true // one transaction: with its blocks all of it is in
		return nil
	}
	for i := range c.planned {
		p := &c.planned[i]
		_, in := stored[im.EntryKey{UserID: p.user.id, EventID: p.entry.EventID}]
		p.dropped = p.dropped || in && !written[p.user.id] && !c.written[p.user]
	}
	for i := range c.planned {
		if p := &c.planned[i]; written[p.user.id] {
			c.written[p.user] = true
		}
	}
	c.stamp()
	return nil
}

func allTrue(of map[string]bool) bool {
	for _, value := range of {
		if !value {
			return false
		}
	}
	return true
}

// inboxEntry is the stored form of what an envelope holds.
func inboxEntry(envelope *imv1.InboxEnvelope) (im.InboxEntry, error) {
	switch what := envelope.What.(type) {
	case *imv1.InboxEnvelope_Event:
		e := what.Event
		return im.InboxEntry{
			EventID: im.EventIDOf(e.Id), Kind: im.Kind(e.Kind), MessageID: e.Id,
			ConversationID: e.ConversationId, ConversationSeq: e.Seq,
		}, nil
	case *imv1.InboxEnvelope_Receipt:
		return receiptEntry(what.Receipt)
	}
	return im.InboxEntry{}, errors.New("an envelope without content")
}
