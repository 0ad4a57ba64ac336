package session

import (
	"time"

	"github.com/im-transfer/im"
)

const (
	// firstAllowed is how many publishes a new session may have unanswered.
	firstAllowed = 16
	// late is the time after which an answer shows that there is too much already. It is
	// not shorter because the less each of many sessions has unanswered the more frames,
	// commits and refusals a message costs: ADR 16.
	late = 5 * time.Second
	// promptly is the time within which an answer shows that there is room for more.
	promptly = late / 2
	// stalled is the time after which it counts that nothing is answered at all, and for
	// which a publish waits for room.
	stalled = 2 * time.Second
	// longestRetry bounds what a refused client is asked to wait, but for the spread.
	// Answers that took long may have waited for an engine that was away, and that is
	// back now: whoever waits for as long again is without service for that time.
	longestRetry = 2 * time.Second
)

// pace bounds what a session has unanswered to about what is answered in the time
// that its user would wait. Without it a server that is offered more than it can take
// would take it all, each session up to maxUnanswered, and everybody's answers would
// come late by however long that queue is. It adds one for each prompt answer and
// halves, once per round trip, for a late one, so all sessions find their share and
// come back to the full bound when the server does. Only acks of sends count: what else is
// answered has not been where the queue is. The session's mu guards it.
type pace struct {
	allowed uint16        // 0 = firstAllowed
	cut     time.Duration // when it was last halved
	took    time.Duration // what the last answer took
	heard   time.Duration // when that came
	told    time.Duration // until then the client has been asked to wait
}

func (p *pace) most() int {
	if p.allowed == 0 {
		return firstAllowed
	}
	return int(p.allowed)
}

// answered takes what the ack of a send took that went out at a time beside so many
// others. Only who uses the room shows that there is more.
func (p *pace) answered(at, now time.Duration, others int) {
	p.took, p.heard = now-at, now
	switch most := p.most(); {
	case p.took > late && at >= p.cut:
		p.allowed, p.cut = uint16(max(1, most/2)), now //nolint:gosec // at most maxUnanswered
	case p.took <= promptly && 2*(others+1) >= most && most < maxUnanswered:
		p.allowed = uint16(most + 1) //nolint:gosec // as above
	}
}

// paceRoom is how many publishes may be unanswered now, and whether answers are late: for
// how long there has been none counts as well, so that a server which answers nothing at
// all is sent less and less.
func (s *Session) paceRoom(now time.Duration) (most int, behind bool) {
	most, behind = s.pace.most(), s.pace.took > late && now < s.pace.heard+late
	if len(s.unanswered) > 0 {
		periods := (now - max(s.unanswered[0].at, s.pace.heard)) / stalled
		most >>= min(periods, 16)
		behind = behind || periods > 0
	}
	return max(1, most), behind
}

// mayPublish looks whether the session may publish now. If not, it says for how long to
// wait, since a time, for that to change, or refuses: where nothing will soon, and a
// client that has been refused and comes again too early, for whom nobody waits.
// The caller holds mu.
func (s *Session) mayPublish(now, since time.Duration) (admission, *im.Error) {
	a := admission{timeout: stalled}
	most, behind := s.paceRoom(now)
	if len(s.unanswered) < most && s.bytes < maxUnansweredBytes {
		behind = false
		if a = s.admit(s.hub.link); a.ok {
			return a, nil
		}
		if a.timeout <= 0 {
			return a, errNoTransfer()
		}
	}
	a.timeout = min(a.timeout, since+stalled-now)
	if behind || a.timeout <= 0 || now < s.pace.told {
		return a, s.busy(now)
	}
	return a, nil
}

// busy refuses for want of room. A client is asked to wait for about as long as
// answers take, which is as long as what is before it needs; those refused together
// for different times, so that they do not come back together.
func (s *Session) busy(now time.Duration) *im.Error {
	wait := s.pace.took
	if len(s.unanswered) > 0 {
		wait = max(wait, now-s.unanswered[0].at)
	}
	wait = jitter(min(max(wait, time.Second), longestRetry))
	s.pace.told = max(s.pace.told, now+wait)
	return im.Retry(im.Unavailable, wait, "the server is behind")
}
