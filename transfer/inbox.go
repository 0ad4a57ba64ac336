package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
