package session

import (
	"context"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// loginTimeout bounds the call that judges an auth.
const loginTimeout = 5 * time.Second

// auth is the first frame, or a renewal of the token on a live session.
func (s *Session) auth(frame wire.Frame) {
	var auth imv1.Auth
	valid := s.decode(frame, &auth)
	renewal := s.phase == phaseLive
	if valid && auth.Protocol < 0 {
		s.disconnect(im.VersionUnsupported, "no protocol version in common", 0)
		return
	}
	switch {
	case renewal && valid:
		s.renew(frame.Seq, &auth)
	case renewal:
	case !valid:
		s.disconnect(im.DisconnectUnauthenticated, "auth is refused", 0)
	default:
		s.login(frame.Seq, &auth)
		s.leaveLogins()
	}
}

// login has an auth judged, attaches to the inbox, answers, and begins to
// deliver. The token is judged once more when attached: it may have been revoked,
// and the device kicked, in between. From the attach on a kick finds the session.
// Who has given up meanwhile is not attached: a server that was paused would take the
// place of sessions that its clients have found elsewhere.
func (s *Session) login(seq int32, auth *imv1.Auth) {
	s.setPhase(phaseLogin)
	if s.crowded > 0 {
		s.refuseLogin(seq, im.Retry(im.Unavailable, s.crowded, "too many are logging in"))
		return
	}
	if gone(s.conn.NetConn()) { // while it waited for its turn
		s.abandon()
		return
	}
	reply, refusal := s.judgeAuth(auth, false)
	if refusal != nil {
		s.refuseLogin(seq, refusal)
		return
	}
	if gone(s.conn.NetConn()) {
		s.abandon()
		return
	}
	im.CrashPoint(im.CrashLoginJudged)
	s.accept(reply)
	s.hub.link.add(s)
	if !s.awaitAttached() {
		s.disconnect(im.DisconnectUnavailable, "the inbox has no owner at the moment", time.Second)
		return
	}
	if _, refusal := s.judgeAuth(auth, true); refusal != nil {
		s.refuseLogin(seq, refusal)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, reply.Head)
	s.put(wire.OpAuthReply, seq, s.authReply(reply.TooLong))
	s.phase, s.last = phaseLive, s.hub.now()
	s.began(auth)
	s.hub.storm.login()
	s.pump()
}

func (s *Session) setPhase(p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
}

// judgeAuth asks a transfer. Values that no token can be issued for are refused
// here.
func (s *Session) judgeAuth(auth *imv1.Auth, renew bool) (*imv1.LoginReply, *im.Error) {
	if refusal := checkAuth(auth, renew); refusal != nil {
		return nil, refusal
	}
	ctx, cancel := context.WithTimeout(s.hub.ctx, loginTimeout)
	defer cancel()
	reply, err := s.hub.link.Login(ctx, &imv1.LoginRequest{
		Auth: auth, Remote: s.conn.NetConn().RemoteAddr().String(), Renew: renew,
	})
	switch {
	case err != nil:
		return nil, im.AsError(err)
	case reply.Error != nil:
		return nil, refusalOf(reply.Error)
	}
	return reply, nil
}

func checkAuth(auth *imv1.Auth, renew bool) *im.Error {
	switch {
	case !im.ValidID(auth.DeviceId):
		return im.Errorf(im.Invalid, "device_id is not 1 to %d bytes of text", im.MaxIDBytes)
	case !im.ValidPlatform(auth.Platform):
		return im.Errorf(im.Invalid, "unknown platform")
	case renew: // the rest is ignored
	case auth.Start != "" && auth.Start != "oldest" && auth.Start != "newest":
		return im.Errorf(im.Invalid, "unknown start")
	case auth.GetLastSeq() < 0:
		return im.Errorf(im.Invalid, "last_seq is negative")
	case len(auth.InboxEpoch) > im.MaxIDBytes:
		return im.Errorf(im.Invalid, "inbox_epoch is too long")
	}
	return nil
}

// refuseLogin ends a login: for good, or because nobody could judge it.
func (s *Session) refuseLogin(seq int32, refusal *im.Error) {
	s.answer(seq, refusal)
	if refusal.Code.Final() {
		s.disconnect(im.DisconnectUnauthenticated, "auth is refused", 0)
		return
	}
	s.disconnect(im.DisconnectUnavailable, "auth can not be judged at the moment", max(refusal.RetryAfter, time.Second))
}

// accept makes the session that of a device.
func (s *Session) accept(reply *imv1.LoginReply) {
	link := s.hub.link
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.device, s.platform = reply.UserId, reply.DeviceId, reply.Platform
	s.epoch = link.intern(reply.InboxEpoch)
	s.number = link.newNumber(reply.UserId)
	s.cursor, s.base, s.head = reply.ResumeFrom, reply.ResumeFrom, reply.Head
	s.expires, s.grant = s.expiry(reply.ExpiresAtMs), reply.Grant
}

// expiry is when a token ends by the hub's clock, 0 = never. A later step of the
// wall clock does not move it.
func (s *Session) expiry(expiresAtMs int64) time.Duration {
	if expiresAtMs == 0 {
		return 0
	}
	return max(1, s.hub.now()+time.Until(time.UnixMilli(expiresAtMs)))
}

// awaitAttached waits until the owner pushes to the session.
func (s *Session) awaitAttached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	patience := s.hub.now() + s.hub.config.AttachTimeout
	for !s.attached && !s.closing {
		if left := patience - s.hub.now(); left <= 0 || !s.wait(nil, left) {
			return false
		}
	}
	return !s.closing
}

// authReply is the answer to an auth; nothing is delivered at or below the
// cursor. The caller holds mu.
func (s *Session) authReply(tooLong bool) *imv1.AuthReply {
	c := &s.hub.config
	reply := &imv1.AuthReply{
		UserId: s.user, SessionId: s.id(),
		Head: s.head, ResumeFrom: s.cursor, TooLong: tooLong, InboxEpoch: s.epoch,
		HeartbeatSeconds: int32(c.HeartbeatSeconds), Window: int32(c.Window), MaxFrame: int32(c.MaxFrame), //nolint:gosec // settings
		Protocol: im.ProtocolVersion, ServerVersion: c.ServerVersion, Features: c.Features,
	}
	if s.expires > 0 {
		reply.ExpiresIn = int32((s.expires - s.hub.now() + time.Second - 1) / time.Second) //nolint:gosec // a token's life, rounded up
	}
	return reply
}

// renew has a new token judged. Refused, the old one stands.
func (s *Session) renew(seq int32, auth *imv1.Auth) {
	reply, refusal := s.judgeAuth(auth, true)
	if refusal == nil && (auth.DeviceId != s.device || auth.Platform != s.platform ||
		reply.UserId != s.user || reply.DeviceId != s.device || reply.Platform != s.platform) {
		refusal = im.Errorf(im.Forbidden, "the token is another user's, device's or platform's")
	}
	if refusal != nil {
		s.answer(seq, refusal)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires = s.expiry(reply.ExpiresAtMs)
	if s.grant != reply.Grant {
		if s.grant = reply.Grant; s.owner != nil {
			s.tellWho(s.owner)
		}
	}
	s.put(wire.OpAuthReply, seq, s.authReply(false))
}
