package session

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// disconnect ends the session: the reason is the last thing written, the sending
// side is shut, and the reader is woken to linger. Only the first call counts.
func (s *Session) disconnect(code im.DisconnectCode, reason string, retryAfter time.Duration) {
	s.disconnectTo(code, reason, retryAfter, "")
}

// disconnectTo is disconnect with the address of a server to come to; empty = the client
// asks the gateway API for one.
func (s *Session) disconnectTo(code im.DisconnectCode, reason string, retryAfter time.Duration, address string) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.answerBeats()
	s.put(wire.OpDisconnect, 0, &imv1.Disconnect{
		Code: string(code), Reason: reason, Reconnect: code.Reconnect(), RetryAfterMs: milliseconds(retryAfter), Address: address,
	})
	out := s.buffer()
	*out = s.conn.Goodbye(*out, code)
	s.closing, s.ended = true, uint8(code.Number()) //nolint:gosec // below 21
	s.conn.NetConn().SetReadDeadline(time.Unix(1, 0))
	s.setWriteDeadline()
	s.wake()
	s.mu.Unlock()
	s.flush()
}

// left ends the session of a client that has closed: what is pending, such as
// the answer to its goodbye, is still written.
func (s *Session) left() {
	s.mu.Lock()
	if s.closing = true; s.ended == 0 {
		s.ended = endLeft
	}
	s.setWriteDeadline()
	s.wake()
	s.mu.Unlock()
	s.flush()
}

// abandon closes the connection without a word: it is gone, or nobody reads.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing, s.abandoned = true, true; s.ended == 0 {
		s.ended = endLost
	}
	s.out, s.opened = nil, false
	closeNow(s.conn.NetConn())
	s.wake()
}

// kicked is the owner's word that the session has to go; not for who has signed in anew,
// and shown the new token, meanwhile.
func (s *Session) kicked(k *imv1.Kicked) {
	s.mu.Lock()
	stays := k.Grant != 0 && k.Grant != s.grant
	s.mu.Unlock()
	if stays {
		return
	}
	code := im.DisconnectCode(k.Code)
	if code.Number() == 0 {
		code = im.Kicked
	}
	var retryAfter time.Duration
	if code.Reconnect() {
		retryAfter = time.Second
	}
	s.disconnect(code, k.Reason, retryAfter)
}

func milliseconds(d time.Duration) int32 {
	return int32(min(d.Milliseconds(), 1<<31-1)) //nolint:gosec // bounded
}
