package session

import (
	"sync"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// partition is what the link knows of one inbox partition: who owns it, and the
// sessions and calls of its users.
type partition struct {
	mu       sync.Mutex
	owner    *stream // nil = not known
	term     int64   // the highest seen
	changed  gate    // opens when owner or term has changed
	sessions map[uint64]*Session
	calls    map[uint64]*call
	watched  map[string]*watchedUser // of the partition's users; nil = none
}

// own takes a transfer's word on what it owns: the highest term wins.
func (l *Link) own(st *stream, o *imv1.Ownership) {
	if o.Partition < 0 || int(o.Partition) >= len(l.parts) {
		l.log.Error("a transfer owns a partition that does not exist", "partition", o.Partition)
		return
	}
	p := &l.parts[o.Partition]
	if p.own(st, o) {
		p.follow()
	}
}

func (p *partition) own(st *stream, o *imv1.Ownership) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case o.Term < p.term, o.Released && p.owner != st:
		return false
	case o.Released:
		p.owner = nil
	case p.owner == st && p.term == o.Term:
		return false
	default:
		p.owner = st
	}
	p.term = o.Term
	return true
}

// lose forgets the ownership of a stream that has broken.
func (p *partition) lose(st *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner != st {
		return false
	}
	p.owner = nil
	return true
}

func (p *partition) owned() (*stream, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.owner, p.term
}

// follow lets all sessions and calls see who owns the partition now.
func (p *partition) follow() {
	p.mu.Lock()
	sessions := make([]*Session, 0, len(p.sessions))
	for _, s := range p.sessions {
		sessions = append(sessions, s)
	}
	calls := make([]*call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, s := range sessions {
		s.follow(p)
	}
	for _, c := range calls {
		c.follow(p)
	}
	p.watchAgain()
	p.changed.open()
}

func (p *partition) publishers() []*publisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*publisher, 0, len(p.sessions)+len(p.calls))
	for _, s := range p.sessions {
		all = append(all, &s.publisher)
	}
	for _, c := range p.calls {
		all = append(all, &c.publisher)
	}
	return all
}

// add makes a session known and attaches it, now or when its owner is known.
func (l *Link) add(s *Session) {
	p := l.part(s.number)
	p.mu.Lock()
	p.sessions[s.number] = s
	p.mu.Unlock()
	s.follow(p)
}

// remove takes a session out and detaches it. One that was never added is left
// alone.
func (l *Link) remove(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.number == 0 {
		return
	}
	p := l.part(s.number)
	p.mu.Lock()
	delete(p.sessions, s.number)
	p.mu.Unlock()
	s.endWatch()
	if s.owner != nil {
		s.writtenNow()
		s.owner.detach(s)
		s.owner = nil
	}
	s.forget()
}

// session returns the session of a number, nil when it has ended.
func (l *Link) session(number uint64) *Session {
	p := l.part(number)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[number]
}

// follow attaches the session to the owner of its inbox, if that has changed.
// Whatever was on its way to the former one is sent again.
func (s *Session) follow(p *partition) {
	s.mu.Lock()
	owner, term := p.owned()
	if s.abandoned || owner == s.owner && term == s.ownerTerm {
		s.mu.Unlock()
		return
	}
	s.owner, s.ownerTerm, s.moving = owner, term, false
	if owner == nil {
		s.answerBeats()
	} else {
		s.attachTo(owner)
	}
	s.mu.Unlock()
	s.flush()
}

func (s *Session) attachTo(owner *stream) {
	s.tellWho(owner)
	if s.told > 0 {
		owner.ack(s)
	}
	for _, acked := range s.ackPending {
		owner.ackRequest(acked)
	}
	if len(s.beats) > 0 {
		owner.headRequest(s)
	}
}

// tellWho has the owner attach the session, or, where it is attached, learn that it has
// another sign-in. The caller holds mu.
func (s *Session) tellWho(owner *stream) {
	attach := &imv1.Attach{Session: s.number, UserId: s.user, DeviceId: s.device, Platform: s.platform, Grant: s.grant, Shown: s.shown}
	if s.attached {
		attach.Generation = &imv1.Generation{Term: s.term, Counter: s.place}
	}
	owner.attach(attach)
}

// attachedTo is the owner's answer: everything above its head will be pushed, and
// what is below and not written yet is pulled.
func (s *Session) attachedTo(st *stream, a *imv1.Attached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, a.Head)
	s.progress(a.Acked)
	if st == s.owner {
		s.attached = true
		s.term, s.place = a.Generation.GetTerm(), a.Generation.GetCounter()
		s.wake()
	}
	s.pump()
}
