package workload

import (
	"context"
	"errors"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// sendWindow is how many sends one session has out at once.
const sendWindow = 32

// message is one message of a device.
type message struct {
	number   uint32
	id       string // client_msg_id
	size     int
	lane     *lane
	out      bool // sent in this session, and not refused since
	answered bool // acknowledged, or refused for good

	stored  int64 // message_id, once it is acknowledged
	version int32 // as far as its sender knows
	settled bool  // recalled, or not to be altered any more
}

// lane is a conversation with its unanswered messages, in order. Each names the one
// before it; what is refused for now makes the lane go back to its beginning after a
// pause, and the server knows again what it has.
type lane struct {
	contact
	waiting  []*message
	paused   time.Time // until then
	refusals int       // since the last ack
}

// compose makes a step's message the last of its lane; it returns also the one before
// it, nil where it is the only one.
func (d *device) compose(s *step) (m, before *message) {
	key := check.Key{Device: d.recorded.Ref(), Number: s.number}
	l := d.lanes[s.lane]
	if n := len(l.waiting); n > 0 {
		before = l.waiting[n-1]
	}
	m = &message{number: s.number, id: clientID(d.run.id, key), size: s.size, lane: l}
	l.waiting = append(l.waiting, m)
	d.unanswered++
	return m, before
}

// flush sends what the lanes hold and the window lets go; it returns when a paused
// lane goes on.
func (d *device) flush(now time.Time) (due time.Time) {
	for _, l := range d.lanes {
		if l.paused.After(now) {
			if len(l.waiting) > 0 && (due.IsZero() || l.paused.Before(due)) {
				due = l.paused
			}
			continue
		}
		var before *message
		for _, m := range l.due() {
			if !m.out {
				if d.current == nil || len(d.current.sends) >= sendWindow {
					return due
				}
				d.send(m, before)
			}
			before = m
		}
	}
	return due
}

// due are the messages that may be out: after a refusal the first alone, until it is
// known that they are taken again. Else each round would send, and have refused, all
// that an outage has left.
func (l *lane) due() []*message {
	if l.refusals > 0 {
		return l.waiting[:min(1, len(l.waiting))]
	}
	return l.waiting
}

// send sends a message over the connection, behind another one if that is not nil.
func (d *device) send(m, before *message) {
	s := d.current
	m.out = true
	frame := d.frameOf(m, before)
	s.sends[s.sequence+1] = m
	d.write(s, wire.OpSend, frame)
}

// frameOf makes the frame of a message, which names the one that waits before it in
// its lane, and records that it is sent.
func (d *device) frameOf(m, before *message) *imv1.Send {
	key := check.Key{Device: d.recorded.Ref(), Number: m.number}
	text := textOf(d.run.id, key, m.size)
	frame := &imv1.Send{ClientMsgId: m.id, To: m.lane.to, Content: client.TextContent(text)}
	sent := check.Sent{At: d.run.now(), Number: m.number, Conversation: m.lane.conversation, Hash: check.Hash(d.user.id, []byte(text))}
	if before != nil {
		frame.After, sent.After, sent.Named = before.id, before.number, true
	}
	d.log.Sent(sent)
	d.tally.attempts++
	d.run.counts.sent.Add(1)
	return frame
}

// rewind has a lane sent again from its beginning.
func (l *lane) rewind() {
	for _, m := range l.waiting {
		m.out = false
	}
}

// resendAll has everything unanswered sent again, in a new session.
func (d *device) resendAll() {
	for _, l := range d.lanes {
		l.rewind()
		l.paused = time.Time{}
	}
}

// settleMessage takes a message out of its lane.
func (d *device) settleMessage(m *message) {
	m.answered = true
	d.unanswered--
	for i, other := range m.lane.waiting {
		if other == m {
			m.lane.waiting = append(m.lane.waiting[:i:i], m.lane.waiting[i+1:]...)
			return
		}
	}
}

// acked handles a send_ack.
func (d *device) acked(m *message, ack *imv1.SendAck) {
	d.run.progress()
	number := m.number
	if ack.GetClientMsgId() != m.id {
		number = 0 // what it acknowledges was not asked for
	}
	d.log.Acked(check.Answer{
		At: d.run.now(), Number: number, MessageID: ack.GetMessageId(), Conversation: d.run.conversations[ack.GetConversationId()],
		ConversationSeq: ack.GetConversationSeq(), Duplicate: ack.GetDuplicate(),
	})
	if number == 0 || m.answered {
		return
	}
	d.run.counts.acked.Add(1)
	d.settleMessage(m)
	m.lane.refusals = 0
	m.stored, m.version = ack.GetMessageId(), 1
	d.stored = append(d.stored, m)
}

// refused handles an error that answers a send.
func (d *device) refused(m *message, refusal *im.Error) {
	d.log.Refused(d.run.now(), m.number, refusal.Code)
	d.tally.refused[refusal.Code]++
	l := m.lane
	switch {
	case m.answered:
		return
	case refusal.Code.Final():
		d.run.progress()
		d.settleMessage(m)
	default:
		l.refusals++
		pause := max(refusal.RetryAfter, min(mostPause, leastPause<<min(l.refusals, 10)))
		l.paused = time.Now().Add(pause)
	}
	l.rewind()
}

// post sends a message by HTTP, beside the connection.
func (d *device) post(m, before *message) {
	d.calling, m.out = true, true
	frame, token, ctx := d.frameOf(m, before), d.tokens.AccessToken, d.work
	d.aside(func() func() {
		var ack client.Ack
		err := d.run.servers.once(ctx, token, func(ctx context.Context, api *client.API) (err error) {
			ack, err = api.SendMessage(ctx, frame)
			return err
		})
		return func() { d.posted(m, ack, err) }
	})
}

func (d *device) posted(m *message, ack client.Ack, err error) {
	d.calling = false
	var refusal *im.Error
	switch {
	case err == nil:
		d.acked(m, &imv1.SendAck{
			ClientMsgId: ack.ClientMsgID, MessageId: ack.MessageID, ConversationId: ack.ConversationID,
			ConversationSeq: ack.ConversationSeq, Duplicate: ack.Duplicate,
		})
	case errors.As(err, &refusal) && refusal.Code != im.Unauthenticated:
		d.refused(m, refusal)
	case !m.answered:
		d.noToken = d.noToken || refusal != nil
		m.lane.rewind()
	}
}
