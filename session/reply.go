package session

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// answer writes an error with the request's sequence.
func (s *Session) answer(seq int32, refusal *im.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse(seq, refusal)
}

// refuse is answer where mu is held.
func (s *Session) refuse(seq int32, refusal *im.Error) {
	s.put(wire.OpError, seq, &imv1.Error{
		Code: string(refusal.Code), Message: refusal.Message, RetryAfterMs: milliseconds(refusal.RetryAfter),
	})
}

func refusalOf(e *imv1.Error) *im.Error {
	return im.Retry(im.Code(e.Code), time.Duration(e.RetryAfterMs)*time.Millisecond, e.Message)
}

// reply takes the answer to a request; one that is not waited for is ignored.
func (s *Session) reply(r *imv1.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch requestKind(r.Request) {
	case requestAck:
		if !s.ackAnswered(r.Request) {
			return
		}
	case requestPublish:
		u := s.answered(r.Request)
		if u.publish == nil {
			return
		}
		im.CrashPoint(im.CrashReplyTaken)
		if r.GetSendAck() != nil {
			s.pace.answered(u.at, s.hub.now(), len(s.unanswered))
		}
		s.traceAnswered(u.publish, r.GetSendAck(), im.Code(r.GetError().GetCode()))
	}
	op, body := replyBody(r)
	if body != nil {
		s.put(op, requestSeq(r.Request), body)
	}
}

func replyBody(r *imv1.Reply) (wire.Op, wire.Body) {
	switch what := r.What.(type) {
	case *imv1.Reply_SendAck:
		return wire.OpSendAck, what.SendAck
	case *imv1.Reply_Error:
		return wire.OpError, what.Error
	case *imv1.Reply_ReadReply:
		return wire.OpReadReply, what.ReadReply
	case *imv1.Reply_AckReply:
		return wire.OpAckReply, what.AckReply
	}
	return 0, nil
}

// ackAnswered takes an ack off those that want an answer; false when it is not
// among them.
func (s *Session) ackAnswered(request uint64) bool {
	for i, acked := range s.ackPending {
		if acked.Request == request {
			s.ackPending = append(s.ackPending[:i:i], s.ackPending[i+1:]...)
			s.wake()
			return true
		}
	}
	return false
}
