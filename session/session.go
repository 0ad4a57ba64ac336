package session

import (
	"errors"
	"net"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// phase is how far a session has come.
type phase uint8

const (
	phaseNew   phase = iota // no auth yet
	phaseLogin              // an auth is being judged
	phaseLive               // auth_reply is written
)

// Session is one connection. Its publisher's mu guards all fields below; hub and
// conn never change; user, device, platform, epoch and form not once it is live.
type Session struct {
	publisher
	hub  *Hub
	conn Conn

	phase     phase
	form      wire.Form // 0 = no frame yet
	closing   bool      // disconnect is written or the connection given up
	abandoned bool      // nothing more is written or read
	writing   bool      // a writer is at work
	feeding   bool      // a page is being pulled
	syncing   bool      // a sync is being answered
	attached  bool      // the owner has answered an attach
	opened    bool      // the last thing in out is a deliver frame not ended
	misses    uint8     // pulls in a row that failed
	settling  bool      // a watch is being answered
	shown     bool      // the backlog has been written, and the owner knows
	moving    bool      // its stream will ask what has been written
	ended     uint8     // why: a disconnect code's number, endLeft or endLost; 0 = not yet

	user, device, platform, epoch string

	last    time.Duration // when the last frame came; times count from hub.began
	expires time.Duration // when the token does; 0 = never
	stalled time.Duration // since when the window is full and entries wait; 0 = not
	readBy  time.Duration // the read deadline that is set, never too late; 0 = none; see deadline.go
	writeBy time.Duration // the write deadline that is set

	cursor  int64  // last inbox seq written to the device
	base    int64  // highest of resume_from and acked: the window counts from here
	head    int64  // highest inbox seq known
	acked   int64  // the device's cursor as far as it is known; 0 = not
	told    int64  // highest seq that this connection acked
	written int64  // what the owner knows to be written to the device and was not acked then
	grant   uint64 // stands for the sign-in of its token
	sinceMs int64  // when it began, for the journal; 0 = it has not

	watches *watching // nil = nobody

	owner       *stream // of the inbox, and attached to; nil = not known
	ownerTerm   int64
	term, place int64  // generation, as the owner gave it; valid once attached
	ackBatch    uint64 // where the last ack was put on its way, to be raised there
	ackIndex    int
	ackPending  []*imv1.Acked // acks that want an answer
	beats       []int32       // heartbeats that wait for the head
	beatAt      time.Duration
	pace        pace // of publishes

	traces *traces // nil = nothing was ever traced

	rooms *joined // the rooms that it is in; nil = none

	out      *[]byte // what is to be written; nil = nothing
	openedAt int     // where the deliver frame not ended begins
	inFlight int     // bytes being written

	// What reader and crew hand each other; no lock, for they take turns.
	turn     chan struct{} // signalled when the reader may go on
	incoming []byte        // the message being handled
	failed   error         // or why there is none
	textual  bool          // it is a text message
	crowded  time.Duration // not 0: there is no room to judge an auth now; when to come again
	placed   bool          // it has a place among the log-ins
	entered  time.Duration // since when
	loggedIn bool
	over     bool // nothing is read any more
}

func newSession(h *Hub, conn Conn) *Session {
	s := &Session{hub: h, conn: conn, last: h.now(), turn: make(chan struct{}, 1)}
	conn.OnControl(s.control)
	return s
}

// run is the reader. All but waiting for a message is done by the crew, so that
// its stack stays as small as stacks are: one that has grown is never as small
// again.
func (s *Session) run() {
	for over := false; !over; over = s.over {
		s.incoming, s.textual, s.failed = s.conn.Read()
		if s.loggedIn {
			s.hub.crew.do(s, (*Session).take)
			continue
		}
		s.crowded = s.hub.logins.enter()
		s.placed, s.entered = s.crowded == 0, s.hub.now()
		s.hub.crew.do(s, (*Session).take)
		s.leaveLogins()
	}
	s.hub.crew.start(s, (*Session).end)
}

// leaveLogins gives the place of a log-in up, where there is one: as soon as that has been
// judged, whatever else has come with it.
func (s *Session) leaveLogins() {
	if s.placed {
		s.placed = false
		s.hub.logins.leave(s.hub.now() - s.entered)
	}
}

// take handles what the reader has read, and prepares the next Read.
func (s *Session) take() {
	if s.failed != nil {
		if s.over = !s.early(s.failed); s.over {
			s.readFailed(s.failed)
		}
		return
	}
	s.receive()
	s.incoming = nil
	s.over = !s.arm()
}

// arm waits until there is room for answers and sets the time until which a
// frame must come; false when the session ends.
func (s *Session) arm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained()
	s.loggedIn = s.phase == phaseLive
	if s.loggedIn {
		s.last = s.hub.now()
	}
	s.setDeadline()
	return !s.closing
}

// drained waits until there is room for answers; false when the session ends. The caller
// holds mu.
func (s *Session) drained() bool {
	for !s.closing && s.pending() > highWater {
		s.wait(nil, s.hub.config.SlowTimeout)
	}
	return !s.closing
}

func (s *Session) readFailed(err error) {
	var network net.Error
	switch {
	case errors.Is(err, wire.ErrFraming):
		s.disconnect(im.ProtocolError, "malformed frame", 0)
	case errors.Is(err, wire.ErrVersion):
		s.disconnect(im.VersionUnsupported, "unsupported version", 0)
	case errors.As(err, &network) && network.Timeout():
		s.timedOut()
	default:
		s.left()
	}
}

// timedOut says which of the limits of until has passed. A session that is
// being disconnected has been woken by the same means.
func (s *Session) timedOut() {
	s.mu.Lock()
	phase, now := s.phase, s.hub.now()
	expired := s.expires > 0 && now >= s.expires
	slow := s.stalled > 0 && now >= s.stalled+s.hub.config.SlowTimeout
	s.mu.Unlock()
	switch {
	case phase == phaseNew:
		s.disconnect(im.DisconnectUnauthenticated, "no auth in time", 0)
	case expired:
		s.disconnect(im.TokenExpired, "token expired", 0)
	case slow:
		s.disconnect(im.Slow, "no ack in time", time.Second)
	default:
		s.disconnect(im.Idle, "no frame in time", time.Second)
	}
}

// linger reads off what is in flight, so that the client sees the reason instead
// of a reset: until it closes, at most for a second.
func (s *Session) linger() {
	s.mu.Lock()
	abandoned := s.abandoned
	if !abandoned {
		s.conn.NetConn().SetReadDeadline(time.Now().Add(s.hub.config.Linger))
	}
	s.mu.Unlock()
	if !abandoned {
		s.discard()
	}
}

func (s *Session) discard() {
	buffer := s.hub.takeBuffer()
	defer s.hub.giveBuffer(buffer)
	scratch := (*buffer)[:cap(*buffer)]
	for {
		if _, err := s.conn.NetConn().Read(scratch); err != nil {
			return
		}
	}
}

// end lets the client see why, then takes the session out of everything.
func (s *Session) end() {
	s.linger()
	s.abandon()
	s.leaveRooms()
	s.writeEnd()
	s.hub.link.remove(s)
	s.traceEnd()
	s.hub.remove(s)
}
