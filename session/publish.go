package session

import (
	"slices"
	"sync"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Bounds of what one session may have unanswered, of publishes and of all else. Beyond
// the latter its socket is not read any further.
const (
	maxUnanswered      = 256
	maxUnansweredBytes = 1 << 20
)

// The kinds of requests, in the request numbers.
const (
	requestPublish = 0 // kept until it is answered
	requestSignal  = 1 // answered by errors only
	requestAck     = 2 // in ackPending until it is answered
)

// requestNumber holds what is needed to answer: [30 bit counter][2 bit kind][32
// bit sequence of the client].
func requestNumber(counter uint32, kind uint64, seq int32) uint64 {
	return uint64(counter)<<34 | kind<<32 | uint64(uint32(seq)) //nolint:gosec // a bit pattern
}

func requestKind(request uint64) uint64 { return request >> 32 & 3 }

func requestSeq(request uint64) int32 { return int32(uint32(request)) } //nolint:gosec // a bit pattern

// publisher keeps what one session, or one call, has published and not had
// answered. All of it goes through one stream, its home, in order; a new home is
// taken only when that breaks.
type publisher struct {
	mu         sync.Mutex
	number     uint64 // in the process; 0 = not logged in
	counter    uint32
	changes    uint32 // of the link, up to which unanswered has been sent again
	home       *stream
	unanswered []outstanding
	bytes      int           // of unanswered
	changed    chan struct{} // closed when something that one waits for has changed; nil = nobody waits
}

// outstanding is a publish without an answer, and when it was sent first: of a session,
// by its hub's clock.
type outstanding struct {
	publish *imv1.Publish
	at      time.Duration
}

// wake lets whoever waits look again. The caller holds mu.
func (p *publisher) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait gives up mu until wake, more, or the time has passed; false for the
// latter.
func (p *publisher) wait(more <-chan struct{}, timeout time.Duration) bool {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-changed:
	case <-more:
	case <-timer.C:
		return false
	}
	return true
}

// nextRequest returns a new request number.
func (p *publisher) nextRequest(kind uint64, seq int32) uint64 {
	p.counter++
	return requestNumber(p.counter, kind, seq)
}

// send publishes in order: first again whatever a break may have lost. A publish
// that wants an answer is kept until it has it, so nothing is lost when the home
// breaks now. The caller has been admitted.
func (p *publisher) send(publish *imv1.Publish, at time.Duration) {
	if requestKind(publish.Request) == requestPublish {
		p.unanswered = append(p.unanswered, outstanding{publish, at})
		p.bytes += publishBytes(publish)
		p.home.owe(1, publishBytes(publish))
	}
	p.home.publish(publish)
}

// signalElsewhere sends a signal to all transfers but the home: each passes it on to
// those members whose inboxes it owns. Only what the home answers is for the client,
// so the others get it without a request number.
func (p *publisher) signalElsewhere(l *Link, signal *imv1.Publish) {
	same := &imv1.Publish{Session: signal.Session, UserId: signal.UserId, DeviceId: signal.DeviceId, What: signal.What}
	for _, st := range l.live() {
		if st != p.home {
			st.publish(same)
		}
	}
}

// admission is what stands in the way of a publish.
type admission struct {
	more    <-chan struct{} // closed when it may have changed
	timeout time.Duration   // how long to wait for that; not positive = not at all
	ok      bool
}

// admit looks whether the link can take a publish now.
func (p *publisher) admit(l *Link) admission {
	more := l.room.wait() // before looking, so that no change is missed
	p.catchUp(l)
	switch {
	case p.home == nil || p.home.isBroken():
		return admission{more, l.patience(), false}
	case p.home.isFull():
		return admission{p.home.room.wait(), time.Second, false}
	}
	return admission{ok: true}
}

// catchUp sends everything unanswered again if a stream has broken, or come up,
// since it was sent: any transfer may have had the answer, and no way to tell it.
// The caller holds mu.
func (p *publisher) catchUp(l *Link) {
	changes := l.changes.Load()
	homeless := p.home == nil || p.home.isBroken()
	if homeless {
		p.move(l.pick(p.number))
	}
	if p.home == nil || p.changes == changes && !homeless {
		return
	}
	p.changes = changes
	for _, u := range p.unanswered {
		p.home.publish(u.publish)
	}
}

// move takes a new home, and what is owed with it.
func (p *publisher) move(home *stream) {
	if p.home != nil {
		p.home.owe(-len(p.unanswered), -p.bytes)
	}
	if p.home = home; home != nil {
		home.owe(len(p.unanswered), p.bytes)
	}
}

// answered takes the publish of a reply off; without one when it is not waited for.
func (p *publisher) answered(request uint64) outstanding {
	i := slices.IndexFunc(p.unanswered, func(u outstanding) bool { return u.publish.Request == request })
	if i < 0 {
		return outstanding{}
	}
	taken := p.unanswered[i]
	p.unanswered = slices.Delete(p.unanswered, i, i+1)
	if len(p.unanswered) == 0 {
		p.unanswered = nil
	}
	p.bytes -= publishBytes(taken.publish)
	if p.home != nil {
		p.home.owe(-1, -publishBytes(taken.publish))
	}
	p.wake()
	return taken
}

// forget drops what is unanswered, at the end of a session or a call.
func (p *publisher) forget() {
	p.move(nil)
	p.unanswered, p.bytes = nil, 0
}

// publishBytes is about what a publish takes on the stream.
func publishBytes(p *imv1.Publish) int {
	return 64 + len(p.UserId) + len(p.DeviceId) + len(p.GetSend()) + len(p.GetRead()) + len(p.GetSignal()) + len(p.GetChange()) +
		len(p.GetRoom()) + len(p.GetVouched().GetSend()) + len(p.GetVouched().GetSignal()) +
		len(p.GetOwn()) + len(p.GetBlock())
}

// publish hands a request to the link. While too much is unanswered, or no transfer
// lives, it waits up to 2 s; then the answer is unavailable. A signal, which is for now or
// for nothing, does not wait.
func (s *Session) publish(publish *imv1.Publish, seq int32, kind uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look := s.mayPublish
	if kind == requestSignal {
		look = s.maySignal
	}
	for since := s.hub.now(); !s.closing; {
		a, refusal := look(s.hub.now(), since)
		switch {
		case a.ok:
			publish.Session, publish.Request = s.number, s.nextRequest(kind, seq)
			publish.UserId, publish.DeviceId = s.user, s.device
			s.send(publish, s.hub.now())
			if kind == requestSignal {
				s.signalElsewhere(s.hub.link, publish)
			}
			return
		case refusal != nil:
			s.refuse(seq, refusal)
			s.traceAnswered(publish, nil, im.Unavailable)
			return
		}
		s.wait(a.more, a.timeout)
	}
}

// maySignal refuses a signal that can not go out at once.
func (s *Session) maySignal(_, _ time.Duration) (admission, *im.Error) {
	a := s.admit(s.hub.link)
	if !a.ok {
		return a, errNoTransfer()
	}
	return a, nil
}

// haveRoom waits until the session may have one more ack, or heartbeat, unanswered; false
// when it ends first. Answers that stay away for a minute end it.
func (s *Session) haveRoom() bool {
	patience := s.hub.now() + s.hub.config.SlowTimeout
	for !s.closing && len(s.ackPending)+len(s.beats) >= maxUnanswered {
		if s.hub.now() >= patience {
			s.mu.Unlock()
			s.disconnect(im.DisconnectUnavailable, "requests are not answered", time.Second)
			s.mu.Lock()
			return false
		}
		s.wait(nil, time.Second)
	}
	return !s.closing
}

func errNoTransfer() *im.Error {
	return im.Retry(im.Unavailable, time.Second, "no transfer server is reachable")
}
