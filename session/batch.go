package session

import imv1 "github.com/im-transfer/im/proto/im/v1"

// signalBytes bounds what may wait to be sent before signals are dropped.
const signalBytes = 1 << 20

// publish puts a publish on its way. Signals are dropped when much is waiting.
func (st *stream) publish(p *imv1.Publish) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if isSignal(p) && st.waiting > signalBytes {
		return
	}
	if b := st.tail(publishBytes(p)); b != nil {
		b.Publishes = append(b.Publishes, p)
	}
}

func isSignal(p *imv1.Publish) bool {
	_, signal := p.What.(*imv1.Publish_Signal)
	return signal || p.GetVouched().GetSignal() != nil
}

// owe changes what is unanswered over the stream. All who wait are woken when half
// of the credit is free: earlier, most of them would find it gone again.
func (st *stream) owe(publishes, bytes int) {
	n := st.owed.Add(int64(publishes))
	w := st.weight.Add(int64(bytes))
	if publishes < 0 && n < creditPublishes/2 && w < creditBytes/2 {
		st.room.open()
	}
}

func (st *stream) isFull() bool {
	return st.owed.Load() >= creditPublishes || st.weight.Load() >= creditBytes
}

// attach, detach, ack, ackRequest and headRequest are called with the session's
// mu held.
func (st *stream) attach(a *imv1.Attach) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(64 + len(a.UserId) + len(a.DeviceId)); b != nil {
		b.Attaches = append(b.Attaches, a)
	}
}

// detach comes behind the acks, attaches and shows that wait, which a receiver would
// handle later within one batch: its own attach would then stay for ever.
func (st *stream) detach(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.queue); n > 0 && len(st.queue[n-1].Acks)+len(st.queue[n-1].Attaches)+len(st.queue[n-1].Shown) > 0 && !st.broken {
		st.begin()
	}
	if b := st.tail(16 + len(s.user)); b != nil {
		b.Detaches = append(b.Detaches, &imv1.Detach{Session: s.number, UserId: s.user})
	}
}

// ack sends the highest ack of a session, raising one that still waits.
func (st *stream) ack(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.queue); n > 0 && st.queue[n-1].id == s.ackBatch {
		st.queue[n-1].Acks[s.ackIndex].Seq = s.told
		return
	}
	if b := st.tail(32 + len(s.user) + len(s.device)); b != nil {
		s.ackBatch, s.ackIndex = b.id, len(b.Acks)
		b.Acks = append(b.Acks, &imv1.Acked{Session: s.number, UserId: s.user, DeviceId: s.device, Seq: s.told})
	}
}

// ackRequest sends an ack that wants an answer.
func (st *stream) ackRequest(acked *imv1.Acked) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(40 + len(acked.UserId) + len(acked.DeviceId)); b != nil {
		b.Acks = append(b.Acks, acked)
	}
}

func (st *stream) headRequest(s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(16 + len(s.user)); b != nil {
		b.Heads = append(b.Heads, &imv1.HeadRequest{Session: s.number, UserId: s.user})
		st.beats[0] = append(st.beats[0], s)
	}
}

// overdue answers the heartbeats that have waited for more than a tick, and asks what was
// written before that. It is called every second.
func (st *stream) overdue() {
	st.mu.Lock()
	old := st.beats[1]
	moved := st.movers[1]
	st.beats[1], st.beats[0] = st.beats[0], nil
	st.movers[1], st.movers[0] = st.movers[0], nil
	st.mu.Unlock()
	for _, s := range old {
		s.overdue()
	}
	for _, s := range moved {
		s.tellWritten()
	}
}
