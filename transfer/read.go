package transfer

import (
	"context"
	"fmt"
	"slices"
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
	reader  *inboxUser
	early   time.Duration // until a receipt may be issued
	mark    im.ReadMark
	held    bool // its receipt is left for later
	refusal error
}

func (r *readDone) key() im.ReadKey {
	return im.ReadKey{UserID: r.command.UserId, ConversationID: r.command.ConversationId}
}

// holdReads says which of a batch's reads must leave their receipt for later: when
// one was issued just now, or too many have not gone out.
func (b *inbox) holdReads(c *inboxCommit) {
	now := b.server.now()
	for _, r := range c.reads {
		r.early = b.server.config.ReceiptEvery - now.Sub(b.due.issues[r.key()])
		if b.unissued.full() {
			r.early = b.server.config.ReceiptEvery
		}
	}
}

// planReceipts works out marks and receipts: of the batch's reads, and of the
// round. A store that has an outbox keeps the receipts with the rest.
func (b *inbox) planReceipts(ctx context.Context, c *inboxCommit) error {
	c.planned, c.receipts = c.planned[:c.received], &receipts{}
	c.commit = im.InboxCommit{Done: c.batch.done, Cursors: slices.Clip(c.cursors)}
	if err := b.planDelivered(ctx, c); err != nil {
		return err
	}
	if err := b.planReads(ctx, c); err != nil {
		return err
	}
	if err := b.planOwn(ctx, c); err != nil {
		return err
	}
	if b.outbox {
		c.commit.Packs = c.receipts.packs
		c.commit.Marks = append(c.commit.Marks, c.receipts.marks...)
		c.commit.Cursors = append(c.commit.Cursors, c.receipts.cursors...)
	}
	return nil
}

func (b *inbox) planReads(ctx context.Context, c *inboxCommit) error {
	keys := make([]im.ReadKey, 0, len(c.reads)+len(c.round.reads))
	for _, r := range c.reads {
		keys = append(keys, r.key())
	}
	for _, due := range c.round.reads {
		keys = append(keys, due.key)
	}
	if len(keys) == 0 {
		return nil
	}
	states, marks, err := b.readStates(ctx, keys)
	if err != nil {
		return err
	}
	for _, r := range c.reads {
		if err := b.planRead(r, states[r.command.ConversationId], marks[r.key()], c); err != nil {
			return err
		}
	}
	for _, due := range c.round.reads {
		if err := b.issueRead(due.reader, states[due.key.ConversationID], marks[due.key], c); err != nil {
			return err
		}
	}
	return nil
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
// receipt, or leaves that for later.
func (b *inbox) planRead(r *readDone, state *im.ConversationState, mark *im.ReadMark, c *inboxCommit) error {
	r.held, r.refusal = false, nil
	member := conversation{ConversationState: *state}
	if _, ok := member.member(r.command.UserId); !state.Exists || !ok {
		r.refusal = im.Errorf(im.NotFound, "no such conversation")
		return nil
	}
	if upto := min(r.command.Upto, state.Head); upto > mark.ReadUpto {
		mark.ReadUpto = upto
		c.commit.Marks = append(c.commit.Marks, im.ReadMark{
			UserID: mark.UserID, ConversationID: mark.ConversationID, ReadUpto: upto,
		})
	}
	r.mark = *mark
	if mark.ReadUpto <= mark.ReceiptedUpto {
		return nil
	}
	if r.early > 0 || slices.Contains(c.receipts.reads, r.key()) {
		r.held = true
		return nil
	}
	return b.issueRead(r.reader, state, mark, c)
}

// issueRead adds the receipt of the mark in force: to the reader's own inbox, and
// in a direct conversation to the peer's.
func (b *inbox) issueRead(reader *inboxUser, state *im.ConversationState, mark *im.ReadMark, c *inboxCommit) error {
	if mark.ReadUpto <= mark.ReceiptedUpto {
		return nil
	}
	mark.ReceiptedUpto = mark.ReadUpto
	c.receipts.reads = append(c.receipts.reads, im.ReadKey{UserID: mark.UserID, ConversationID: mark.ConversationID})
	receipt := &imv1.ReceiptEvent{
		ConversationId: mark.ConversationID, ReaderId: mark.UserID, Kind: receiptRead,
		Upto: mark.ReadUpto, AtMs: b.server.now().UnixMilli(),
	}
	entry, err := receiptEntry(receipt)
	if err != nil {
		return err
	}
	envelope := &imv1.InboxEnvelope{
		What: &imv1.InboxEnvelope_Receipt{Receipt: receipt}, UserIds: []string{mark.UserID},
	}
	c.planned = append(c.planned, plannedEntry{user: reader, envelope: envelope, entry: entry})
	if state.Type == im.Group {
		c.receipts.signals = append(c.receipts.signals, newReadSignal(state, mark))
	}
	if state.Type == im.Direct {
		if peer := directPeer(state.Key, mark.UserID); peer != mark.UserID && !isBlocked(state, peer) {
			if err := b.addPack(c.receipts, receipt, peer); err != nil {
				return err
			}
		}
	}
	c.receipts.marks = append(c.receipts.marks, im.ReadMark{
		UserID: mark.UserID, ConversationID: mark.ConversationID, ReceiptedUpto: mark.ReceiptedUpto,
	})
	return nil
}

// isBlocked reports whether a member of a direct conversation is blocked by the other one,
// who tells them nothing more.
func isBlocked(state *im.ConversationState, userID string) bool {
	return slices.ContainsFunc(state.Members, func(m im.Member) bool { return m.UserID == userID && m.Blocked })
}

// addPack puts a receipt for another user on its way to their inbox partition.
func (b *inbox) addPack(r *receipts, receipt *imv1.ReceiptEvent, userID string) error {
	pack, err := b.packTo(&imv1.InboxEnvelope{
		What: &imv1.InboxEnvelope_Receipt{Receipt: receipt}, UserIds: []string{userID},
	})
	if err != nil {
		return err
	}
	r.packs = append(r.packs, pack)
	return nil
}

// packTo makes the pack of an envelope for one other user.
func (b *inbox) packTo(envelope *imv1.InboxEnvelope) (im.Pack, error) {
	q := im.Partition(envelope.UserIds[0], b.server.config.InboxPartitions)
	body, err := (&imv1.InboxPack{Envelopes: []*imv1.InboxEnvelope{envelope}}).MarshalVT()
	if err != nil {
		return im.Pack{}, fmt.Errorf("encode what another user is told: %w", err)
	}
	pack := im.Pack{Partition: q, Body: body}
	if b.outbox {
		id, err := b.ids.ids.Next()
		if err != nil { // the plan is made again with a longer term
			return im.Pack{}, fmt.Errorf("name the commit of what another user is told: %w", err)
		}
		// Negative, for conversation partitions name their commits by the same ids.
		pack.Ref = im.PackRef{Commit: -id, Partition: q}
	}
	return pack, nil
}

func receiptEntry(r *imv1.ReceiptEvent) (im.InboxEntry, error) {
	body := &imv1.Entry{AtMs: r.AtMs, Late: r.Late, Receipt: &imv1.Receipt{
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
	b.noteReads(c)
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
