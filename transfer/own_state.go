package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// What concerns one user alone (how they see conversations, contacts, their profile)
// is changed by entries of their own inbox. The entry is the truth, its place the
// fence: the rows that say how things stand are written behind it, each with the seq
// of the entry that it reflects, and only where that is higher. So a commit that is
// done twice, or late, or by an owner who was overtaken, changes nothing that is newer.

// ownItem is a command of a user's, or what another user tells them, on its way
// through a commit.
type ownItem struct {
	user     *inboxUser
	command  *imv1.OwnCommand
	wish     string             // what it asks for, condensed
	told     *imv1.ContactEvent // instead of a command
	repeat   *ownItem           // the same command, earlier in this batch
	conflict error              // why it is refused
}

// ownEffect is what an entry makes of its user's state, once it has its seq. Where
// there is no entry, entry is -1 and the seq 0.
type ownEffect struct {
	entry int // of the commit's planned ones
	apply func(seq int64, c *inboxCommit)
}

// tell is what a user's wish tells the one whom it is about.
type tell struct {
	key  im.RelationKey
	wish im.Wish
	what *imv1.ContactEvent
}

// ownLoad is what the store says of those whom a commit's items concern, with what the
// items before have made of it.
type ownLoad struct {
	found     map[im.EntryKey]int64 // entries that are in the inboxes already
	marks     map[im.ReadKey]*im.ReadMark
	relations map[im.RelationKey]*im.Relation
	users     map[string]*im.User
	doubtful  map[string]bool // users whose row may not show what their entries say
}

// changesOwn reports whether a commit has to do with its users' own state.
func (c *inboxCommit) changesOwn() bool {
	return len(c.items)+len(c.blocks)+len(c.round.contacts) > 0
}

// planOwn works out what a commit's items change, with an entry for each change.
func (b *inbox) planOwn(ctx context.Context, c *inboxCommit) error {
	c.effects, c.tells, c.again = nil, nil, 0
	if !c.changesOwn() {
		return nil
	}
	l, err := b.loadOwn(ctx, c)
	if err != nil {
		return err
	}
	for _, key := range c.round.contacts { // as they are, before what follows changes them
		c.tellAgain(l.relations[key])
	}
	for _, i := range c.blocks {
		if err := c.planBlocked(i, l); err != nil {
			return err
		}
	}
	first := map[im.EventID]*ownItem{}
	for _, item := range c.items {
		item.conflict, item.repeat = nil, nil
		if item.told != nil {
			if err := b.planTold(item, l, c); err != nil {
				return err
			}
			continue
		}
		id := item.eventID("")
		if item.repeat = first[id]; item.repeat != nil {
			continue
		}
		first[id] = item
		if err := b.planOwnCommand(item, l, c); err != nil {
			return err
		}
	}
	return nil
}

// planOwnCommand plans what a command asks for. A refusal is kept for the answer.
func (b *inbox) planOwnCommand(item *ownItem, l *ownLoad, c *inboxCommit) (err error) {
	switch what := item.command.Change.What.(type) {
	case *imv1.OwnChange_Delete:
		err = b.planDelete(item, what.Delete, l, c)
	case *imv1.OwnChange_View:
		err = b.planView(item, what.View, l, c)
	case *imv1.OwnChange_Contact:
		err = b.planContact(item, what.Contact, l, c)
	case *imv1.OwnChange_Profile:
		err = b.planProfile(item, what.Profile, l, c)
	}
	var refusal *im.Error
	if errors.As(err, &refusal) {
		item.conflict, err = refusal, nil
	}
	return err
}

// eventID names a command's entry, or one of several. What it asks for is in the name:
// another wish under the same client id is another command.
func (i *ownItem) eventID(part string) im.EventID {
	if i.wish == "" {
		i.wish = wishOf(i.command.Change)
	}
	return im.DerivedEventID("own", i.user.id, i.command.DeviceId, i.command.Change.ClientId, i.wish, part)
}

// wishOf condenses what a command asks for. There are no maps in it, so that its encoding
// is always the same.
func wishOf(change *imv1.OwnChange) string {
	encoded, err := (&imv1.OwnChange{What: change.What}).MarshalVT()
	if err != nil {
		return "" // it came encoded
	}
	sum := sha256.Sum256(encoded)
	return string(sum[:16])
}

// loadOwn reads all that the items need, in a few queries.
func (b *inbox) loadOwn(ctx context.Context, c *inboxCommit) (*ownLoad, error) {
	l := &ownLoad{
		found: map[im.EntryKey]int64{}, marks: map[im.ReadKey]*im.ReadMark{},
		relations: map[im.RelationKey]*im.Relation{}, users: map[string]*im.User{}, doubtful: map[string]bool{},
	}
	w := wantedOf(c)
	found, err := b.store.FindEntries(ctx, w.entries)
	if err != nil {
		return nil, fmt.Errorf("look for entries: %w", err)
	}
	for _, f := range found {
		l.found[im.EntryKey{UserID: f.UserID, EventID: f.EventID}] = f.Seq
	}
	if err := l.load(ctx, b.store, w); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *ownLoad) load(ctx context.Context, store Store, w *ownWanted) error {
	if len(w.marks) > 0 {
		marks, err := store.Marks(ctx, w.marks)
		if err != nil {
			return fmt.Errorf("load marks: %w", err)
		}
		for i, key := range w.marks {
			l.marks[key] = &marks[i]
		}
	}
	if len(w.relations) > 0 {
		relations, err := store.Relations(ctx, w.relations)
		if err != nil {
			return fmt.Errorf("load relations: %w", err)
		}
		for i, key := range w.relations {
			l.relations[key] = &relations[i]
		}
	}
	if len(w.users) > 0 {
		users, err := store.UsersByID(ctx, w.users)
		if err != nil {
			return fmt.Errorf("load users: %w", err)
		}
		for i := range users {
			l.users[users[i].ID] = &users[i]
		}
	}
	return nil
}

// ownWanted is what the items of a commit need to know.
type ownWanted struct {
	entries   []im.EntryKey
	marks     []im.ReadKey
	relations []im.RelationKey
	users     []string
}

func wantedOf(c *inboxCommit) *ownWanted {
	w := &ownWanted{relations: c.round.contacts}
	w.relations = w.relations[:len(w.relations):len(w.relations)]
	for _, item := range c.items {
		if item.told != nil {
			w.entry(item, toldEventID(item))
			w.relations = append(w.relations, im.RelationKey{UserID: item.user.id, PeerID: item.told.UserId})
			continue
		}
		switch what := item.command.Change.What.(type) {
		case *imv1.OwnChange_Delete:
			for _, m := range what.Delete.Messages {
				w.entry(item, item.eventID(m.ConversationId))
			}
		case *imv1.OwnChange_View:
			w.entry(item, item.eventID(""))
			w.entry(item, item.eventID(partCleared))
			w.marks = append(w.marks, im.ReadKey{UserID: item.user.id, ConversationID: what.View.ConversationId})
		case *imv1.OwnChange_Contact:
			w.entry(item, item.eventID(""))
			w.relations = append(w.relations, im.RelationKey{UserID: item.user.id, PeerID: what.Contact.UserId})
		case *imv1.OwnChange_Profile:
			w.entry(item, item.eventID(""))
			w.users = append(w.users, item.user.id)
		}
	}
	return w
}

func (w *ownWanted) entry(item *ownItem, id im.EventID) {
	w.entries = append(w.entries, im.EntryKey{UserID: item.user.id, EventID: id})
}

// done reports whether an item's entry is in the inbox already: then what it makes of
// the state is written again, and nothing is judged.
func (l *ownLoad) done(item *ownItem, id im.EventID) bool {
	_, in := l.seqOf(item, id)
	return in
}

func (l *ownLoad) seqOf(item *ownItem, id im.EventID) (seq int64, done bool) {
	seq, done = l.found[im.EntryKey{UserID: item.user.id, EventID: id}]
	return seq, done
}

// addEntry plans an entry for an item's user and what it makes of their state.
func (c *inboxCommit) addEntry(item *ownItem, id im.EventID, kind im.Kind, entry *imv1.Entry, l *ownLoad, apply func(int64, *inboxCommit)) error {
	data, err := entry.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode an entry of kind %s: %w", kind, err)
	}
	p := plannedEntry{
		user: item.user, envelope: &imv1.InboxEnvelope{UserIds: []string{item.user.id}},
		entry: im.InboxEntry{EventID: id, Kind: kind, Data: data},
	}
	p.seq, p.dropped = l.seqOf(item, id)
	c.effects = append(c.effects, ownEffect{len(c.planned), apply})
	c.planned = append(c.planned, p)
	return nil
}

// settleOwn works out the users' state by the seqs that the entries have now, and what
// others are told of it.
func (b *inbox) settleOwn(c *inboxCommit) error {
	if !c.changesOwn() {
		return nil
	}
	again := c.tells[:c.again:c.again]
	c.commit.Own, c.tells = im.OwnState{}, again
	for _, e := range c.effects {
		seq := int64(0)
		if e.entry >= 0 {
			seq = c.planned[e.entry].seq
		}
		e.apply(seq, c)
	}
	return b.packTells(c)
}

// answerOwn answers a commit's commands.
func (b *inbox) answerOwn(c *inboxCommit) {
	for _, item := range c.items {
		if item.command == nil {
			continue
		}
		conflict := item.conflict
		if item.repeat != nil {
			conflict = item.repeat.conflict
		}
		if conflict != nil {
			b.server.answer(item.command.Origin, errorReply(conflict))
			continue
		}
		b.server.answer(item.command.Origin, &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{
			ClientMsgId: item.command.Change.ClientId,
		}}})
	}
}

// dataOf is an entry's data; it holds texts and bools only.
func dataOf(values map[string]*structpb.Value) *structpb.Struct {
	return &structpb.Struct{Fields: values}
}
