package session

import (
	"errors"
	"net"
	"time"
)

// The deadlines of a connection that is at work move with every frame, and to move
// one costs as much as half of reading the frame. So one that has to be later is
// left where it is until that is too early by a part of the time. A reader that is
// woken by it before anything is over waits on (early). A write can not, over TLS, so
// it may have an eighth less than its patience.

// until is the first of all that end a session which stays silent, so that none of
// them needs a timer. The caller holds mu, here and below.
func (s *Session) until() time.Duration {
	until := s.last + s.hub.idle
	if s.phase == phaseNew {
		until = s.last + s.hub.config.AuthTimeout
	}
	if s.expires > 0 {
		until = min(until, s.expires)
	}
	if s.stalled > 0 {
		until = min(until, s.stalled+s.hub.config.SlowTimeout)
	}
	return until
}

// setDeadline has the read end when the session does.
func (s *Session) setDeadline() {
	if s.closing {
		return
	}
	until := s.until()
	if s.readBy > 0 && s.readBy <= until && until-s.readBy < s.hub.idle/2 {
		return
	}
	s.readBy = until
	s.conn.NetConn().SetReadDeadline(s.hub.began.Add(until))
}

// early reports whether a read has ended by a deadline that was left where it was,
// and sets the one that is due. What has been read of a message is kept.
func (s *Session) early(err error) bool {
	var network net.Error
	if !errors.As(err, &network) || !network.Timeout() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.until() <= s.hub.now() {
		return false
	}
	s.readBy = 0
	s.setDeadline()
	return true
}

// setWriteDeadline bounds the time that a write waits for the device.
func (s *Session) setWriteDeadline() {
	now, patience := s.hub.now(), s.hub.config.SlowTimeout
	switch {
	case s.closing:
		s.writeBy = now + s.hub.config.Linger
	case s.writeBy < now+patience-patience/8:
		s.writeBy = now + patience
	default:
		return
	}
	s.conn.NetConn().SetWriteDeadline(s.hub.began.Add(s.writeBy))
}
