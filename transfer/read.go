package transfer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// The kinds of receipts.
const (
	receiptRead      = "read"
	receiptDelivered = "delivered"
)

// readDone is a read command that waits for its commit to be answered.
type readDone struct {
	command *imv1.ReadCommand
	mark    im.ReadMark
	refusal error
}

// dueReceipts is what must still be told: read marks whose receipt was held back,
// and users whose devices have acknowledged more than they have receipted.
type dueReceipts struct {
	reads  map[im.ReadKey]bool
	users  map[string]bool
	issues map[im.ReadKey]time.Time // when a read receipt was issued last, newest only
	taken  []im.ReadKey
	heard  []string
}

func newDueReceipts() dueReceipts {
	return dueReceipts{reads: map[im.ReadKey]bool{}, users: map[string]bool{}, issues: map[im.ReadKey]time.Time{}}
}

func (d *dueReceipts) acked(userID string) { d.users[userID] = true }

// issued forgets what the last plan has taken.
func (d *dueReceipts) issued() {
	for _, key := range d.taken {
		delete(d.reads, key)
	}
	for _, id := range d.heard {
		delete(d.users, id)
	}
	d.taken, d.heard = nil, nil
}

// loadDue finds the receipts that a former owner left undone.
func (b *inbox) loadDue(ctx context.Context) error {
	return b.server.persist(ctx, b.log, func(ctx context.Context) error {
		marks, cursors, err := b.store.DueReceipts(ctx, b.partition, b.server.config.InboxPartitions)
		if err != nil {
			return fmt.Errorf("load due receipts: %w", err)
		}
		for _, m := range marks {
			b.due.reads[im.ReadKey{UserID: m.UserID, ConversationID: m.ConversationID}] = true
		}
		for _, c := range cursors {
			b.due.acked(c.UserID)
		}
		if len(marks)+len(cursors) > 0 {
			b.armReceipts()
		}
		return nil
	})
}

// armReceipts comes back at once when no receipts were issued lately, else when
// the next may be.
func (b *inbox) armReceipts() {
	b.arm(max(time.Millisecond, b.server.config.ReceiptEvery-b.server.now().Sub(b.tickedAt)))
}

// planReceipts works out marks and receipts: of the batch's reads, and, where the
// batch says so, those that are due.
func (b *inbox) planReceipts(ctx context.Context, c *inboxCommit, reads []*imv1.ReadCommand) error {
	keys := make([]im.ReadKey, 0, len(reads)+len(b.due.reads))
	for _, r := range reads {
		keys = append(keys, im.ReadKey{UserID: r.UserId, ConversationID: r.ConversationId})
	}
	b.due.taken, b.due.heard = nil, nil
	if c.batch.receipts {
		for key := range b.due.reads {
			if len(b.due.taken) == maxDueUsers {
				b.armReceipts()
				break
			}
			if early := b.server.config.ReceiptEvery - b.server.now().Sub(b.due.issues[key]); early > 0 {
				b.arm(early)
				continue
			}
			keys = append(keys, key)
			b.due.taken = append(b.due.taken, key)
		}
		if err := b.planDelivered(ctx, c); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := b.loadReaders(ctx, b.due.taken); err != nil {
		return err
	}
	states, marks, err := b.readStates(ctx, keys)
	if err != nil {
		return err
	}
	for i, r := range reads {
		done, err := b.planRead(r, keys[i], states, marks, c)
		if err != nil {
			return err
		}
		c.reads = append(c.reads, done)
	}
	for _, key := range b.due.taken {
		if err := b.issueRead(key, states, marks, c); err != nil {
			return err
		}
	}
	return nil
}

func (b *inbox) loadReaders(ctx context.Context, keys []im.ReadKey) error {
	var missing []string
	for _, key := range keys {
		if b.users[key.UserID] == nil {
			missing = append(missing, key.UserID)
		}
	}
	return b.load(ctx, missing)
}

// readStates fetches the conversations and marks of keys.
func (b *inbox) readStates(ctx context.Context, keys []im.ReadKey) (map[string]*im.ConversationState, map[im.ReadKey]*im.ReadMark, error) {
	states := map[string]*im.ConversationState{}
	var ids []string
	for _, key := range keys {
		if _, ok := states[key.ConversationID]; !ok {
			states[key.ConversationID] = nil
			ids = append(ids, key.ConversationID)
		}
	}
	rows, err := b.store.Conversations(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("load conversations: %w", err)
	}
	for i := range rows {
		states[ids[i]] = &rows[i]
	}
	loaded, err := b.store.Marks(ctx, keys)
	if err != nil {
		return nil, nil, fmt.Errorf("load marks: %w", err)
	}
	marks := map[im.ReadKey]*im.ReadMark{}
	for i, key := range keys {
		if marks[key] == nil {
			marks[key] = &loaded[i]
			marks[key].UserID, marks[key].ConversationID = key.UserID, key.ConversationID
		}
	}
	return states, marks, nil
}

// planRead moves a mark up, never above the conversation's head, and issues its
// receipt, or leaves that for later when one was issued just now.
func (b *inbox) planRead(r *imv1.ReadCommand, key im.ReadKey, states map[string]*im.ConversationState,
	marks map[im.ReadKey]*im.ReadMark, c *inboxCommit,
) (*readDone, error) {
	done := &readDone{command: r}
	state, mark := states[key.ConversationID], marks[key]
	member := conversation{ConversationState: *state}
	if _, ok := member.member(r.UserId); !state.Exists || !ok {
		done.refusal = im.Errorf(im.NotFound, "no such conversation")
		return done, nil
	}
	if upto := min(r.Upto, state.Head); upto > mark.ReadUpto {
		mark.ReadUpto = upto
		c.commit.Marks = append(c.commit.Marks, im.ReadMark{
			UserID: key.UserID, ConversationID: key.ConversationID, ReadUpto: upto,
		})
	}
	done.mark = *mark
	if mark.ReadUpto <= mark.ReceiptedUpto {
		return done, nil
	}
	now := b.server.now()
	if now.Sub(b.due.issues[key]) < b.server.config.ReceiptEvery {
		b.due.reads[key] = true
		b.arm(b.server.config.ReceiptEvery - now.Sub(b.due.issues[key]))
		return done, nil
	}
	return done, b.issueRead(key, states, marks, c)
}

// issueRead adds the receipt of the mark in force: to the reader's own inbox, and
// in a direct conversation to the peer's.
func (b *inbox) issueRead(key im.ReadKey, states map[string]*im.ConversationState, marks map[im.ReadKey]*im.ReadMark, c *inboxCommit) error {
	mark, state := marks[key], states[key.ConversationID]
	if mark.ReadUpto <= mark.ReceiptedUpto || b.users[key.UserID] == nil {
		return nil
	}
	mark.ReceiptedUpto = mark.ReadUpto
	if len(b.due.issues) > maxInboxUsers {
		clear(b.due.issues)
	}
	b.due.issues[key] = b.server.now()
	receipt := &imv1.ReceiptEvent{
		ConversationId: key.ConversationID, ReaderId: key.UserID, Kind: receiptRead,
		Upto: mark.ReadUpto, AtMs: b.server.now().UnixMilli(),
	}
	entry, err := receiptEntry(receipt)
	if err != nil {
		return err
	}
	envelope := &imv1.InboxEnvelope{
		What: &imv1.InboxEnvelope_Receipt{Receipt: receipt}, UserIds: []string{key.UserID},
	}
	c.planned = append(c.planned, plannedEntry{user: b.users[key.UserID], envelope: envelope, entry: entry})
	if state.Type == im.Direct {
		if peer := directPeer(state.Key, key.UserID); peer != key.UserID {
			if err := b.addPack(c, receipt, peer); err != nil {
				return err
			}
		}
	}
	c.late.Marks = append(c.late.Marks, im.ReadMark{
		UserID: key.UserID, ConversationID: key.ConversationID, ReceiptedUpto: mark.ReceiptedUpto,
	})
	return nil
}

// addPack puts a receipt for another user on its way to their inbox partition.
func (b *inbox) addPack(c *inboxCommit, receipt *imv1.ReceiptEvent, userID string) error {
	q := im.Partition(userID, b.server.config.InboxPartitions)
	pack := &imv1.InboxPack{Envelopes: []*imv1.InboxEnvelope{{
		What: &imv1.InboxEnvelope_Receipt{Receipt: receipt}, UserIds: []string{userID},
	}}}
	body, err := pack.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode a receipt: %w", err)
	}
	out := im.Pack{Partition: q, Body: body}
	if b.outbox {
		id, err := b.ids.ids.Next()
		if err != nil { // the plan is made again with a longer term
			return fmt.Errorf("name a receipt's commit: %w", err)
		}
		// Negative, for conversation partitions name their commits by the same ids.
		out.Ref = im.PackRef{Commit: -id, Partition: q}
	}
	c.commit.Packs = append(c.commit.Packs, out)
	return nil
}

func receiptEntry(r *imv1.ReceiptEvent) (im.InboxEntry, error) {
	body := &imv1.Entry{AtMs: r.AtMs, Receipt: &imv1.Receipt{
		ConversationId: r.ConversationId, UserId: r.ReaderId, Kind: r.Kind, Upto: r.Upto,
	}}
	data, err := body.MarshalVT()
	if err != nil {
		return im.InboxEntry{}, fmt.Errorf("encode receipt: %w", err)
	}
	return im.InboxEntry{
		EventID: im.DerivedEventID("receipt", r.Kind, r.ConversationId, r.ReaderId, strconv.FormatInt(r.Upto, 10)),
		Kind:    im.KindReceipt, ConversationID: r.ConversationId, ConversationSeq: r.Upto, Data: data,
	}, nil
}

// finishReads answers the reads of a commit with the values in force.
func (b *inbox) finishReads(c *inboxCommit) {
	var done []*readDone
	var marks []im.ReadMark
	for _, r := range c.reads {
		if r.refusal != nil {
			b.server.answer(r.command.Origin, errorReply(r.refusal))
			continue
		}
		done, marks = append(done, r), append(marks, r.mark)
	}
	if len(done) == 0 {
		return
	}
	b.server.goRun(func() { // counting is a query: not on the partition's goroutine
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		defer cancel()
		unread, err := b.store.Unread(ctx, marks)
		for i, r := range done {
			if err != nil {
				b.server.answer(r.command.Origin, errorReply(im.Retry(im.Unavailable, retrySoon, "the store does not answer")))
				continue
			}
			b.server.answer(r.command.Origin, &imv1.Reply{What: &imv1.Reply_ReadReply{ReadReply: &imv1.ReadReply{
				ConversationId: r.mark.ConversationID, Upto: r.mark.ReadUpto, Unread: int32(unread[i]), //nolint:gosec // at most 1,000
			}}})
		}
	})
}
