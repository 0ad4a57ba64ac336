package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// inboxCommit is a batch on its way into the inboxes. The partition's goroutine
// prepares it, hands it to a goroutine of its own, and takes it back committed.
type inboxCommit struct {
	batch *inboxBatch
	round round // the receipts that are due
	acks  []durableAck

	planned  []plannedEntry
	received int // of planned that are the batch's own: receipts come behind
	reads    []*readDone
	cursors  []im.Cursor
	asked    bool  // for the users that were missing
	unsure   []int // of planned: receipts that may be older than what was told

	items   []*ownItem  // what concerns their users alone
	blocks  []int       // of planned: events that block a user, or no longer
	effects []ownEffect // what entries make of their users' state
	tells   []tell      // what others are told of that; the first of them
	again   int         // ... are those of the round
	told    toldContacts

	commit   im.InboxCommit
	receipts *receipts
	stamped  bool
	stored   bool                // commit is in
	written  map[*inboxUser]bool // whose block is in, though the commit is not
	atMs     int64
	err      error
}

// plannedEntry is an envelope's entry for one user.
type plannedEntry struct {
	user     *inboxUser
	envelope *imv1.InboxEnvelope
	entry    im.InboxEntry
	seq      int64
	dropped  bool // it was in already, or is older than what is
}

func newCommit(batch *inboxBatch) *inboxCommit { return &inboxCommit{batch: batch} }

// prepare finds the users of a batch's entries. Where some are not in memory they
// are asked for, and the batch is prepared again when they have been loaded.
func (b *inbox) prepare(c *inboxCommit) (ready bool, err error) {
	if !c.asked {
		b.forget()
	}
	entries := 0
	for _, envelope := range c.batch.envelopes {
		entries += len(envelope.UserIds)
	}
	c.planned, c.reads, c.items, c.blocks = make([]plannedEntry, 0, entries), nil, nil, nil
	var missing []string
	find := func(id string) *inboxUser {
		user := b.users[id]
		if user == nil {
			missing = append(missing, id)
		}
		return user
	}
	for _, envelope := range c.batch.envelopes {
		if read := envelope.GetRead(); read != nil {
			c.reads = append(c.reads, &readDone{command: read, reader: find(read.UserId)})
			continue
		}
		if own := envelope.GetOwn(); own != nil {
			c.items = append(c.items, &ownItem{command: own, user: find(own.UserId)})
			continue
		}
		if told := envelope.GetContact(); told != nil {
			for _, id := range envelope.UserIds {
				c.items = append(c.items, &ownItem{told: told, user: find(id)})
			}
			continue
		}
		entry, err := inboxEntry(envelope)
		if err != nil {
			return false, err
		}
		for _, id := range envelope.UserIds {
			if entry.Kind == im.KindContact {
				c.blocks = append(c.blocks, len(c.planned))
			}
			c.planned = append(c.planned, plannedEntry{user: find(id), envelope: envelope, entry: entry})
		}
	}
	if len(missing) > 0 && !c.asked {
		c.asked = true
		b.wantFirst(missing)
	}
	return len(missing) == 0, nil
}

// begin starts a commit: of a batch, of the cursors that have moved, and of the
// receipts that are due.
func (b *inbox) begin(ctx context.Context, c *inboxCommit) {
	c.received = len(c.planned)
	b.dropStale(c)
	c.cursors = b.takeCursors()
	c.acks, b.durable = b.durable, nil
	b.holdReads(c)
	if b.tick {
		c.round = b.takeRound()
		b.tickedAt = b.server.now()
	}
	b.tick, b.flush = false, false
	b.pending = c
	b.server.goRun(func() {
		c.err = b.server.persist(ctx, b.log, func(ctx context.Context) error { return b.carryOut(ctx, c) })
		b.committed <- c
	})
}

// carryOut plans and writes a commit, beside the partition's goroutine. The heads
// of its users do not move meanwhile. It may be called again: what is done stays
// done.
func (b *inbox) carryOut(ctx context.Context, c *inboxCommit) error {
	if !c.stamped {
		if err := b.ids.ensure(ctx); err != nil {
			return err
		}
		if err := b.dropIssued(ctx, c); err != nil {
			return err
		}
		if err := b.planReceipts(ctx, c); err != nil {
			return err
		}
		c.atMs, c.written = b.server.now().UnixMilli(), map[*inboxUser]bool{}
		c.stamp()
		if err := b.settleOwn(c); err != nil { // the plan is made again
			return err
		}
		c.stamped = true
	}
	im.CrashPoint(im.CrashBeforeInboxCommit)
	if err := b.storeOnce(ctx, c); err != nil {
		return err
	}
	im.CrashPoint(im.CrashInboxCommitted)
	for i := range c.commit.Packs { // durable already; waiting for room could wait for ourselves
		b.server.republish(c.commit.Packs[i : i+1])
	}
	return nil
}

// finish makes a commit visible: heads rise, pushes go out, reads and acks are
// answered, the queue is acknowledged.
func (b *inbox) finish(c *inboxCommit) error {
	b.pending = nil
	if c.err != nil {
		return c.err
	}
	for i := range c.planned {
		if p := &c.planned[i]; !p.dropped {
			p.user.head = max(p.user.head, p.seq)
			b.noteArrival(p)
			b.noteReceipt(p)
		}
	}
	c.batch.trace.committed(c)
	b.hideFromBlocked(c)
	b.push(c)
	im.CrashPoint(im.CrashPushed)
	b.finishReads(c)
	b.answerOwn(c)
	b.tellReads(c)
	b.answerAcks(c.acks)
	if c.batch.from == nil {
		return nil
	}
	if err := c.batch.from.Ack(c.batch.tag); err != nil && b.outbox {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil // without an outbox: the consumer is lost, the batch comes again and is found in the inboxes
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

// storeOnce brings the commit into the store, once. What a conflict shows to be in
// is dropped, and the rest sent at once.
func (b *inbox) storeOnce(ctx context.Context, c *inboxCommit) error {
	for !c.stored && !c.commit.Empty() {
		err := b.store.CommitInbox(ctx, &c.commit)
		if err == nil {
			c.stored = true
			return nil
		}
		cause := fmt.Errorf("commit inbox: %w", err)
		if !errors.Is(err, im.ErrDuplicate) && !errors.Is(err, im.ErrUnknown) {
			return cause
		}
		explained, err := b.readBack(ctx, c, err)
		if err != nil {
			return err
		}
		if !explained { // exactly the same again, at the next try
			return cause
		}
	}
	return nil
}

// readBack drops from a commit what is in already. A block of somebody else where
// ours should stand means another owner.
func (b *inbox) readBack(ctx context.Context, c *inboxCommit, cause error) (explained bool, err error) {
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
		return false, fmt.Errorf("read back entries: %w", err)
	}
	heads, err := b.store.Heads(ctx, userIDs)
	if err != nil {
		return false, fmt.Errorf("read back heads: %w", err)
	}
	stored := make(map[im.EntryKey]int64, len(found))
	for _, f := range found {
		stored[im.EntryKey{UserID: f.UserID, EventID: f.EventID}] = f.Seq
	}
	return b.reconcile(c, heads, stored, cause)
}

func (b *inbox) reconcile(c *inboxCommit, heads []im.InboxHead, stored map[im.EntryKey]int64, cause error) (explained bool, err error) {
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
			return false, fmt.Errorf("inbox of %s has a head of %d, ours is %d: %w",
				block.UserID, heads[i].Head, block.FirstSeq-1, errForeign)
		}
	}
	if !changed {
		if errors.Is(cause, im.ErrUnknown) {
			return false, nil
		}
		if b.outbox && len(c.commit.Blocks) == 0 {
			c.stored = true // only its packs are unique, by ids of ours: they are in, so all is
			return true, nil
		}
		return false, errors.New("a conflict that the store does not show")
	}
	if len(written) == len(c.commit.Blocks) && allTrue(written) && b.outbox {
		c.stored = true // one transaction: with its blocks all of it is in
		return true, nil
	}
	for i := range c.planned {
		p := &c.planned[i]
		seq, in := stored[im.EntryKey{UserID: p.user.id, EventID: p.entry.EventID}]
		if in && !p.dropped && !written[p.user.id] && !c.written[p.user] {
			p.dropped, p.seq = true, seq
		}
	}
	for i := range c.planned {
		if p := &c.planned[i]; written[p.user.id] {
			c.written[p.user] = true
		}
	}
	c.stamp()
	return true, b.settleOwn(c)
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
		entry := im.InboxEntry{
			EventID: im.EventIDOf(e.Id), Kind: im.Kind(e.Kind), MessageID: e.Id,
			ConversationID: e.ConversationId, ConversationSeq: e.Seq,
		}
		if e.Late {
			entry.Data = appendInt(nil, entryLate, 1)
		}
		return entry, nil
	case *imv1.InboxEnvelope_Receipt:
		return receiptEntry(what.Receipt)
	}
	return im.InboxEntry{}, errors.New("an envelope without content")
}
