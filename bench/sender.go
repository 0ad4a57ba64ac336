package bench

import (
	"fmt"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// retryAfter is how long a refused message waits where the server names no time.
const retryAfter = 200 * time.Millisecond

// stream is what one device sends to one conversation.
type stream struct {
	device       *device
	to           *imv1.To
	conversation check.ConversationRef
	fanout       int    // devices that get each message
	last         uint32 // number sent last
	left         int    // closed loop: how many may still be sent; -1 without end
	plain, named *frameTemplate
}

// sender is the sending half of a device, under its mu.
type sender struct {
	streams     []*stream
	number      uint32 // given last
	oldest      uint32 // no lower number is unanswered
	slots       []slot // a ring by number, as long as a power of two
	unanswered  int
	transmitted uint32        // highest number that was sent at all
	retryAt     time.Duration // not 0: refused messages wait until then, and new ones behind them
}

// slot is a message that may still be unanswered.
type slot struct {
	at     time.Duration // when it was meant to be sent
	number uint32
	stream uint16
	state  slotState
}

type slotState uint8

const (
	answeredSlot slotState = iota
	pendingSlot            // sent, no answer yet
	waitingSlot            // to be sent again
)

func (s *sender) slot(number uint32) *slot {
	if len(s.slots) == 0 {
		return nil
	}
	slot := &s.slots[number&uint32(len(s.slots)-1)]
	if slot.number != number || slot.state == answeredSlot {
		return nil
	}
	return slot
}

// newSlot gives the next number a place, making the ring longer where it is full.
func (s *sender) newSlot() *slot {
	s.number++
	if s.oldest == 0 {
		s.oldest = 1
	}
	if int(s.number-s.oldest) >= len(s.slots) {
		longer := make([]slot, max(16, 2*len(s.slots)))
		for _, old := range s.slots {
			longer[old.number&uint32(len(longer)-1)] = old
		}
		s.slots = longer
	}
	fresh := &s.slots[s.number&uint32(len(s.slots)-1)]
	*fresh = slot{number: s.number}
	return fresh
}

// settle marks a message as answered.
func (s *sender) settle(slot *slot) {
	slot.state = answeredSlot
	s.unanswered--
	for s.oldest <= s.number && s.slot(s.oldest) == nil {
		s.oldest++
	}
}

// send sends the stream's next message, which was meant to be sent at a time. While
// refused ones wait it waits behind them. The caller holds mu and flushes.
func (d *device) send(index int, at time.Duration) {
	slot := d.newSlot()
	slot.at, slot.stream, slot.state = at, uint16(index), waitingSlot
	d.unanswered++
	if d.retryAt == 0 && d.maySend() {
		d.transmit(slot)
	} else if d.retryAt == 0 {
		d.retryAt = at + 1 // the next session sends it
	}
}

// transmit encodes a message and records it.
func (d *device) transmit(slot *slot) {
	s := d.streams[slot.stream]
	after, named := d.predecessor(s, slot)
	template := s.plain
	if named {
		template = s.named
	}
	var hash uint32
	d.conn.out, hash = template.append(d.conn.out, slot.number, after, slot.at, d.user.id)
	d.sends.Sent(check.Sent{
		At: d.now, Number: slot.number, Conversation: s.conversation, After: after, Named: named, Hash: hash,
	})
	slot.state = pendingSlot
	s.last = max(s.last, slot.number)
	if slot.number > d.transmitted {
		d.transmitted = slot.number
		d.tally.sent++
	} else {
		d.tally.resent++
	}
}

// predecessor returns the number that a message must stay behind, and whether to
// name it on the wire: the nearest one before it that is not yet answered. Where
// all are, it is the one sent last.
func (d *device) predecessor(s *stream, of *slot) (number uint32, named bool) {
	for n := of.number - 1; n >= d.oldest && n > 0 && !d.run.config.NoAfter; n-- {
		if slot := d.slot(n); slot != nil && slot.stream == of.stream {
			return n, true
		}
	}
	if s.last < of.number {
		return s.last, false
	}
	return 0, false
}

// answered handles a send_ack.
func (d *device) answered(f wire.Frame) error {
	var a answer
	if err := d.conn.scan.sendAck(f.Body, &a); err != nil {
		return err
	}
	number := numberOf(a.clientID)
	if f.Seq != int32(firstSequence+number) {
		return fmt.Errorf("the send_ack with sequence %d is for the client_msg_id of sequence %d", f.Seq, firstSequence+number)
	}
	d.arrivals.Acked(check.Answer{
		At: d.now, Number: number, MessageID: a.messageID, Conversation: d.run.conversation(a.conversation),
		ConversationSeq: a.conversationSeq, Duplicate: a.duplicate,
	})
	if d.visit != nil {
		d.visit.room.answered(a.conversationSeq)
	}
	if slot := d.slot(number); slot != nil {
		d.tally.acked++
		d.tally.expected += d.streams[slot.stream].fanout
		d.tally.acks = append(d.tally.acks, span{slot.at, d.now})
		d.settle(slot)
	}
	return nil
}

// refused handles an error: the answer to a message, or to something that must not
// fail.
func (d *device) refused(f wire.Frame) error {
	var e imv1.Error
	if err := wire.Unmarshal(f.Form, f.Body, &e); err != nil {
		return err
	}
	if f.Seq <= firstSequence {
		return im.Errorf(im.Code(e.Code), "%s", e.Message)
	}
	number, code := uint32(f.Seq-firstSequence), im.Code(e.Code)
	d.arrivals.Refused(d.now, number, code)
	d.tally.refuse(code, time.Duration(e.RetryAfterMs)*time.Millisecond)
	slot := d.slot(number)
	switch {
	case slot == nil:
	case code.Final():
		d.settle(slot)
	default:
		slot.state = waitingSlot
		wait := max(retryAfter, time.Duration(e.RetryAfterMs)*time.Millisecond)
		d.retryAt = max(d.retryAt, d.now+wait)
	}
	return nil
}

// retry sends again, in order, what waits for it: no more than a window at once, and
// the rest when that has been answered. Whoever sent all of it would be refused most
// of it again.
func (d *device) retry() {
	if d.retryAt == 0 || d.now < d.retryAt {
		return
	}
	d.retryAt = 0
	for n, out := d.oldest, 0; n <= d.number; n++ {
		slot := d.slot(n)
		switch {
		case slot == nil:
			continue
		case out == d.run.config.Window:
			d.retryAt = d.now
			return
		case slot.state == waitingSlot:
			d.transmit(slot)
		}
		out++
	}
}

// resendAll makes everything unanswered wait to be sent again at once: a new
// session begins.
func (d *device) resendAll() {
	for n := d.oldest; n > 0 && n <= d.number; n++ {
		if slot := d.slot(n); slot != nil {
			slot.state = waitingSlot
			d.retryAt = d.now
		}
	}
	if d.retryAt != 0 {
		d.retryAt = d.now
		d.retry()
	}
}

// refill keeps a closed loop's window full. It answers what one read brought with
// one write.
func (d *device) refill() {
	if len(d.streams) == 0 || d.retryAt != 0 || !d.run.sending.Load() {
		return
	}
	for i := 0; d.unanswered < d.run.config.Window && i < len(d.streams); {
		s := d.streams[i]
		if s.left == 0 {
			i++
			continue
		}
		s.left--
		d.send(i, d.now)
	}
}
