package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/im-transfer/im"
)

const (
	// maxDueUsers bounds the users, and the read marks, of one round of receipts.
	maxDueUsers = 64
	// maxUnissued bounds the receipts that wait for the queue. Above it the marks
	// are stored, and their receipts are issued when there is room again.
	maxUnissued = 1024
)

// dueReceipts is what must still be told: read marks whose receipt was held back,
// and users whose devices have acknowledged more than they have receipted.
type dueReceipts struct {
	reads  map[im.ReadKey]bool
	users  map[string]bool
	tells  map[im.RelationKey]bool  // wishes of which the peers have not been told
	issues map[im.ReadKey]time.Time // when a read receipt was issued last, newest only
	out    bool                     // a round's delivered receipts are on their way
}

func newDueReceipts() dueReceipts {
	return dueReceipts{reads: map[im.ReadKey]bool{}, users: map[string]bool{}, tells: map[im.RelationKey]bool{}, issues: map[im.ReadKey]time.Time{}}
}

func (d *dueReceipts) acked(userID string) { d.users[userID] = true }

// receipts is what tells others that something was read or delivered.
type receipts struct {
	reads     []im.ReadKey
	delivered []dueDelivery
	packs     []im.Pack     // for the others' inbox partitions
	marks     []im.ReadMark // these and cursors say that the packs are out
	cursors   []im.Cursor
	notes     []im.Relation // as marks
	signals   []readSignal  // to groups; nobody waits for them
	sending   *publication
	err       error
}

func (r *receipts) full() bool { return r != nil && len(r.packs) >= maxUnissued }

// round is receipts that are due, taken off the list for one commit.
type round struct {
	reads     []dueRead
	delivered []dueDelivery
	contacts  []im.RelationKey
}

type dueRead struct {
	key    im.ReadKey
	reader *inboxUser
}

// takeRound takes what is due, a bounded part of it, for a commit is bounded in
// time. Users who are not in memory are asked for and come with a later round.
func (b *inbox) takeRound() (r round) {
	if b.unissued.full() { // it is armed again when they have gone out
		return r
	}
	every := b.server.config.ReceiptEvery
	for key := range b.due.reads {
		reader, early := b.users[key.UserID], every-b.server.now().Sub(b.due.issues[key])
		switch {
		case len(r.reads) == maxDueUsers:
			b.arm(time.Millisecond)
		case reader == nil:
			b.want(key.UserID, true, false)
			b.arm(every)
		case early > 0:
			b.arm(early)
		default:
			delete(b.due.reads, key)
			r.reads = append(r.reads, dueRead{key, reader})
			continue
		}
		if len(r.reads) == maxDueUsers {
			break
		}
	}
	for key := range b.due.tells {
		if len(r.contacts) == maxDueUsers {
			b.arm(time.Millisecond)
			break
		}
		delete(b.due.tells, key)
		r.contacts = append(r.contacts, key)
	}
	if !b.due.out {
		b.takeDelivered(&r)
		b.due.out = len(r.delivered) > 0
	}
	return r
}

func (b *inbox) takeDelivered(r *round) {
	for id := range b.due.users {
		if len(r.delivered) == maxDueUsers {
			b.arm(time.Millisecond)
			break
		}
		user := b.known(id)
		if user == nil {
			b.want(id, b.users[id] == nil, true)
			b.arm(b.server.config.ReceiptEvery)
			continue
		}
		delete(b.due.users, id)
		r.delivered = append(r.delivered, dueDelivery{user: user, cursors: slices.Clone(user.cursors)})
	}
}

// noteReads remembers when a commit's read receipts were issued, and which are left
// for later.
func (b *inbox) noteReads(c *inboxCommit) {
	if len(b.due.issues) > maxInboxUsers {
		clear(b.due.issues)
	}
	now := b.server.now()
	for _, key := range c.receipts.reads {
		b.due.issues[key] = now
	}
	for _, r := range c.reads {
		if r.held {
			b.due.reads[r.key()] = true
			b.arm(max(time.Millisecond, r.early))
		}
	}
}

// issue lets a commit's receipts go out. With an outbox they are out, for they were
// committed with the rest; without one they go into the queue on a goroutine of
// their own, one lot after the other, and nothing else waits for its confirms: who
// takes the partition over finds in the marks and cursors what was not told.
func (b *inbox) issue(ctx context.Context, c *inboxCommit) {
	r := c.receipts
	if b.outbox {
		b.told(r)
		return
	}
	b.holdTells(c)
	r.packs, r.notes = append(r.packs, c.told.packs...), c.told.notes
	if len(r.packs)+len(r.marks)+len(r.cursors)+len(r.delivered) == 0 {
		return
	}
	if b.unissued == nil {
		b.unissued = &receipts{}
	}
	u := b.unissued
	u.packs, u.marks, u.cursors = append(u.packs, r.packs...), append(u.marks, r.marks...), append(u.cursors, r.cursors...)
	u.delivered, u.notes = append(u.delivered, r.delivered...), append(u.notes, r.notes...)
	b.send(ctx)
}

// holdTells leaves what contacts are to be told for later where too much has not gone
// out: the rows say that it is due.
func (b *inbox) holdTells(c *inboxCommit) {
	if !b.unissued.full() {
		return
	}
	for _, note := range c.told.notes {
		b.due.tells[note.RelationKey] = true
	}
	c.told = toldContacts{}
}

// send sends what waits, unless something is on its way.
func (b *inbox) send(ctx context.Context) {
	if b.issuing != nil || b.unissued == nil {
		return
	}
	r := b.unissued
	b.issuing, b.unissued = r, nil
	r.sending = &publication{packs: r.packs}
	b.server.goRun(func() {
		r.err = b.server.retry(ctx, b.log, func(ctx context.Context) error { return b.sendReceipts(ctx, r) })
		b.issued <- r
	})
}

// sendReceipts publishes receipts, and only then notes that they are out.
func (b *inbox) sendReceipts(ctx context.Context, r *receipts) error {
	if err := b.server.publishPacks(ctx, r.sending); err != nil {
		return err
	}
	im.CrashPoint(im.CrashReceiptsPublished)
	late := im.InboxCommit{Marks: r.marks, Cursors: r.cursors, Own: im.OwnState{Relations: r.notes}}
	if late.Empty() {
		return nil
	}
	if err := b.store.CommitInbox(ctx, &late); err != nil {
		return fmt.Errorf("note issued receipts: %w", err)
	}
	return nil
}

// wentOut takes back receipts that are out, and sends the next.
func (b *inbox) wentOut(ctx context.Context, r *receipts) error {
	b.issuing = nil
	if r.err != nil {
		return r.err
	}
	b.told(r)
	b.send(ctx)
	return nil
}

// told moves what the owner remembers up to what has been told, and comes back for
// what has become due meanwhile.
func (b *inbox) told(r *receipts) {
	for i := range r.delivered {
		b.due.out = false
		if r.delivered[i].apply() {
			b.due.acked(r.delivered[i].user.id)
		}
	}
	if len(b.due.reads)+len(b.due.users)+len(b.due.tells) > 0 {
		b.armReceipts()
	}
}

// armReceipts comes back at once when no receipts were issued lately, else when
// the next may be.
func (b *inbox) armReceipts() {
	b.arm(max(time.Millisecond, b.server.config.ReceiptEvery-b.server.now().Sub(b.tickedAt)))
}

// owedReceipts are those that a former owner left undone.
type owedReceipts struct {
	marks   []im.ReadMark
	cursors []im.Cursor
	tells   []im.RelationKey
	err     error
}

// loadOwed finds them, beside the partition's goroutine.
func (b *inbox) loadOwed(ctx context.Context) *owedReceipts {
	o := &owedReceipts{}
	o.err = b.server.retry(ctx, b.log, func(ctx context.Context) (err error) {
		if o.marks, o.cursors, err = b.store.DueReceipts(ctx, b.partition, b.server.config.InboxPartitions); err != nil {
			return fmt.Errorf("load due receipts: %w", err)
		}
		if o.tells, err = b.store.DueRelations(ctx, b.partition, b.server.config.InboxPartitions); err != nil {
			return fmt.Errorf("load due relations: %w", err)
		}
		return nil
	})
	return o
}

// owe makes them ours.
func (b *inbox) owe(o *owedReceipts) error {
	for _, m := range o.marks {
		b.due.reads[im.ReadKey{UserID: m.UserID, ConversationID: m.ConversationID}] = true
	}
	for _, c := range o.cursors {
		b.due.acked(c.UserID)
	}
	for _, key := range o.tells {
		b.due.tells[key] = true
	}
	if len(o.marks)+len(o.cursors)+len(o.tells) > 0 {
		b.armReceipts()
	}
	return o.err
}
