package workload

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// When entries are acknowledged: after so many, or after so long.
const (
	ackEvery = 64
	ackAfter = 100 * time.Millisecond
)

// frame handles what a session has read: a frame, or its end.
func (d *device) frame(s *session, f wire.Frame, open bool) {
	if !open {
		d.lost(s, s.err)
		return
	}
	if err := d.handle(s, f); err != nil {
		d.lost(s, err)
	}
}

// handle handles a frame; an error ends the session.
func (d *device) handle(s *session, f wire.Frame) error {
	switch f.Op {
	case wire.OpDeliver:
		return with(f, &imv1.Deliver{}, func(body *imv1.Deliver) { d.deliver(s, body) })
	case wire.OpSendAck:
		return with(f, &imv1.SendAck{}, func(body *imv1.SendAck) {
			if m := s.sends[f.Seq]; m != nil {
				delete(s.sends, f.Seq)
				d.acked(m, body)
			}
		})
	case wire.OpAckReply:
		return with(f, &imv1.AckReply{}, func(body *imv1.AckReply) { d.ackReply(s, f.Seq, body.GetSeq()) })
	case wire.OpReadReply:
		return with(f, &imv1.ReadReply{}, func(body *imv1.ReadReply) { d.readReply(s, f.Seq, body.GetUpto()) })
	case wire.OpHeartbeatReply:
		return with(f, &imv1.HeartbeatReply{}, func(body *imv1.HeartbeatReply) { d.heartbeatReply(s, body.GetHead()) })
	case wire.OpError:
		var body imv1.Error
		if err := wire.Unmarshal(f.Form, f.Body, &body); err != nil {
			return err
		}
		return d.errorReply(s, f.Seq, &body)
	case wire.OpAuthReply:
		return with(f, &imv1.AuthReply{}, func(body *imv1.AuthReply) {
			if s == d.next {
				d.welcomed(s, body)
			}
		})
	case wire.OpDisconnect:
		return disconnected(f)
	}
	return nil
}

func with[B proto.Message](f wire.Frame, body B, do func(B)) error {
	if err := wire.Unmarshal(f.Form, f.Body, body); err != nil {
		return err
	}
	do(body)
	return nil
}

// disconnected makes the error that a disconnect is.
func disconnected(f wire.Frame) error {
	var body imv1.Disconnect
	if err := wire.Unmarshal(f.Form, f.Body, &body); err != nil {
		return err
	}
	return &client.EndError{
		Code: im.DisconnectCode(body.GetCode()), Reason: body.GetReason(),
		RetryAfter: time.Duration(body.GetRetryAfterMs()) * time.Millisecond,
	}
}

// errorReply handles an error: to a send, to another request, or to auth, which ends
// the session.
func (d *device) errorReply(s *session, sequence int32, body *imv1.Error) error {
	refusal := im.Retry(im.Code(body.GetCode()), time.Duration(body.GetRetryAfterMs())*time.Millisecond, body.GetMessage())
	if s == d.next {
		return refusal
	}
	delete(s.asks, sequence)
	if m := s.sends[sequence]; m != nil {
		delete(s.sends, sequence)
		d.refused(m, refusal)
	}
	return nil
}

func (d *device) deliver(s *session, body *imv1.Deliver) {
	at := d.run.now()
	d.run.progress()
	for _, entry := range body.GetEntries() {
		d.run.record(d.log, at, entry)
		if message := entry.GetMessage(); message != nil {
			ref := d.run.conversations[message.GetConversationId()]
			d.newest[ref] = max(d.newest[ref], message.GetConversationSeq())
			d.run.counts.delivered.Add(1)
		}
		d.last = max(d.last, entry.GetSeq())
	}
	if s.ackAt.IsZero() {
		s.ackAt = time.Now().Add(ackAfter)
	}
}

// record records an entry. The users are the run's own, so that every message must be
// one that it sent.
func (r *run) record(log *check.Log, at time.Duration, entry *imv1.Entry) {
	switch im.Kind(entry.GetKind()) {
	case im.KindMessage:
		m := entry.GetMessage()
		text := m.GetContent().GetText()
		key := keyOf(r.id, text)
		if m.GetRecalled() {
			key = r.keyOf(m.GetMessageId())
		}
		log.Arrived(check.Arrival{
			At: at, Seq: entry.GetSeq(), MessageID: m.GetMessageId(), Conversation: r.conversations[m.GetConversationId()],
			ConversationSeq: m.GetConversationSeq(), Key: key, Hash: check.Hash(m.GetSenderId(), []byte(text)),
			Edited: m.GetEditedAtMs() != 0, Recalled: m.GetRecalled(),
		})
	case im.KindReceipt:
		receipt := entry.GetReceipt()
		log.Receipt(at, entry.GetSeq(), r.conversations[receipt.GetConversationId()], receipt.GetUserId(),
			receipt.GetKind() == "delivered", receipt.GetUpto())
	case im.KindRecall:
		r.recordRecall(log, at, entry)
	case im.KindEdit:
		r.recordEdit(log, at, entry)
	case im.KindMembership:
		r.recordMembership(log, at, entry)
	default:
		log.Entry(at, entry.GetSeq(), int64(check.Hash(entry.GetKind(), nil)))
	}
}

// recordMembership records who came into a group of the run or went out of it, which
// the run does one by one. What made the group is another entry.
func (r *run) recordMembership(log *check.Log, at time.Duration, entry *imv1.Entry) {
	m := entry.GetMembership()
	joined := m.GetAction() == string(im.ActionJoined)
	if ref := r.conversations[m.GetConversationId()]; ref != 0 && len(m.GetUserIds()) == 1 && (joined || m.GetAction() == string(im.ActionRemoved)) {
		log.Changed(at, entry.GetSeq(), ref, m.GetConversationSeq(), m.GetUserIds()[0], joined)
		return
	}
	log.Entry(at, entry.GetSeq(), int64(check.Hash(entry.GetKind()+m.GetAction(), nil)))
}

// acknowledge acknowledges what has come, where that is due.
func (d *device) acknowledge(now time.Time) time.Time {
	s := d.current
	if s.ackAt.IsZero() || d.last <= s.acked {
		s.ackAt = time.Time{}
		return time.Time{}
	}
	if d.silent.After(now) {
		return d.silent
	}
	if !d.silent.IsZero() {
		d.silent = time.Time{}
		d.rise()
	}
	if s.ackAt.After(now) && d.last-s.acked < ackEvery {
		return s.ackAt
	}
	s.acked, s.ackAt = d.last, time.Time{}
	d.log.Cursor(d.run.now(), d.last)
	s.asks[s.sequence+1] = ask{op: wire.OpAck, seq: d.last}
	d.write(s, wire.OpAck, &imv1.Ack{Seq: d.last})
	return time.Time{}
}

func (d *device) ackReply(s *session, sequence int32, inForce int64) {
	if a, is := s.asks[sequence]; is && a.op == wire.OpAck {
		delete(s.asks, sequence)
		s.confirmed = max(s.confirmed, inForce)
		d.log.CursorReply(d.run.now(), a.seq, inForce)
	}
}

// markRead marks the conversation with most to read as read; one at a time, so that
// the answers have an order.
func (d *device) markRead() {
	s := d.current
	if s == nil {
		return
	}
	for _, a := range s.asks {
		if a.op == wire.OpRead {
			return
		}
	}
	var most *lane
	for _, l := range d.lanes {
		if unread := d.newest[l.conversation] - d.marked[l.conversation]; unread > 0 &&
			(most == nil || unread > d.newest[most.conversation]-d.marked[most.conversation]) {
			most = l
		}
	}
	if most == nil {
		return
	}
	upto := d.newest[most.conversation]
	d.marked[most.conversation] = upto
	s.asks[s.sequence+1] = ask{op: wire.OpRead, conversation: most.conversation, seq: upto}
	d.write(s, wire.OpRead, &imv1.Read{ConversationId: most.id, Upto: upto})
}

func (d *device) readReply(s *session, sequence int32, inForce int64) {
	if a, is := s.asks[sequence]; is && a.op == wire.OpRead {
		delete(s.asks, sequence)
		d.log.Read(d.run.now(), a.conversation, a.seq, inForce)
	}
}

func (d *device) heartbeatReply(s *session, head int64) {
	s.head, s.told, s.beatSince = max(s.head, head), d.phase == drain, time.Time{}
	d.log.Head(d.run.now(), head)
}
