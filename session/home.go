package session

import "time"

// outagePatience is how long after the last transfer has gone a request waits
// for one before it is answered unavailable.
const outagePatience = 2 * time.Second

// pick chooses the home of a session; nil when no transfer is connected.
func (l *Link) pick(number uint64) *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pickAmong(number, func(st *stream) bool { return !st.peer.dismissed() && !st.isBroken() },
		func(st *stream) bool { return !st.isBroken() })
}

// pickAmong chooses evenly by number among the streams that the first condition
// with any allows.
func (l *Link) pickAmong(number uint64, conditions ...func(*stream) bool) *stream {
	for _, allows := range conditions {
		var fit []*stream
		for _, st := range l.streams {
			if allows(st) {
				fit = append(fit, st)
			}
		}
		if len(fit) > 0 {
			return fit[number>>16%uint64(len(fit))]
		}
	}
	return nil
}

func (l *Link) live() []*stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*stream(nil), l.streams...)
}

// patience is how long a request may wait now for a transfer to come up.
func (l *Link) patience() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.streams) > 0 {
		return outagePatience // one that has broken just now
	}
	return outagePatience - time.Since(l.down)
}

// up adds a stream. What could not be sent without one is sent, and every
// unanswered publish again: while there was no stream to this transfer its answers
// had no way here.
func (l *Link) up(st *stream) {
	l.mu.Lock()
	l.streams = append(l.streams, st)
	l.mu.Unlock()
	l.changes.Add(1)
	l.log.Info("transfer connected", "transfer", st.peer.server.ID, "address", st.peer.server.Address)
	l.room.open()
	l.each((*publisher).catchUpNow)
}

// broke takes a stream out. Its inboxes have no owner until another, or the same
// again, announces itself; every unanswered publish of any session is sent again.
func (l *Link) broke(st *stream, err error) {
	l.mu.Lock()
	for i := range l.streams {
		if l.streams[i] == st {
			l.streams = append(l.streams[:i:i], l.streams[i+1:]...)
			break
		}
	}
	if len(l.streams) == 0 {
		l.down = time.Now()
	}
	l.mu.Unlock()
	l.log.Info("transfer disconnected", "transfer", st.peer.server.ID, "error", err)
	l.changes.Add(1)
	st.room.open()
	for q := range l.parts {
		if l.parts[q].lose(st) {
			l.parts[q].follow()
		}
	}
	for p := range l.rooms {
		l.rooms[p].disclaim(st)
	}
	l.each((*publisher).catchUpNow)
}

// each runs f for every session and call.
func (l *Link) each(f func(*publisher, *Link)) {
	for q := range l.parts {
		for _, p := range l.parts[q].publishers() {
			f(p, l)
		}
	}
}

// catchUpNow sends again what may have lost its answer.
func (p *publisher) catchUpNow(l *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unanswered) > 0 {
		p.catchUp(l)
	}
	p.wake()
}
