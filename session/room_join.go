package session

import (
	"context"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

const (
	// joinTimeout bounds the reading for a join.
	joinTimeout = 5 * time.Second
	// onlinePatience is how long a join waits to learn how many are elsewhere.
	onlinePatience = time.Second
	// joinAgain is when to ask again whose join was overtaken by a change of the room.
	joinAgain = 50 * time.Millisecond
	// joinTries bounds how often a join reads on because the room has moved meanwhile.
	joinTries = 3
)

// joinRoom answers a join. The session's reader waits for it, so that what a client sends
// behind it is judged when it has joined. In a room that it is in already it only reads.
func (s *Session) joinRoom(frame wire.Frame) {
	var join imv1.Join
	if !s.decode(frame, &join) {
		return
	}
	if !im.ValidID(join.RoomId) || join.GetAfter() < 0 {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "room_id is not 1 to %d bytes of text, or after is negative", im.MaxIDBytes))
		return
	}
	m, fresh, refusal := s.begins(join.RoomId)
	if refusal == nil {
		var page *imv1.RoomPageReply
		if page, refusal = s.readRoom(m, &join); refusal == nil {
			refusal = s.joined(m, frame.Seq, &join, page)
		}
		if refusal == nil {
			return
		}
	}
	if fresh && s.forgetRoom(m) {
		s.hub.link.exit(m)
	}
	s.answer(frame.Seq, refusal)
}

// begins returns the session's place in a room, a fresh one if it is not in yet: from
// then on it misses nothing.
func (s *Session) begins(roomID string) (m *member, fresh bool, refusal *im.Error) {
	s.mu.Lock()
	m = s.memberOf(im.RoomConversation(roomID))
	full := s.rooms != nil && len(s.rooms.members) >= s.hub.config.Rooms
	s.mu.Unlock()
	switch {
	case m != nil:
		return m, false, nil
	case full:
		return nil, false, im.Errorf(im.TooLarge, "a session is in at most %d rooms at once", s.hub.config.Rooms)
	}
	m = &member{session: s, joining: true}
	s.hub.link.enter(m, roomID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.left { // the owner knows already that there is none
		return nil, false, im.Errorf(im.NotFound, "no such room")
	}
	if s.rooms == nil {
		s.rooms = &joined{}
	}
	s.rooms.members = append(s.rooms.members, m)
	return m, true, nil
}

// readRoom reads the latest of a room, or from a seq on, and goes on while the room moves:
// so that what was handed out before the session came is in it.
func (s *Session) readRoom(m *member, join *imv1.Join) (*imv1.RoomPageReply, *im.Error) {
	ctx, cancel := context.WithTimeout(s.hub.ctx, joinTimeout)
	defer cancel()
	request := &imv1.RoomPageRequest{ConversationId: m.room.conversation, UserId: s.user, After: join.After, MaxBytes: roomPageBytes}
	if join.After != nil {
		request.Limit = im.MaxPage
	}
	page, refusal := s.readPage(ctx, request)
	if refusal != nil {
		return nil, refusal
	}
	for range joinTries {
		left := roomPageBytes - (&roomBody{events: page.Events}).size()
		if page.Upto < page.Head || page.Upto >= m.room.knows(page.Head) || left < im.MaxClientFrameBytes {
			break // at its end, or where the answer may have no room for one more
		}
		request.After, request.Limit, request.MaxBytes = &page.Upto, im.MaxPage, int32(left) //nolint:gosec // at most roomPageBytes
		more, refusal := s.readPage(ctx, request)
		if refusal != nil {
			return nil, refusal
		}
		page.Events = append(page.Events, more.Events...)
		page.Upto, page.Head = more.Upto, more.Head
	}
	m.room.awaitAttached(ctx)
	return page, nil
}

func (s *Session) readPage(ctx context.Context, request *imv1.RoomPageRequest) (*imv1.RoomPageReply, *im.Error) {
	page, err := s.hub.link.RoomPage(ctx, request)
	switch {
	case err != nil:
		return nil, im.AsError(err)
	case page.Error != nil:
		return nil, refusalOf(page.Error)
	}
	return page, nil
}

// awaitAttached waits a little for the owner's first answer, which tells how many are in.
func (r *room) awaitAttached(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, onlinePatience)
	defer cancel()
	select {
	case <-r.changed:
	case <-bounded.Done():
	}
}

// joined answers a join and lets the room's deliveries go on behind it: at the end of the
// page, or, where that is not the end of the room, at its head: the rest is for the client
// to read, whom the next delivery's after shows that there is a gap.
func (s *Session) joined(m *member, seq int32, join *imv1.Join, page *imv1.RoomPageReply) *im.Error {
	upto, online := m.room.knows(page.Head), m.room.online()
	batch, _ := (&roomBody{events: page.Events}).batch(s.form, 0)
	head := &imv1.JoinReply{RoomId: join.RoomId, Head: max(page.Head, upto), Online: online, Upto: page.Upto, HasMore: page.Upto < page.Head}
	frame, err := wire.AppendJoinReply(nil, s.form, seq, head, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.hub.log.Error("encode a frame", "op", wire.OpJoinReply.String(), "error", err)
		return im.AsError(err)
	case m.left, m.ended > page.Head: // banned, or the room dissolved, since the page was read
		return im.Retry(im.Unavailable, joinAgain, "the room has changed meanwhile")
	}
	s.putFrame(frame)
	m.since = max(m.since, page.Head)
	if !m.joining { // it has been in: what it is shown goes on where it is, or behind the page
		if page.After <= m.upto {
			m.upto = max(m.upto, page.Upto)
		}
		return nil
	}
	m.joining, m.upto = false, page.Head
	m.inside.Store(true)
	for _, b := range m.held {
		m.write(b)
	}
	m.held = nil
	if m.upto < upto {
		m.passed = max(m.passed, upto)
	}
	return nil
}
