package transfer

import (
	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// durableAck waits for its cursor to be stored.
type durableAck struct {
	origin *imv1.Origin
	seq    int64
}

// ack moves a device's cursor up. An ack above the head as the store has it is a
// protocol error: nothing there can be safe on a device. stored is that head, if it
// has been read since the ack came; else one above our own waits for it.
func (b *inbox) ack(from *gateway, a *imv1.Acked, stored int64) {
	user := b.known(a.UserId)
	if user == nil || a.Seq > user.head && stored == notRead {
		b.waitToAck(from, a)
		return
	}
	if a.Seq > max(user.head, stored) {
		b.refuseAck(from, a)
		return
	}
	cursor := user.cursor(a.DeviceId)
	if a.Seq > cursor.Seq {
		cursor.Seq = a.Seq
		im.CrashPoint(im.CrashAckTaken)
		user.setCursor(cursor)
		b.cursors[cursorKey{user.id, a.DeviceId}] = cursor
		b.moved(cursorKey{user.id, a.DeviceId}, 0, a.Seq)
		b.tellOthers(user, from, a)
		b.due.acked(user.id)
		b.armReceipts()
	}
	switch origin := originOf(from, a); {
	case a.Request == 0:
	case !a.Durable:
		b.server.answer(origin, ackReply(cursor.Seq))
	case b.asked+len(b.durable) >= maxAsked:
		b.server.answer(origin, errorReply(errBehind()))
	default:
		b.durable = append(b.durable, durableAck{origin: origin, seq: cursor.Seq})
	}
}

// waitToAck keeps an ack until its user has been loaded: of one session the highest
// only, but all that want an answer, up to a bound.
func (b *inbox) waitToAck(from *gateway, a *imv1.Acked) {
	if a.Request != 0 && b.asked+len(b.durable) >= maxAsked {
		b.server.answer(originOf(from, a), errorReply(errBehind()))
		return
	}
	user := b.users[a.UserId]
	w := b.want(a.UserId, user == nil || a.Seq > user.head, user == nil || user.cursors == nil)
	if a.Request != 0 {
		b.asked++
	} else {
		for i := range w.acks {
			if old := &w.acks[i]; old.from == from && old.what.Session == a.Session && old.what.Request == 0 {
				if a.Seq > old.what.Seq {
					old.what = a
				}
				return
			}
		}
	}
	w.acks = append(w.acks, asked[*imv1.Acked]{from, a})
}

func originOf(from *gateway, a *imv1.Acked) *imv1.Origin {
	return &imv1.Origin{Gateway: from.id, Session: a.Session, Request: a.Request}
}

func ackReply(seq int64) *imv1.Reply {
	return &imv1.Reply{What: &imv1.Reply_AckReply{AckReply: &imv1.AckReply{Seq: seq}}}
}

func errBehind() *im.Error {
	return im.Retry(im.Unavailable, retrySoon, "too many acks wait for the store")
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

func (b *inbox) refuseAck(from *gateway, a *imv1.Acked) {
	if a.Durable { // a request over HTTP: there is no connection to close
		b.server.answer(originOf(from, a), errorReply(im.Errorf(im.Invalid, "seq is above the head")))
		return
	}
	from.kick(&imv1.Kicked{Session: a.Session, Code: string(im.ProtocolError), Reason: "ack above the head"})
}

func (b *inbox) answerAcks(acks []durableAck) {
	for _, a := range acks {
		b.server.answer(a.origin, ackReply(a.seq))
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
