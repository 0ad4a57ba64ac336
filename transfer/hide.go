package transfer

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// hide is a user whose presence another one is not to see.
type hide struct{ userID, fromID string }

// hidden is since when that is so, by the conversation seq of the block and by the clock.
type hidden struct {
	seq int64
	at  time.Time
}

// hideFor is for how long a gateway that begins to watch is told of a block: whoever it
// watches for may have been judged before it.
const hideFor = 30 * time.Second

// hideFromBlocked has gateways show users no longer to those whom they have blocked. Who
// may see them after the end of a block is judged when that one asks.
func (b *inbox) hideFromBlocked(c *inboxCommit) {
	for _, at := range c.blocks {
		p := &c.planned[at]
		event, contact := p.envelope.GetEvent(), &imv1.Contact{}
		if contact.UnmarshalVT(event.GetBody()) != nil {
			continue // it would not have been planned
		}
		if delete(p.user.blocks, contact.UserId); contact.Action != string(im.ContactBlocked) {
			continue
		}
		now := b.server.now()
		for h, since := range b.hides {
			if now.Sub(since.at) >= hideFor {
				delete(b.hides, h)
			}
		}
		h, since := hide{p.user.id, contact.UserId}, hidden{event.Seq, now}
		b.hides[h] = since
		if of := b.watched[h.userID]; of != nil {
			for g := range of.by {
				g.hide(h, since)
			}
		}
	}
}

// hideAgain tells a gateway that begins to watch a user from whom that one hides by now.
func (b *inbox) hideAgain(from *gateway, userID string) {
	for h, since := range b.hides {
		if h.userID == userID && b.server.now().Sub(since.at) < hideFor {
			from.hide(h, since)
		}
	}
}

func (g *gateway) hide(h hide, since hidden) {
	g.put(func(m *imv1.ToGateway) {
		m.Hidden = append(m.Hidden, &imv1.Hidden{UserId: h.userID, FromId: h.fromID, Seq: since.seq})
	})
}
