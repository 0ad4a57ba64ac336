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
)

// noteArrival remembers a direct message for its delivered receipt.
func (b *inbox) noteArrival(p *plannedEntry) {
	user := p.user
	if len(user.sessions) == 0 && !b.due.users[user.id] { // not before a device comes
		user.arrived, user.arrivedT = nil, p.seq
		return
	}
	event := p.envelope.GetEvent()
	if event == nil || event.Kind != string(im.KindMessage) || event.ConversationType != string(im.Direct) || event.SenderId == user.id {
		return
	}
	if len(user.arrived) == maxArrivals {
		half := user.arrived[:maxArrivals/2]
		user.arrivedT = half[len(half)-1].seq
		user.arrived = append(user.arrived[:0], user.arrived[maxArrivals/2:]...)
	}
	user.arrived = append(user.arrived, arrival{p.seq, event.ConversationId, event.Seq, event.SenderId})
}

// dueDelivery is a user whose devices have acknowledged more than they have
// receipted, with the cursors as they stood when the round was taken. Nobody
// changes the user's arrivals while it is on its way.
type dueDelivery struct {
	user    *inboxUser
	cursors []im.Cursor
	upto    int64 // how far the receipts go
}

// planDelivered issues delivered receipts for what users' devices have newly
// acknowledged.
func (b *inbox) planDelivered(ctx context.Context, c *inboxCommit) error {
	newest, users := map[im.ReadKey]arrival{}, make(map[string]*inboxUser, len(c.round.delivered))
	for _, due := range c.round.delivered {
		users[due.user.id] = due.user
		if err := b.collectDelivered(ctx, due, newest, c.receipts); err != nil {
			return err
		}
	}
	return b.issueDelivered(ctx, newest, users, c.receipts)
}

// collectDelivered finds the newest message of each direct conversation that a
// user has newly acknowledged, and how far the devices' receipted seqs go up.
func (b *inbox) collectDelivered(ctx context.Context, due dueDelivery, newest map[im.ReadKey]arrival, out *receipts) error {
	user, acked, receipted := due.user, int64(0), int64(0)
	for _, cursor := range due.cursors {
		acked, receipted = max(acked, cursor.Seq), max(receipted, cursor.ReceiptedSeq)
	}
	due.upto = acked
	if acked > receipted {
		arrivals := user.arrived
		if receipted < user.arrivedT {
			var err error
			if arrivals, due.upto, err = b.storedArrivals(ctx, user, receipted, acked); err != nil {
				return err
			}
		}
		for _, a := range arrivals {
			if key := (im.ReadKey{UserID: user.id, ConversationID: a.conversationID}); a.seq > receipted && a.seq <= due.upto &&
				a.conversationSeq > newest[key].conversationSeq {
				newest[key] = a
			}
		}
	}
	for _, cursor := range due.cursors {
		if to := min(cursor.Seq, due.upto); to > cursor.ReceiptedSeq {
			cursor.ReceiptedSeq = to
			out.cursors = append(out.cursors, cursor)
		}
	}
	out.delivered = append(out.delivered, due)
	return nil
}

// apply moves what the owner remembers of a user up; more reports whether a device
// has acknowledged more since.
func (d *dueDelivery) apply() (more bool) {
	for i := range d.user.cursors {
		cursor := &d.user.cursors[i]
		cursor.ReceiptedSeq = max(cursor.ReceiptedSeq, min(cursor.Seq, d.upto))
		more = more || cursor.Seq > d.upto
	}
	keep := 0
	for keep < len(d.user.arrived) && d.user.arrived[keep].seq <= d.upto {
		keep++
	}
	d.user.arrived = append(d.user.arrived[:0], d.user.arrived[keep:]...)
	return more
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

// issueDelivered sends a receipt for each conversation whose mark rises, unless its user
// has blocked the sender.
func (b *inbox) issueDelivered(ctx context.Context, newest map[im.ReadKey]arrival, users map[string]*inboxUser, out *receipts) error {
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
	if err := b.loadBlocks(ctx, newest, users); err != nil {
		return err
	}
	for i, key := range keys {
		a := newest[key]
		if a.conversationSeq <= marks[i].DeliveredUpto {
			continue
		}
		if !users[key.UserID].blocks[a.senderID] {
			err := b.addPack(out, &imv1.ReceiptEvent{
				ConversationId: key.ConversationID, ReaderId: key.UserID, Kind: receiptDelivered,
				Upto: a.conversationSeq, AtMs: b.server.now().UnixMilli(),
			}, a.senderID)
			if err != nil {
				return err
			}
		}
		out.marks = append(out.marks, im.ReadMark{
			UserID: key.UserID, ConversationID: key.ConversationID, DeliveredUpto: a.conversationSeq,
		})
	}
	return nil
}

// maxBlocks bounds those of whom an owner remembers whether a user has blocked them.
const maxBlocks = 512

// loadBlocks asks whether users have blocked the senders, once for each: a block goes
// through the user's inbox, and is asked for anew then.
func (b *inbox) loadBlocks(ctx context.Context, newest map[im.ReadKey]arrival, users map[string]*inboxUser) error {
	for _, user := range users {
		if len(user.blocks) >= maxBlocks {
			clear(user.blocks)
		}
	}
	var asked []im.RelationKey
	for key, a := range newest {
		user := users[key.UserID]
		if _, known := user.blocks[a.senderID]; !known {
			asked = append(asked, im.RelationKey{UserID: user.id, PeerID: a.senderID})
		}
	}
	if len(asked) == 0 {
		return nil
	}
	relations, err := b.store.Relations(ctx, asked)
	if err != nil {
		return fmt.Errorf("load relations: %w", err)
	}
	for i, key := range asked {
		user := users[key.UserID]
		if user.blocks == nil {
			user.blocks = map[string]bool{}
		}
		user.blocks[key.PeerID] = relations[i].Blocked.On()
	}
	return nil
}
