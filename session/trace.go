package session

import (
	"slices"
	"strconv"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Tracer decides which sends are traced, and takes the spans of those and of what
// is delivered of them.
type Tracer interface {
	// Join decides about a send that brings a trace, or none. It returns the place of
	// the send's own span, which is Sampled; otherwise what the send carries on.
	Join(from im.Trace) im.Trace
	// Report takes a span that is over. It must not block.
	Report(span im.Span)
}

// maxUnacked bounds the traced entries of one session whose ack is waited for; of
// more, the oldest are not waited for any longer.
const maxUnacked = 64

// traces is what a session knows of traced messages. Its mu guards it.
type traces struct {
	sends   []tracedSend // some of unanswered
	waiting []delivery   // in out; the window bounds them, as the next
	writing []delivery   // being written
	unacked []delivery   // written; Start is when
}

// tracedSend is a send that has no answer, whose span ends with that.
type tracedSend struct {
	publish *imv1.Publish
	span    im.Span
}

// delivery is an entry on its way to the device.
type delivery struct {
	seq  int64
	span im.Span
}

// join decides whether a send is traced, and lets it say so from here on. What is no
// b3 is left to accept, which refuses it.
func (s *Session) join(publish *imv1.Publish, b3 string) {
	tracer := s.hub.config.Tracer
	from, ok := im.ParseTrace(b3)
	if tracer == nil || !ok {
		return
	}
	place := tracer.Join(from)
	publish.B3 = place.String()
	if !place.Sampled() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember().sends = append(s.traces.sends, tracedSend{publish, im.Span{
		Trace: place, Name: "send", Kind: im.SpanServer, Start: time.Now(), Tags: map[string]string{},
	}})
}

func (s *Session) remember() *traces {
	if s.traces == nil {
		s.traces = &traces{}
	}
	return s.traces
}

// traceAnswered ends the span of a send. The caller holds mu, here and below.
func (s *Session) traceAnswered(publish *imv1.Publish, ack *imv1.SendAck, code im.Code) {
	if s.traces == nil {
		return
	}
	i := slices.IndexFunc(s.traces.sends, func(t tracedSend) bool { return t.publish == publish })
	if i < 0 {
		return
	}
	span := s.traces.sends[i].span
	s.traces.sends = slices.Delete(s.traces.sends, i, i+1)
	if ack != nil {
		span.Tags["conversation.id"] = ack.ConversationId
		span.Tags["message.id"] = strconv.FormatInt(ack.MessageId, 10)
	}
	s.report(span, string(code))
}

// report ends a span now.
func (s *Session) report(span im.Span, failure string) {
	if span.End = time.Now(); failure != "" {
		span.Tags["error"] = failure
	}
	s.hub.config.Tracer.Report(span)
}

// traceDelivery begins the span of an entry that was put into the outbox.
func (s *Session) traceDelivery(seq int64, p *pushed) {
	place, ok := im.ParseTrace(p.b3)
	if s.hub.config.Tracer == nil || !ok || !place.Sampled() {
		return
	}
	message := p.traced()
	s.remember().waiting = append(s.traces.waiting, delivery{seq, im.Span{
		Trace: place.Child(), Name: "deliver", Start: p.at, Tags: map[string]string{
			"inbox.seq": strconv.FormatInt(seq, 10), "platform": s.platform,
			"conversation.id": message.GetConversationId(), "message.id": strconv.FormatInt(message.GetMessageId(), 10),
		},
	}})
}

// traced returns the message in a traced push, which is decoded once.
func (p *pushed) traced() *imv1.Message {
	if p.message == nil {
		var entry imv1.Entry
		_ = entry.UnmarshalVT(p.proto) // what can not be decoded has no ids to show
		if p.message = entry.Message; p.message == nil {
			p.message = &imv1.Message{}
		}
	}
	return p.message
}

// traceWriting notes that what waited is being written.
func (s *Session) traceWriting() {
	if t := s.traces; t != nil {
		t.writing, t.waiting = t.waiting, t.writing[:0]
	}
}

// traceWritten ends the spans of what was being written, and begins to wait for the
// device's acks.
func (s *Session) traceWritten() {
	if s.traces == nil || len(s.traces.writing) == 0 {
		return
	}
	t := s.traces
	for _, d := range t.writing {
		if s.abandoned {
			s.report(d.span, "the connection broke")
			continue
		}
		s.report(d.span, "")
		d.span.Trace, d.span.Name, d.span.Start = d.span.Sibling(), "ack", time.Now()
		t.unacked = append(t.unacked, d)
	}
	t.writing = t.writing[:0]
	t.unacked = t.unacked[max(0, len(t.unacked)-maxUnacked):]
	s.traceAcked() // the device may have been quicker than the writer
}

// traceAcked ends the spans of what the device has acknowledged.
func (s *Session) traceAcked() {
	if s.traces == nil {
		return
	}
	s.traces.unacked = slices.DeleteFunc(s.traces.unacked, func(d delivery) bool {
		if d.seq > s.acked {
			return false
		}
		s.report(d.span, "")
		return true
	})
}

// traceEnd ends the spans that the session leaves open. That an ack has not come is
// no failure: the next connection of the device may bring it.
func (s *Session) traceEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traces == nil {
		return
	}
	for _, send := range s.traces.sends {
		s.report(send.span, "the connection ended before the answer")
	}
	for _, d := range slices.Concat(s.traces.writing, s.traces.waiting) {
		s.report(d.span, "the connection ended")
	}
	s.traces = nil
}
