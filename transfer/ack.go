package transfer

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// durableAck waits for its cursor to be stored.
type durableAck struct {
	origin *imv1.Origin
	seq    int64
}

// ack moves a device's cursor up. An ack above the head as the store has it is a
// protocol error: nothing there can be safe on a device.
func (b *inbox) ack(ctx context.Context, from *gateway, a *imv1.Acked) error {
	user := b.users[a.UserId]
	if a.Seq > user.head {
		head, err := b.storedHead(ctx, user.id)
		if err != nil {
			return err
		}
		if a.Seq > head {
			b.refuseAck(from, a)
			return nil
		}
	}
	cursor := user.cursors[a.DeviceId]
	cursor.UserID, cursor.DeviceID = user.id, a.DeviceId
	if a.Seq > cursor.Seq {
		cursor.Seq = a.Seq
		user.cursors[a.DeviceId] = cursor
		b.cursors[cursorKey{user.id, a.DeviceId}] = cursor
		b.tellOthers(user, from, a)
		b.due.acked(user.id)
		b.armReceipts()
	}
	if a.Request == 0 {
		return nil
	}
	origin := &imv1.Origin{Gateway: from.id, Session: a.Session, Request: a.Request}
	if a.Durable {
		b.durable = append(b.durable, durableAck{origin: origin, seq: cursor.Seq})
		return nil
	}
	b.server.answer(origin, &imv1.Reply{What: &imv1.Reply_AckReply{AckReply: &imv1.AckReply{Seq: cursor.Seq}}})
	return nil
}

// tellOthers opens the windows of the device's live sessions that the ack did not
// come from (it came over HTTP).
func (b *inbox) tellOthers(user *inboxUser, from *gateway, a *imv1.Acked) {
	for _, s := range user.sessions {
		if s.deviceID == a.DeviceId && (s.gateway != from || s.session != a.Session) {
			s.gateway.head(&imv1.HeadOf{Session: s.session, Head: user.head, Acked: a.Seq})
		}
	}
}

func (b *inbox) storedHead(ctx context.Context, userID string) (head int64, err error) {
	err = b.server.persist(ctx, b.log, func(ctx context.Context) error {
		heads, err := b.store.Heads(ctx, []string{userID})
		if err != nil {
			return fmt.Errorf("load head: %w", err)
		}
		head = heads[0].Head
		return nil
	})
	return head, err
}

func (b *inbox) refuseAck(from *gateway, a *imv1.Acked) {
	if a.Durable { // a request over HTTP: there is no connection to close
		origin := &imv1.Origin{Gateway: from.id, Session: a.Session, Request: a.Request}
		b.server.answer(origin, errorReply(im.Errorf(im.Invalid, "seq is above the head")))
		return
	}
	from.kick(&imv1.Kicked{Session: a.Session, Code: string(im.ProtocolError), Reason: "ack above the head"})
}

func (b *inbox) answerAcks(acks []durableAck) {
	for _, a := range acks {
		b.server.answer(a.origin, &imv1.Reply{What: &imv1.Reply_AckReply{AckReply: &imv1.AckReply{Seq: a.seq}}})
	}
}

// takeCursors returns the cursors that moved since they were stored last.
func (b *inbox) takeCursors() []im.Cursor {
	if len(b.cursors) == 0 {
		return nil
	}
	cursors := make([]im.Cursor, 0, len(b.cursors))
	for _, c := range b.cursors {
		cursors = append(cursors, c)
	}
	clear(b.cursors)
	return cursors
}
