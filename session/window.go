package session

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// room is how many more entries may be out. The caller holds mu, here and below.
func (s *Session) room() int64 {
	return s.base + int64(s.hub.config.Window) - s.cursor
}

// progress takes an acked seq, by whatever way it came. One above the head is
// for the owner to judge; here it opens the window no further than the head, and
// the rest of the way when the head is known.
func (s *Session) progress(acked int64) {
	s.acked = max(s.acked, acked)
	s.traceAcked()
	if base := min(s.acked, s.head); base > s.base {
		s.base, s.stalled = base, 0
		s.setDeadline()
	}
}

// pushed is one entry or signal on its way to several sessions of this process.
// It is turned into JSON once, by the goroutine that received it.
type pushed struct {
	proto []byte
	json  []byte
	b3    string

	at      time.Time     // of a traced one: when it came
	message *imv1.Message // and what it says
}

// push takes an entry from the owner: the next one inside the window is written
// at once; anything else only raises the head, and a page is pulled.
func (s *Session) push(seq int64, p *pushed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, seq)
	next := s.phase == phaseLive && seq == s.cursor+1 && !s.feeding && !s.closing
	if next && p.proto != nil && s.room() > 0 && s.pending() < highWater {
		if entry := p.in(s.form, wire.EntryJSON); entry != nil {
			s.deliver(seq, entry, p.b3)
			s.cursor = seq
			if p.b3 != "" {
				s.traceDelivery(seq, p)
			}
		}
	}
	s.pump()
}

// in returns the push in a form, nil when it can not be decoded.
func (p *pushed) in(form wire.Form, toJSON func([]byte) ([]byte, error)) []byte {
	if form == wire.Proto {
		return p.proto
	}
	if p.json == nil {
		p.json, _ = toJSON(p.proto) // what can not be decoded is pulled, and logged there
	}
	return p.json
}

// signal writes a signal, which is best effort: not to a device that lags.
func (s *Session) signal(p *pushed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseLive || s.closing || s.pending() >= highWater {
		return
	}
	if body := p.in(s.form, signalJSON); body != nil {
		s.putEncoded(wire.OpSignal, body)
	}
}

func signalJSON(encoded []byte) ([]byte, error) {
	var signal imv1.Signal
	if err := signal.UnmarshalVT(encoded); err != nil {
		return nil, err
	}
	return wire.AppendBody(nil, wire.JSON, &signal)
}

// ack takes what is safe on the device: it opens the window, and goes to the
// owner, who moves the stored cursor.
func (s *Session) ack(frame wire.Frame) {
	var ack imv1.Ack
	if !s.decode(frame, &ack) {
		return
	}
	if ack.Seq < 0 {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "seq is negative"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.haveRoom() {
		return
	}
	news := ack.Seq > s.told
	s.told = max(s.told, ack.Seq)
	s.progress(ack.Seq)
	im.CrashPoint(im.CrashAckRead)
	s.forward(ack.Seq, frame.Seq, news)
	s.pump()
}

// forward sends an ack to the owner: one that wants an answer as it is, others
// only as the highest. What the owner has not got is sent at the next attach.
func (s *Session) forward(seq int64, clientSeq int32, news bool) {
	if clientSeq == 0 {
		if news && s.owner != nil {
			s.owner.ack(s)
		}
		return
	}
	acked := &imv1.Acked{
		Session: s.number, Request: s.nextRequest(requestAck, clientSeq),
		UserId: s.user, DeviceId: s.device, Seq: seq,
	}
	s.ackPending = append(s.ackPending, acked)
	if s.owner != nil {
		s.owner.ackRequest(acked)
	}
}
