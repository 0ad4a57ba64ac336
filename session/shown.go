package session

import imv1 "github.com/im-transfer/im/proto/im/v1"

// caughtUp is called when everything put so far has been written: the device is online
// once it has been written all that there was, and its owner knows then. The caller
// holds mu.
func (s *Session) caughtUp() {
	if s.phase != phaseLive || s.closing {
		return
	}
	if !s.shown && !s.feeding && s.cursor >= s.head {
		s.shown = true
		if s.owner != nil {
			s.owner.show(s)
		}
	}
	if !s.moving && s.cursor > max(s.acked, s.written) && s.owner != nil {
		s.moving = true
		s.owner.move(s)
	}
}

// tellWritten tells the owner what the device has been written, unless it has acknowledged
// that meanwhile, which says as much. It is called a second or two after a write, so that
// of devices that acknowledge nothing is told.
func (s *Session) tellWritten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving = false
	s.writtenNow()
}

// writtenNow is tellWritten where mu is held.
func (s *Session) writtenNow() {
	if s.cursor > max(s.acked, s.written) && s.owner != nil && s.phase == phaseLive {
		s.written = s.cursor
		s.owner.wrote(s)
	}
}

func (st *stream) show(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(16 + len(s.user)); b != nil {
		b.Shown = append(b.Shown, &imv1.Shown{Session: s.number, UserId: s.user})
	}
}

// move remembers a session that has been written something, for the next ticks.
func (st *stream) move(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.movers[0] = append(st.movers[0], s)
}

func (st *stream) wrote(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(24 + len(s.user) + len(s.device)); b != nil {
		b.Written = append(b.Written, &imv1.Written{UserId: s.user, DeviceId: s.device, Seq: s.written})
	}
}

func (st *stream) watch(user string, over bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(16 + len(user)); b != nil {
		b.Watches = append(b.Watches, &imv1.Watching{UserId: user, Over: over})
	}
}

// passOn sends a signal of another transfer, unless much is waiting.
func (st *stream) passOn(r *imv1.Relay) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.waiting > signalBytes {
		return
	}
	if b := st.tail(len(r.Signal) + 32*len(r.UserIds)); b != nil {
		b.Relays = append(b.Relays, r)
	}
}
