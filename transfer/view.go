package transfer

import (
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// partCleared names the second entry of a change of view.
const partCleared = "cleared"

// planDelete takes messages out of a user's own view: one entry for each conversation.
// What may be seen was judged where the messages were found, and never becomes less.
func (b *inbox) planDelete(item *ownItem, wanted *imv1.DeleteForMe, l *ownLoad, c *inboxCommit) error {
	var order []string
	places := map[string][]*imv1.MessagePlace{}
	for _, m := range wanted.Messages {
		if places[m.ConversationId] == nil {
			order = append(order, m.ConversationId)
		}
		places[m.ConversationId] = append(places[m.ConversationId], m)
	}
	for _, conversation := range order {
		messages, ids := places[conversation], []int64{}
		for _, m := range messages {
			ids = append(ids, m.MessageId)
		}
		shown := &imv1.Entry{AtMs: b.server.now().UnixMilli(), Deleted: &imv1.Deleted{ConversationId: conversation, MessageIds: ids}}
		apply := func(_ int64, c *inboxCommit) { deleteFor(item.user.id, conversation, messages, &c.commit.Own) }
		if err := c.addEntry(item, item.eventID(conversation), im.KindDeleted, shown, l, apply); err != nil {
			return err
		}
	}
	return nil
}

func deleteFor(userID, conversation string, messages []*imv1.MessagePlace, own *im.OwnState) {
	upto := int64(0)
	for _, m := range messages {
		upto = max(upto, m.ConversationSeq)
		own.Deleted = append(own.Deleted, im.Deletion{
			UserID: userID, EventRef: im.EventRef{ConversationID: conversation, Seq: m.ConversationSeq},
		})
	}
	own.Views = append(own.Views, im.ReadMark{UserID: userID, ConversationID: conversation, DeletedUpto: upto})
}

// planView changes how a user sees a conversation. What is set so already makes no
// entry.
func (b *inbox) planView(item *ownItem, wanted *imv1.ViewChange, l *ownLoad, c *inboxCommit) error {
	mark := l.marks[im.ReadKey{UserID: item.user.id, ConversationID: wanted.ConversationId}]
	nowMs := b.server.now().UnixMilli()
	id := item.eventID("")
	seq, done := l.seqOf(item, id)
	cleared := l.done(item, item.eventID(partCleared))
	judged := cleared && !done // before: then the flags were so, whatever they are now
	if !judged && (setFlags(mark, wanted, seq, done) || done) {
		data := map[string]*structpb.Value{}
		for name, value := range flagsOf(wanted) {
			if value != nil {
				data[name] = structpb.NewBoolValue(*value)
			}
		}
		shown := &imv1.Entry{AtMs: nowMs, Conversation: &imv1.ConversationView{ConversationId: wanted.ConversationId, Data: dataOf(data)}}
		apply := func(seq int64, c *inboxCommit) {
			c.commit.Own.Views = append(c.commit.Own.Views, flagsAt(seq, item.user.id, wanted))
		}
		if err := c.addEntry(item, id, im.KindConversation, shown, l, apply); err != nil {
			return err
		}
	}
	id = item.eventID(partCleared)
	if wanted.ClearedUpto <= mark.ClearedUpto && !cleared {
		return nil
	}
	mark.ClearedUpto = max(mark.ClearedUpto, wanted.ClearedUpto)
	shown := &imv1.Entry{AtMs: nowMs, Deleted: &imv1.Deleted{ConversationId: wanted.ConversationId, Upto: wanted.ClearedUpto}}
	return c.addEntry(item, id, im.KindDeleted, shown, l, func(_ int64, c *inboxCommit) {
		c.commit.Own.Views = append(c.commit.Own.Views, im.ReadMark{
			UserID: item.user.id, ConversationID: wanted.ConversationId, ClearedUpto: wanted.ClearedUpto,
		})
	})
}

// flagsOf returns the flags of a change, nil for those that stay.
func flagsOf(v *imv1.ViewChange) map[string]*bool {
	return map[string]*bool{"muted": v.Muted, "pinned": v.Pinned, "hidden": v.Hidden, "unread": v.Unread}
}

// setFlags lets a mark show a change, for what follows in the batch, and reports
// whether it did not. One that is done already shows as what it was, unless something
// newer stands.
func setFlags(mark *im.ReadMark, v *imv1.ViewChange, seq int64, done bool) (changed bool) {
	set := func(flag *im.Flag, to *bool) {
		switch {
		case to == nil:
		case done:
			*flag = max(*flag, im.FlagAt(seq, *to))
		case flag.On() != *to:
			*flag, changed = im.FlagAt(int64(*flag>>1)+1, *to), true
		}
	}
	set(&mark.Muted, v.Muted)
	set(&mark.Pinned, v.Pinned)
	set(&mark.Hidden, v.Hidden)
	set(&mark.Unread, v.Unread)
	return changed
}

// flagsAt is what a store makes of a change whose entry has a seq.
func flagsAt(seq int64, userID string, v *imv1.ViewChange) im.ReadMark {
	mark := im.ReadMark{UserID: userID, ConversationID: v.ConversationId}
	set := func(flag *im.Flag, to *bool) {
		if to != nil {
			*flag = im.FlagAt(seq, *to)
		}
	}
	set(&mark.Muted, v.Muted)
	set(&mark.Pinned, v.Pinned)
	set(&mark.Hidden, v.Hidden)
	set(&mark.Unread, v.Unread)
	return mark
}
