package transfer

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Two users are contacts while each wishes it. A user's wish is theirs: an entry of
// their inbox sets it. The other one is told, by an envelope to their inbox; of what
// each has been told, the wish of the highest seq stands. So both come to the same,
// whatever order, or how often, the envelopes arrive.

// planContact plans what a user wants of another one.
func (b *inbox) planContact(item *ownItem, wanted *imv1.ContactChange, l *ownLoad, c *inboxCommit) error {
	key := im.RelationKey{UserID: item.user.id, PeerID: wanted.UserId}
	r, id := l.relations[key], item.eventID("")
	on := wanted.Action == contactRequest || wanted.Action == contactAccept
	action, err := judgeContact(r, wanted)
	seq, done := l.seqOf(item, id)
	switch {
	case done && (im.WishAt(seq, on) <= r.Mine || seq <= r.RemarkSeq):
		return nil // the row shows it, or what came after
	case done:
		action = actionOf(r, wanted)
	case err != nil || action == "":
		return err
	}
	at := b.server.now().UnixMilli()
	if wanted.Action == contactRemark {
		r.Remark = wanted.Remark
		shown := contactEntry(wanted.UserId, item.user.id, im.ContactChanged, map[string]string{"remark": wanted.Remark}, at)
		return c.addEntry(item, id, im.KindContact, shown, l, func(seq int64, c *inboxCommit) {
			c.relate(im.Relation{RelationKey: key, RemarkSeq: seq, Remark: wanted.Remark})
		})
	}
	ends := int64(0)
	said := map[string]string{}
	if on && action == im.ContactRequested {
		said["text"] = wanted.Text
	}
	made := im.Relation{RelationKey: key, Text: said["text"], AtMs: at}
	if !on && r.Theirs.On() {
		ends, made.Theirs = r.Theirs.Seq(), r.Theirs.Ended()
		r.Theirs = made.Theirs
	}
	made.Ends = max(r.Ends, ends)                    // what was ended stays so, also where the peer is told of a newer wish only
	r.Mine = im.WishAt(max(seq, r.Mine.Seq()+1), on) // for what follows in the batch
	shown := contactEntry(wanted.UserId, item.user.id, action, said, at)
	return c.addEntry(item, id, im.KindContact, shown, l, func(seq int64, c *inboxCommit) {
		made.Mine = im.WishAt(seq, on)
		c.relate(made)
		c.tell(&made)
	})
}

// judgeContact says which action of an entry a change becomes; none where it is in
// force already.
func judgeContact(r *im.Relation, wanted *imv1.ContactChange) (im.ContactAction, error) {
	asked := r.Theirs.On() && !r.Mine.On()
	switch {
	case wanted.Action == contactRemark && !r.Contact():
		return "", im.Errorf(im.NotFound, "no such contact")
	case wanted.Action == contactAccept && r.Contact():
		return "", nil
	case (wanted.Action == contactAccept || wanted.Action == contactRefuse) && !asked:
		return "", im.Errorf(im.NotFound, "no such request")
	case wanted.Action == contactRequest && r.Mine.On(), wanted.Action == contactRemove && !r.Mine.On(),
		wanted.Action == contactRemark && r.Remark == wanted.Remark:
		return "", nil
	}
	return actionOf(r, wanted), nil
}

func actionOf(r *im.Relation, wanted *imv1.ContactChange) im.ContactAction {
	switch wanted.Action {
	case contactRemark:
		return im.ContactChanged
	case contactRefuse:
		return im.ContactRefused
	case contactRemove:
		return im.ContactRemoved
	case contactRequest:
		if !r.Theirs.On() {
			return im.ContactRequested
		}
	}
	return im.ContactAdded
}

// planTold plans what another user's wish makes of a user's relation to them.
func (b *inbox) planTold(item *ownItem, l *ownLoad, c *inboxCommit) error {
	told := item.told
	key := im.RelationKey{UserID: item.user.id, PeerID: told.UserId}
	r, wish := l.relations[key], im.Wish(told.Wish)
	if wish <= r.Theirs {
		return nil
	}
	made := im.Relation{RelationKey: key, Theirs: wish, TheirText: told.Text, TheirAtMs: told.AtMs}
	ended := r.Mine.On() && r.Mine.Seq() <= told.Ends
	action, by, said := im.ContactRequested, told.UserId, map[string]string{"text": told.Text}
	switch {
	case wish.On() && r.Mine.On() && !ended:
		action, said = im.ContactAdded, nil
	case wish.On() && r.Blocked.On():
		action = "" // it is kept, and shown when the block is over
	case wish.On():
	case ended && !r.Theirs.On():
		action, said = im.ContactRefused, nil
	case !ended && r.Contact(): // it was withdrawn as it was granted: what is left is one's own wish
		by, said = item.user.id, nil
	case ended, r.Theirs.On():
		action, said = im.ContactRemoved, nil
	default:
		action = ""
	}
	r.Theirs = wish
	if ended {
		r.Mine = im.WishAt(r.Mine.Seq()+1, false)
	}
	apply := func(seq int64, c *inboxCommit) {
		if ended {
			made.Mine = im.WishAt(seq, false)
			made.Told = made.Mine // whoever ended it knows
		}
		c.relate(made)
	}
	if action == "" {
		c.effects = append(c.effects, ownEffect{-1, apply})
		return nil
	}
	shown := contactEntry(told.UserId, by, action, said, told.AtMs)
	shown.Late = told.Late
	return c.addEntry(item, toldEventID(item), im.KindContact, shown, l, apply)
}

func toldEventID(item *ownItem) im.EventID {
	return im.DerivedEventID("contact", item.told.UserId, item.user.id, strconv.FormatInt(item.told.Wish, 10))
}

// contactEntry shows what has changed between a user and another one, and who did it.
func contactEntry(peer, by string, action im.ContactAction, said map[string]string, atMs int64) *imv1.Entry {
	data := map[string]*structpb.Value{"by": structpb.NewStringValue(by)}
	for name, value := range said {
		data[name] = structpb.NewStringValue(value)
	}
	return &imv1.Entry{AtMs: atMs, Contact: &imv1.Contact{UserId: peer, Action: string(action), Data: dataOf(data)}}
}

func (c *inboxCommit) relate(r im.Relation) {
	c.commit.Own.Relations = append(c.commit.Own.Relations, r)
}

// tell has the peer told of a wish.
func (c *inboxCommit) tell(r *im.Relation) {
	c.tells = append(c.tells, tell{key: r.RelationKey, wish: r.Mine, what: &imv1.ContactEvent{
		UserId: r.UserID, Wish: int64(r.Mine), Ends: r.Ends, Text: r.Text, AtMs: r.AtMs,
	}})
}

// tellAgain has the peer told of a wish that a former owner may not have told them.
func (c *inboxCommit) tellAgain(r *im.Relation) {
	if r.Told < r.Mine {
		c.tell(r)
	}
	c.again = len(c.tells)
}

// packTells puts what is told on its way to the inbox partitions of those whom it is
// for. A store with an outbox keeps it with the commit; the others know, by the row,
// that it is due until it has been noted that it is out.
func (b *inbox) packTells(c *inboxCommit) error {
	c.commit.Packs = c.commit.Packs[:len(c.commit.Packs):len(c.commit.Packs)]
	c.told = toldContacts{}
	for i := range c.tells {
		t := &c.tells[i]
		pack, err := b.packTo(&imv1.InboxEnvelope{
			What: &imv1.InboxEnvelope_Contact{Contact: t.what}, UserIds: []string{t.key.PeerID},
		})
		if err != nil {
			return err
		}
		note := im.Relation{RelationKey: t.key, Told: t.wish}
		if b.outbox {
			c.commit.Packs = append(c.commit.Packs, pack)
			c.relate(note)
			continue
		}
		c.told.packs, c.told.notes = append(c.told.packs, pack), append(c.told.notes, note)
	}
	return nil
}

// toldContacts is what contacts are told by a store without an outbox.
type toldContacts struct {
	packs []im.Pack
	notes []im.Relation // that they have been
}

// planBlocked notes that a user takes no messages of another one, as an event of their
// conversation tells; the event's entry is planned.
func (c *inboxCommit) planBlocked(at int, l *ownLoad) error {
	p := &c.planned[at]
	contact := &imv1.Contact{}
	if err := contact.UnmarshalVT(p.envelope.GetEvent().GetBody()); err != nil {
		return fmt.Errorf("decode a block: %w", err)
	}
	key := im.RelationKey{UserID: p.user.id, PeerID: contact.UserId}
	on := contact.Action == string(im.ContactBlocked)
	if r := l.relations[key]; r != nil {
		r.Blocked = im.FlagAt(int64(r.Blocked>>1)+1, on)
	}
	c.effects = append(c.effects, ownEffect{at, func(seq int64, c *inboxCommit) {
		c.relate(im.Relation{RelationKey: key, Blocked: im.FlagAt(seq, on)})
	}})
	return nil
}
