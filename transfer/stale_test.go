package transfer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// An owner that was paused publishes, when it wakes, receipts that are older than
// those of who has replaced it: in no inbox marks fall.
func TestReceiptsOfAReplacedOwnerAreDropped(t *testing.T) {
	// Given a store that several owners could share, and a receipt up to 353.
	options := func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) }
	w := start(t, options)
	w.users("alice", "bob")
	conversation := im.DirectConversation("alice", "bob")
	w.receipt("alice", "bob", "delivered", 353)

	// When the former owner's comes behind it; also in the next owner's time, who
	// has only the mark to go by; and one of another kind.
	w.receipt("alice", "bob", "delivered", 10)
	w.receipt("alice", "bob", "delivered", 353)
	eventually(t, "all of it has been consumed", func() bool { return w.queue.Backlog(transfer.TopicInbox, im.Partition("alice", 2)) == 0 })
	mark := im.ReadMark{UserID: "bob", ConversationID: conversation, DeliveredUpto: 353}
	must(t, w.db.CommitInbox(t.Context(), &im.InboxCommit{Marks: []im.ReadMark{mark}}))
	w.restart(options)
	w.receipt("alice", "bob", "delivered", 11)
	w.receipt("alice", "bob", "read", 12)
	w.receipt("alice", "bob", "delivered", 354)

	// Then alice's inbox has what rose.
	var got []int64
	eventually(t, "the last one is in", func() bool {
		page, err := w.db.Blocks(t.Context(), "alice", 0, 100)
		must(t, err)
		got = nil
		for _, block := range page.Blocks {
			for _, e := range block.Entries {
				got = append(got, e.ConversationSeq)
			}
		}
		return len(got) > 0 && got[len(got)-1] == 354
	})
	if len(got) != 3 || got[0] != 353 || got[1] != 12 {
		t.Fatalf("receipts up to %v", got)
	}
}

// receipt publishes one as the owner of the reader's partition does, and waits
// until the queue has it.
func (w *world) receipt(to, reader, kind string, upto int64) {
	w.t.Helper()
	pack := &imv1.InboxPack{Envelopes: []*imv1.InboxEnvelope{{
		What: &imv1.InboxEnvelope_Receipt{Receipt: &imv1.ReceiptEvent{
			ConversationId: im.DirectConversation(to, reader), ReaderId: reader, Kind: kind, Upto: upto, AtMs: 1,
		}},
		UserIds: []string{to},
	}}}
	body, err := pack.MarshalVT()
	must(w.t, err)
	confirmed := make(chan error, 1)
	q := im.Partition(to, w.config.InboxPartitions)
	w.queue.Publish(transfer.TopicInbox, q, []im.Pack{{Partition: q, Body: body}}, func(err error) { confirmed <- err })
	select {
	case err := <-confirmed:
		must(w.t, err)
	case <-w.t.Context().Done():
		w.t.Fatal(errors.Join(context.Cause(w.t.Context()), errors.New("no confirm")))
	}
}
