package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxInboxBatch bounds the queue items of one commit.
const maxInboxBatch = 128

// inbox is the owner of one inbox partition. One goroutine, run, owns its state;
// what others want goes through control. One commit is in flight at a time, by a
// goroutine of its own, so that attaches and heads are answered meanwhile.
type inbox struct {
	server    *Server
	store     Store
	log       *slog.Logger
	partition int
	term      int64
	ids       *term // terms of this partition; its ids name commits
	outbox    bool

	controls chan controls
	done     chan struct{} // closed when run has returned

	users    map[string]*inboxUser
	counter  int64 // of generations given in this term
	kicks    map[cursorKey]kickMark
	pending  *inboxCommit
	due      dueReceipts
	cursors  map[cursorKey]im.Cursor // moved since the last store
	durable  []durableAck            // acks to answer once their cursors are stored
	storeAt  <-chan time.Time        // armed while cursors or receipts are due
	tick     bool                    // storeAt has fired
	flush    bool                    // a device has gone: store the cursors
	tickedAt time.Time
	forgetAt int // users in memory at which idle ones are forgotten
}

type cursorKey struct{ userID, deviceID string }

// inboxUser is what the owner remembers of a user. Users without sessions may be
// forgotten at any time between commits.
type inboxUser struct {
	id       string
	head     int64 // committed
	sessions []*attachment
	cursors  map[string]im.Cursor // by device; nil = not loaded
	arrived  []arrival            // direct messages of others not yet receipted
	arrivedT int64                // arrived is complete above this inbox seq
}

// controls is a batch of what streams and calls want of an inbox partition.
type controls struct {
	from     *gateway
	attaches []*imv1.Attach
	detaches []*imv1.Detach
	acks     []*imv1.Acked
	heads    []*imv1.HeadRequest
	gone     *gateway // this stream has ended
	kick     *kickCall
	signal   *signalPush
}

// control hands a batch to the partition's goroutine. It waits when that is behind,
// and so holds up the stream that it came from; it returns when the partition is
// given up.
func (b *inbox) control(c controls) {
	select {
	case b.controls <- c:
	case <-b.done:
	}
}

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

// inboxBatch is what was received together.
type inboxBatch struct {
	envelopes []*imv1.InboxEnvelope
	done      []im.PackRef
	tag       uint64 // 0: nothing was received, cursors or receipts are due
	receipts  bool   // issue the receipts that are due
}

// run owns the partition until ctx ends or the consumer is lost.
func (b *inbox) run(ctx context.Context, consumer Consumer) error {
	defer close(b.done)
	batches := make(chan *inboxBatch)
	committed := make(chan *inboxCommit, 1)
	lost := make(chan error, 1)
	inner, stop := context.WithCancel(ctx)
	b.server.goRun(func() { lost <- b.receive(inner, consumer, batches) })
	defer stop()
	err := b.loadDue(ctx)
	for err == nil {
		incoming := batches
		if b.pending != nil {
			incoming = nil // one commit in flight
		}
		select {
		case batch := <-incoming:
			err = b.begin(ctx, batch, committed)
		case c := <-committed:
			b.pending = nil
			if err = c.err; err == nil {
				err = b.finish(c, consumer)
			}
		case c := <-b.controls:
			err = b.handle(ctx, c)
		case <-b.storeAt:
			b.storeAt, b.tick = nil, true
		case err = <-lost:
		}
		if err == nil && b.pending == nil && (b.tick || b.flush || len(b.durable) > 0) {
			batch := &inboxBatch{}
			select { // in one commit with what is ready: rounds of receipts hold nothing up
			case batch = <-batches:
			default:
			}
			batch.receipts = b.tick
			err = b.begin(ctx, batch, committed)
			b.tick, b.flush = false, false
		}
	}
	return b.giveUp(err, committed, consumer)
}

// giveUp finishes the commit in hand, for what is in the store must be acknowledged
// to the queue, stores the cursors, and ends.
func (b *inbox) giveUp(err error, committed chan *inboxCommit, consumer Consumer) error {
	if b.pending != nil {
		if c := <-committed; c.err == nil {
			err = errors.Join(err, b.finish(c, consumer))
		}
	}
	if errors.Is(err, errForeign) {
		return err
	}
	if failure := b.storeCursors(); failure != nil {
		return errors.Join(err, failure)
	}
	b.answerAcks(b.durable)
	return err
}

func (b *inbox) storeCursors() error {
	if len(b.cursors) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	return b.store.CommitInbox(ctx, &im.InboxCommit{Cursors: b.takeCursors()})
}

// receive decodes packs ahead of the goroutine that owns the partition.
func (b *inbox) receive(ctx context.Context, consumer Consumer, batches chan<- *inboxBatch) error {
	for {
		deliveries, err := consumer.Receive(ctx, maxInboxBatch)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		batch, err := b.decode(ctx, deliveries)
		if err != nil {
			return err
		}
		select {
		case batches <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decode opens the packs. What can not be decoded goes to the quarantine.
func (b *inbox) decode(ctx context.Context, deliveries []im.Delivery) (*inboxBatch, error) {
	batch := &inboxBatch{tag: deliveries[len(deliveries)-1].Tag}
	for _, d := range deliveries {
		envelopes, err := decodePack(d.Body)
		if err != nil {
			if err := b.server.quarantine(ctx, TopicInbox, b.partition, d.Body, err); err != nil {
				return nil, err
			}
		}
		batch.envelopes = append(batch.envelopes, envelopes...)
		if d.Ref != (im.PackRef{}) {
			batch.done = append(batch.done, d.Ref)
		}
	}
	return batch, nil
}

// decodePack opens a pack; all of its envelopes can become entries, or none is
// returned.
func decodePack(body []byte) ([]*imv1.InboxEnvelope, error) {
	pack := &imv1.InboxPack{}
	if err := pack.UnmarshalVT(body); err != nil {
		return nil, fmt.Errorf("decode a pack: %w", err)
	}
	for _, envelope := range pack.Envelopes {
		if envelope.GetRead() == nil && envelope.GetEvent() == nil && envelope.GetReceipt() == nil {
			return nil, errors.New("decode a pack: an envelope without content")
		}
	}
	return pack.Envelopes, nil
}

// begin stamps a batch's entries and starts its commit.
func (b *inbox) begin(ctx context.Context, batch *inboxBatch, committed chan<- *inboxCommit) error {
	c := &inboxCommit{batch: batch}
	err := b.server.persist(ctx, b.log, func(ctx context.Context) error {
		if err := b.ids.ensure(ctx); err != nil {
			return err
		}
		return b.plan(ctx, c)
	})
	if err != nil {
		return err
	}
	c.commit.Cursors = append(c.commit.Cursors, b.takeCursors()...)
	if b.outbox { // one transaction says it all
		c.commit.Marks = append(c.commit.Marks, c.late.Marks...)
		c.commit.Cursors = append(c.commit.Cursors, c.late.Cursors...)
		c.late = im.InboxCommit{}
	}
	for _, r := range c.receipted {
		r.apply()
	}
	if batch.receipts {
		b.due.issued()
		b.tickedAt = b.server.now()
	}
	c.acks, b.durable = b.durable, nil
	b.pending = c
	b.server.goRun(func() {
		c.err = b.server.persist(ctx, b.log, func(ctx context.Context) error { return b.write(ctx, c) })
		committed <- c
	})
	return nil
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

// finish makes a commit visible: heads rise, pushes go out, reads and acks are
// answered, the queue is acknowledged.
func (b *inbox) finish(c *inboxCommit, consumer Consumer) error {
	for i := range c.planned {
		if p := &c.planned[i]; !p.dropped {
			p.user.head = max(p.user.head, p.seq)
			b.noteArrival(p)
		}
	}
	b.push(c)
	b.finishReads(c)
	b.answerAcks(c.acks)
	if c.batch.tag == 0 {
		return nil
	}
	if err := consumer.Ack(c.batch.tag); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

// loadUsers fetches the heads of the envelopes' users that are not in memory.
func (b *inbox) loadUsers(ctx context.Context, envelopes []*imv1.InboxEnvelope) error {
	b.forget()
	var missing []string
	want := func(id string) {
		if b.users[id] == nil {
			missing = append(missing, id)
		}
	}
	for _, envelope := range envelopes {
		for _, id := range envelope.UserIds {
			want(id)
		}
		if read := envelope.GetRead(); read != nil {
			want(read.UserId)
		}
	}
	return b.load(ctx, missing)
}

func (b *inbox) load(ctx context.Context, userIDs []string) error {
	if len(userIDs) == 0 {
		return nil
	}
	heads, err := b.store.Heads(ctx, userIDs)
	if err != nil {
		return fmt.Errorf("load heads: %w", err)
	}
	for i, id := range userIDs {
		if b.users[id] == nil {
			b.users[id] = &inboxUser{id: id, head: heads[i].Head, arrivedT: heads[i].Head}
		}
	}
	return nil
}

// maxInboxUsers bounds the users without a session that one partition remembers.
const maxInboxUsers = 16384

// forget drops users nobody is attached for when there are too many. Never while a
// commit is in flight: their heads are about to move.
func (b *inbox) forget() {
	if len(b.users) <= b.forgetAt || b.pending != nil {
		return
	}
	moved := make(map[string]bool, len(b.cursors))
	for key := range b.cursors {
		moved[key.userID] = true
	}
	kept := 0
	for id, user := range b.users {
		if len(user.sessions) == 0 && !b.due.users[id] && !moved[id] {
			delete(b.users, id)
		} else {
			kept++
		}
	}
	b.forgetAt = max(maxInboxUsers, 2*kept)
}

// arm makes the goroutine come back after a time to store what is due.
func (b *inbox) arm(after time.Duration) {
	if b.storeAt == nil {
		b.storeAt = time.After(after)
	}
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
