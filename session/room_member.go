package session

import (
	"slices"
	"sync/atomic"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// roomHeld bounds the bodies that are held for a session that is about to join.
const roomHeld = 64

// joined is the rooms of a session.
type joined struct{ members []*member }

// member is a session in a room. The session's mu guards what has no other.
type member struct {
	session *Session
	room    *room       // never changes
	inside  atomic.Bool // join_reply is written

	joining bool
	left    bool
	held    []*roomBody // handed out while it joins
	ended   int64       // seq of the last event, while it joins, that takes it out
	since   int64       // conversation seq up to which it was judged when it joined, or read
	upto    int64       // conversation seq that the session has been told of up to
	passed  int64       // highest seq that was passed over, if above upto
}

// deliver writes a body to the session, or passes it over if that lags: it never waits.
func (m *member) deliver(b *roomBody) {
	s := m.session
	s.mu.Lock()
	switch {
	case m.left || s.closing:
	case m.joining && len(m.held) < roomHeld:
		m.held = append(m.held, b)
	case m.joining:
		m.passed = max(m.passed, b.upto)
	default:
		m.write(b)
	}
	start := s.writes()
	s.mu.Unlock()
	if start {
		s.hub.crew.start(s, (*Session).write)
	}
}

// write puts a body into the outbox. One whose former bodies were passed over says so.
// The caller holds the session's mu.
func (m *member) write(b *roomBody) {
	s := m.session
	if b.upto > m.upto && s.pending() >= highWater {
		m.passed = max(m.passed, b.upto)
		return
	}
	m.put(b)
}

// put puts what a body holds above upto into the outbox. The caller holds mu.
func (m *member) put(b *roomBody) {
	s := m.session
	if b.upto <= m.upto {
		return
	}
	frame, err := b.frame(s.form, m.room.id, m.upto)
	if err != nil {
		s.hub.log.Error("encode a frame", "op", wire.OpRoomDeliver.String(), "error", err)
		m.passed = max(m.passed, b.upto)
		return
	}
	s.putFrame(frame)
	m.upto = b.upto
}

// end judges whether an event takes the member out, which those behind its join do, and
// then tells it that event, however much waits for it: who is out must know.
func (m *member) end(last *roomBody) bool {
	s := m.session
	s.mu.Lock()
	switch {
	case m.left:
		s.mu.Unlock()
		return false
	case m.joining: // the answer to the join tells, if that was judged before
		m.ended = max(m.ended, last.upto)
		s.mu.Unlock()
		return false
	case last.upto <= m.since:
		s.mu.Unlock()
		return false
	}
	m.put(last)
	start := s.writes()
	s.mu.Unlock()
	if start {
		s.hub.crew.start(s, (*Session).write)
	}
	return true
}

// tellSkipped tells a device that has caught up what was passed over for it, where
// nothing came behind that. The caller holds mu.
func (s *Session) tellSkipped() {
	for _, m := range s.rooms.members {
		if m.joining || m.passed <= m.upto {
			continue
		}
		s.put(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{
			RoomId: m.room.id, After: m.upto, Upto: m.passed, Skipped: int32(m.passed - m.upto), //nolint:gosec // as many as were passed over
		})
		m.upto = m.passed
	}
}

// roomOf returns the conversation of a room that is meant, or nothing.
func roomOf(to *imv1.To) string {
	switch to := to.GetTo().(type) {
	case *imv1.To_RoomId:
		return im.RoomConversation(to.RoomId)
	case *imv1.To_ConversationId:
		if im.IsRoom(to.ConversationId) {
			return to.ConversationId
		}
	}
	return ""
}

// memberOf returns the session's place in a room, nil when it is not in. The caller holds
// mu.
func (s *Session) memberOf(conversation string) *member {
	if s.rooms == nil || conversation == "" {
		return nil
	}
	at := slices.IndexFunc(s.rooms.members, func(m *member) bool { return m.room.conversation == conversation })
	if at < 0 {
		return nil
	}
	return s.rooms.members[at]
}

// inRoom reports whether the session has joined a room.
func (s *Session) inRoom(conversation string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memberOf(conversation) != nil
}

// forgetRoom takes a room off the session's; false when it was not there any more.
func (s *Session) forgetRoom(m *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.left {
		return false
	}
	m.left, m.held = true, nil
	m.inside.Store(false)
	if s.rooms == nil {
		return true
	}
	s.rooms.members = slices.DeleteFunc(s.rooms.members, func(other *member) bool { return other == m })
	if len(s.rooms.members) == 0 {
		s.rooms = nil
	}
	return true
}

// leaveRooms takes the session out of all its rooms, at its end.
func (s *Session) leaveRooms() {
	s.mu.Lock()
	var members []*member
	if s.rooms != nil {
		members = slices.Clone(s.rooms.members)
	}
	s.mu.Unlock()
	s.hub.link.exitAll(members, func(*member) bool { return true })
}

// leaveRoom answers a leave.
func (s *Session) leaveRoom(frame wire.Frame) {
	var leave imv1.Leave
	if !s.decode(frame, &leave) {
		return
	}
	s.mu.Lock()
	m := s.memberOf(im.RoomConversation(leave.RoomId))
	s.mu.Unlock()
	if m == nil || !s.forgetRoom(m) {
		s.answer(frame.Seq, im.Errorf(im.NotFound, "not in the room"))
		return
	}
	s.hub.link.exit(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(wire.OpLeaveReply, frame.Seq, &imv1.LeaveReply{RoomId: leave.RoomId})
}
