package transfer

import (
	"context"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// arrival is a direct message of somebody else that went into a user's inbox and
// whose delivered receipt is not out yet.
type arrival struct {
	seq             int64 // in the inbox
	conversationID  string
	conversationSeq int64
	senderID        string
}

const (
	// maxArrivals bounds what is remembered for a user; what is older is read back
	// from the store.
	maxArrivals = 512
	// maxDeliveredScan bounds the entries of one user that are read back for one
	// round of receipts; the rest is for the next round.
	maxDeliveredScan = 2000
	// maxDueUsers bounds the users, and the read marks, of one round of receipts.
	maxDueUsers = 64
)

// noteArrival remembers a direct message for its delivered receipt.
func (b *inbox) noteArrival(p *plannedEntry) {
	user := p.user
	if len(user.sessions) == 0 && !b.due.users[user.id] { // not before a device comes
		user.arrived, user.arrivedT = nil, p.seq
		return
	}
	event := p.envelope.GetEvent()
	if event == nil || event.ConversationType != string(im.Direct) || event.SenderId == user.id {
		return
	}
	if len(user.arrived) == maxArrivals {
		half := user.arrived[:maxArrivals/2]
		user.arrivedT = half[len(half)-1].seq
		user.arrived = append(user.arrived[:0], user.arrived[maxArrivals/2:]...)
	}
	user.arrived = append(user.arrived, arrival{p.seq, event.ConversationId, event.Seq, event.SenderId})
}

// planDelivered issues delivered receipts for what users' devices have newly
// acknowledged.
func (b *inbox) planDelivered(ctx context.Context, c *inboxCommit) error {
	userIDs := make([]string, 0, len(b.due.users))
	var unknown, cursorless []string
	for id := range b.due.users {
		if len(userIDs) == maxDueUsers { // a plan is bounded in time; the rest is for the next round
			b.armReceipts()
			break
		}
		userIDs = append(userIDs, id)
		if b.users[id] == nil {
			unknown = append(unknown, id)
		}
		if b.users[id] == nil || b.users[id].cursors == nil {
			cursorless = append(cursorless, id)
		}
	}
	if err := b.load(ctx, unknown); err != nil {
		return err
	}
	if err := b.loadCursors(ctx, cursorless); err != nil {
		return err
	}
	newest := map[im.ReadKey]arrival{}
	for _, id := range userIDs {
		if err := b.collectDelivered(ctx, b.users[id], newest, c); err != nil {
			return err
		}
	}
	return b.issueDelivered(ctx, newest, c)
}

// collectDelivered finds the newest message of each direct conversation that a
// user has newly acknowledged, and moves the devices' receipted seqs up.
func (b *inbox) collectDelivered(ctx context.Context, user *inboxUser, newest map[im.ReadKey]arrival, c *inboxCommit) error {
	acked, receipted := int64(0), int64(0)
	for _, cursor := range user.cursors {
		acked, receipted = max(acked, cursor.Seq), max(receipted, cursor.ReceiptedSeq)
	}
	upto := acked
	if acked > receipted {
		arrivals := user.arrived
		if receipted < user.arrivedT {
			var err error
			if arrivals, upto, err = b.storedArrivals(ctx, user, receipted, acked); err != nil {
				return err
			}
		}
		for _, a := range arrivals {
			if key := (im.ReadKey{UserID: user.id, ConversationID: a.conversationID}); a.seq > receipted && a.seq <= upto &&
				a.conversationSeq > newest[key].conversationSeq {
				newest[key] = a
			}
		}
	}
	for _, cursor := range user.cursors {
		if to := min(cursor.Seq, upto); to > cursor.ReceiptedSeq {
			cursor.ReceiptedSeq = to
			c.late.Cursors = append(c.late.Cursors, cursor)
		}
	}
	c.receipted = append(c.receipted, receiptedUser{user, upto})
	if upto == acked {
		b.due.heard = append(b.due.heard, user.id)
	} else {
		b.armReceipts()
	}
	return nil
}

// receiptedUser is how far the delivered receipts of a plan go for a user.
type receiptedUser struct {
	user *inboxUser
	upto int64
}

// apply moves what the owner remembers of a user up, once a plan stands.
func (r receiptedUser) apply() {
	for device, cursor := range r.user.cursors {
		if to := min(cursor.Seq, r.upto); to > cursor.ReceiptedSeq {
			cursor.ReceiptedSeq = to
			r.user.cursors[device] = cursor
		}
	}
	keep := 0
	for keep < len(r.user.arrived) && r.user.arrived[keep].seq <= r.upto {
		keep++
	}
	r.user.arrived = append(r.user.arrived[:0], r.user.arrived[keep:]...)
}

// storedArrivals reads direct messages of others in (from, to] of an inbox; it
// returns how far it came.
func (b *inbox) storedArrivals(ctx context.Context, user *inboxUser, from, to int64) ([]arrival, int64, error) {
	to = min(to, from+maxDeliveredScan)
	page, err := b.store.Blocks(ctx, user.id, from, int(to-from))
	if err != nil {
		return nil, 0, fmt.Errorf("read back an inbox: %w", err)
	}
	var found []arrival
	var refs []im.EventRef
	for _, block := range page.Blocks {
		for i, e := range block.Entries {
			seq := block.FirstSeq + int64(i)
			if e.Kind == im.KindMessage && seq > from && seq <= to && strings.HasPrefix(e.ConversationID, "d") {
				found = append(found, arrival{seq: seq, conversationID: e.ConversationID, conversationSeq: e.ConversationSeq})
				refs = append(refs, im.EventRef{ConversationID: e.ConversationID, Seq: e.ConversationSeq})
			}
		}
	}
	events, err := b.store.EventsAt(ctx, refs)
	if err != nil {
		return nil, 0, fmt.Errorf("read back events: %w", err)
	}
	senders := make(map[im.EventRef]string, len(events))
	for _, e := range events {
		senders[im.EventRef{ConversationID: e.ConversationID, Seq: e.Seq}] = e.SenderID
	}
	others := found[:0]
	for i, a := range found {
		if sender := senders[refs[i]]; sender != "" && sender != user.id {
			a.senderID = sender
			others = append(others, a)
		}
	}
	return others, to, nil
}

// issueDelivered sends a receipt for each conversation whose mark rises.
func (b *inbox) issueDelivered(ctx context.Context, newest map[im.ReadKey]arrival, c *inboxCommit) error {
	if len(newest) == 0 {
		return nil
	}
	keys := make([]im.ReadKey, 0, len(newest))
	for key := range newest {
		keys = append(keys, key)
	}
	marks, err := b.store.Marks(ctx, keys)
	if err != nil {
		return fmt.Errorf("load marks: %w", err)
	}
	for i, key := range keys {
		a := newest[key]
		if a.conversationSeq <= marks[i].DeliveredUpto {
			continue
		}
		err := b.addPack(c, &imv1.ReceiptEvent{
			ConversationId: key.ConversationID, ReaderId: key.UserID, Kind: receiptDelivered,
			Upto: a.conversationSeq, AtMs: b.server.now().UnixMilli(),
		}, a.senderID)
		if err != nil {
			return err
		}
		c.late.Marks = append(c.late.Marks, im.ReadMark{
			UserID: key.UserID, ConversationID: key.ConversationID, DeliveredUpto: a.conversationSeq,
		})
	}
	return nil
}
