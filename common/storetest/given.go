package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

var background = context.Background

// startMs is when the tests' events happen.
const startMs = im.Epoch + 1_000_000

// message is a counted message of a sender; its id and client id follow from its
// place and the conversation.
func message(conversationID, sender string, seq int64) im.Event {
	return im.Event{
		ID:             (startMs+seq-im.Epoch)<<22 | int64(im.Partition(conversationID, 64))<<12,
		ConversationID: conversationID, Seq: seq, Kind: im.KindMessage,
		SenderID: sender, DeviceID: "phone", ClientID: fmt.Sprintf("client-%d", seq),
		Hash: 1<<63 | uint64(seq), AtMs: startMs + seq, AcceptedAtMs: startMs + seq - 3,
		Counted: true, Body: []byte(fmt.Sprint("body of ", seq)),
	}
}

// messages are those of seq from to upto.
func messages(conversationID, sender string, from, upto int64) (events []im.Event) {
	for seq := from; seq <= upto; seq++ {
		events = append(events, message(conversationID, sender, seq))
	}
	return events
}

// stored returns the events of a conversation that are stored, in order.
func stored(t *testing.T, s transfer.Store, conversationID string) []im.Event {
	t.Helper()
	events, err := s.EventsAfter(background(), conversationID, 0, 10_000)
	must(t, err)
	return events
}

func seqsOf(events []im.Event) (seqs []int64) {
	for _, e := range events {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

func sortEvents(events []im.Event) []im.Event {
	slices.SortFunc(events, func(a, b im.Event) int {
		return cmp.Or(cmp.Compare(a.ConversationID, b.ConversationID), cmp.Compare(a.Seq, b.Seq))
	})
	return events
}

// direct writes a direct conversation of two users and returns its id.
func direct(t *testing.T, s transfer.Store, a, b string) string {
	t.Helper()
	id := im.DirectConversation(a, b)
	members := []im.Member{{ConversationID: id, UserID: a, JoinedSeq: 1, LeftSeq: im.Forever}}
	if a != b {
		members = append(members, im.Member{ConversationID: id, UserID: b, JoinedSeq: 1, LeftSeq: im.Forever})
	}
	key := min(a, b) + "\x00" + max(a, b)
	must(t, s.Project(background(), []im.Conversation{{ID: id, Type: im.Direct, Key: key, CreatedAt: startMs}}, members))
	return id
}

// group writes a group conversation with these stays and returns its id.
func group(t *testing.T, s transfer.Store, groupID string, stays ...im.Member) string {
	t.Helper()
	id := im.GroupConversation(groupID)
	for i := range stays {
		stays[i].ConversationID = id
	}
	must(t, s.Project(background(), []im.Conversation{{ID: id, Type: im.Group, Key: groupID, CreatedAt: startMs}}, stays))
	return id
}

// entry is an inbox entry of a message event.
func entry(conversationID string, seq int64) im.InboxEntry {
	e := message(conversationID, "", seq)
	return im.InboxEntry{
		EventID: im.EventIDOf(e.ID), Kind: im.KindMessage, MessageID: e.ID,
		ConversationID: conversationID, ConversationSeq: seq,
	}
}

// block is n message entries of a user's inbox; the conversation seqs are the
// inbox seqs.
func block(user string, first int64, n int) im.Block {
	b := im.Block{UserID: user, FirstSeq: first, AtMs: startMs}
	for i := range int64(n) {
		b.Entries = append(b.Entries, entry(im.DirectConversation(user, "peer"), first+i))
	}
	return b
}

func commitBlocks(t *testing.T, s transfer.Store, blocks ...im.Block) {
	t.Helper()
	must(t, s.CommitInbox(background(), &im.InboxCommit{Blocks: blocks}))
}

func headOf(t *testing.T, s transfer.Store, user string) int64 {
	t.Helper()
	heads, err := s.Heads(background(), []string{user})
	must(t, err)
	return heads[0].Head
}

func pack(commit int64, partition int, body string) im.Pack {
	return im.Pack{Ref: im.PackRef{Commit: commit, Partition: partition}, Partition: partition, Body: []byte(body)}
}

func pending(t *testing.T, s transfer.Store) []im.Pack {
	t.Helper()
	packs, err := s.PendingPacks(background())
	must(t, err)
	return packs
}
