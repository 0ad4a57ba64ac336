package session

import (
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// receive hands what a transfer sends to the sessions and calls concerned, until
// the stream breaks. It never waits for any of them.
func (st *stream) receive() error {
	for {
		m, err := st.rpc.Recv()
		if err != nil {
			return err
		}
		st.dispatch(m)
	}
}

// dispatch handles the fields in the order of their numbers, then lets every
// session concerned write once.
func (st *stream) dispatch(m *imv1.ToGateway) {
	link := st.peer.link
	for _, o := range m.Ownerships {
		link.own(st, o)
	}
	for _, a := range m.Attached {
		st.touch(link.session(a.Session), func(s *Session) { s.attachedTo(st, a) })
	}
	for _, r := range m.Replies {
		if r.Session&callBit != 0 {
			link.replied(r)
			continue
		}
		st.touch(link.session(r.Session), func(s *Session) { s.reply(r) })
	}
	for _, p := range m.Pushes {
		st.push(p)
	}
	for _, h := range m.Heads {
		st.touch(link.session(h.Session), func(s *Session) { s.headOf(h) })
	}
	for _, k := range m.Kicks {
		st.touch(link.session(k.Session), func(s *Session) { s.kicked(k) })
	}
	st.dispatchRooms(m)
	for _, h := range m.Hidden {
		st.hidden(h)
	}
	for _, p := range m.Presences {
		st.presence(p)
	}
	for _, r := range m.Relays {
		st.relay(r)
	}
	for i, s := range st.touched {
		s.flush()
		st.touched[i] = nil
	}
	st.touched = st.touched[:0]
}

// touch runs f for a session that is still there.
func (st *stream) touch(s *Session, f func(*Session)) {
	if s == nil {
		return
	}
	f(s)
	if n := len(st.touched); n == 0 || st.touched[n-1] != s {
		st.touched = append(st.touched, s)
	}
}

// push hands one body to all its targets.
func (st *stream) push(p *imv1.Push) {
	if st.pushRoom(p) {
		return
	}
	body := &pushed{proto: p.GetEntry(), b3: p.B3}
	if p.B3 != "" {
		body.at = time.Now()
	}
	signal, isSignal := p.What.(*imv1.Push_Signal)
	if isSignal {
		body.proto = signal.Signal
	}
	for _, target := range p.Targets {
		st.touch(st.peer.link.session(target.Session), func(s *Session) {
			if isSignal {
				s.signal(body)
			} else {
				s.push(target.Seq, body)
			}
		})
	}
}
