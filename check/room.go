package check

import (
	"fmt"
	"sync"
)

// Room is what the members of one room were shown. Rooms are in no inbox, and large: what
// one is shown is judged when it comes, so that a member costs a few words however much is
// said. Its methods, and those of its members, are safe for concurrent use.
type Room struct {
	ref ConversationRef

	mu      sync.Mutex
	seen    []roomSeen // by conversation seq
	members []*RoomMember
	found   []finding
	totals  map[Kind]int
}

// mostSeqs bounds what a server can make the judge remember of a room.
const mostSeqs = 1 << 24

// roomSeen is the message that was first shown under a conversation seq; zero = none was.
type roomSeen struct {
	id     int64
	key    Key
	hash   uint32
	edited bool
}

// RoomMember is a device in a room, over all of its sessions.
type RoomMember struct {
	room   *Room
	device *Device

	// Under the room's mu.
	began     bool
	upto      int64 // what it has been shown, or told to have missed
	told      int64 // what the session has been told of
	pages     int64 // what the first delivery behind a join may begin at: the rest is to be asked for
	delivered int
	skipped   int
	caughtUp  bool
}

// RoomPage is the answer to a join: what is in (After, Upto] of a room whose head is Head.
type RoomPage struct {
	After, Upto, Head int64
	Latest            bool // the join named no seq: After is not known
	Messages          []RoomMessage
	Events            int
}

// RoomPart is a delivery: what is in (After, Upto], but for what was skipped.
type RoomPart struct {
	After, Upto     int64
	Messages        []RoomMessage
	Events, Skipped int
}

// RoomMessage is a message that was shown.
type RoomMessage struct {
	Seq, ID int64  // of the conversation
	Key     Key    // from the tag in the body; zero when there is none
	Hash    uint32 // of what was sent
	Edited  bool   // another content is shown: the hash does not count
}

// Room returns the room of a conversation, the same one for the same id. It has no stays:
// what a member must be shown follows from what it is told.
func (h *History) Room(conversationID string) *Room {
	ref := h.Conversation(conversationID)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[ref] == nil {
		if h.rooms == nil {
			h.rooms = map[ConversationRef]*Room{}
		}
		h.rooms[ref] = &Room{ref: ref, totals: map[Kind]int{}}
	}
	return h.rooms[ref]
}

// Ref is the room's conversation.
func (r *Room) Ref() ConversationRef { return r.ref }

// Member adds a device.
func (r *Room) Member(device *Device) *RoomMember {
	m := &RoomMember{room: r, device: device}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, m)
	return m
}

// Joined records the answer to a join. One that begins where the member is goes on from
// there; fresh says that it is the first of its session.
func (m *RoomMember) Joined(page RoomPage, fresh bool) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	after := page.After
	if page.Latest {
		after = max(0, page.Upto-int64(len(page.Messages)+page.Events))
	}
	m.judge(after, page.Upto, page.Messages, page.Events, 0)
	switch {
	case !m.began, page.Latest:
		m.began, m.upto = true, max(m.upto, page.Upto)
	case after <= m.upto:
		m.upto = max(m.upto, page.Upto)
	}
	if fresh {
		m.told, m.pages = page.Upto, page.Head
	} else if after <= m.told {
		m.told = max(m.told, page.Upto)
	}
}

// Delivered records a delivery. It must go on where the session has been told of. gap says
// that the member lacks something in front of it, which it must ask for.
func (m *RoomMember) Delivered(part RoomPart) (gap bool) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if part.After > max(m.told, m.pages) {
		m.violation(Gap, "told of (%d, %d] behind %d", part.After, part.Upto, m.told)
	}
	if part.Upto <= m.told {
		m.violation(Duplicate, "told of (%d, %d] behind %d", part.After, part.Upto, m.told)
	}
	m.judge(part.After, part.Upto, part.Messages, part.Events, part.Skipped)
	m.told, m.pages = max(m.told, part.Upto), 0
	if part.After > m.upto {
		return true
	}
	m.upto = max(m.upto, part.Upto)
	return false
}

// Upto returns up to which seq the member has been shown all, or told what it has missed.
func (m *RoomMember) Upto() int64 {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.upto
}

// CaughtUp says that the member was given every chance, as Device.CaughtUp does.
func (m *RoomMember) CaughtUp() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.caughtUp = true
}

// judge judges what one frame shows of (after, upto]: all of it, in order, and the same
// as others were shown. The caller holds the room's mu.
func (m *RoomMember) judge(after, upto int64, messages []RoomMessage, events, skipped int) {
	if n := len(messages) + events + skipped; int64(n) != upto-after {
		m.violation(Gap, "%d messages, %d events and %d skipped are in (%d, %d]", len(messages), events, skipped, after, upto)
	}
	last := after
	for i := range messages {
		seq := messages[i].Seq
		if seq <= last || seq > upto {
			m.violation(Order, "seq %d behind %d in (%d, %d]", seq, last, after, upto)
			continue
		}
		last = seq
		m.room.show(m, &messages[i])
	}
	m.delivered += len(messages)
	m.skipped += skipped
}

// show compares a message with what others were shown under its seq.
func (r *Room) show(m *RoomMember, shown *RoomMessage) {
	if shown.Seq < 1 || shown.Seq >= mostSeqs {
		m.violation(Range, "seq %d", shown.Seq)
		return
	}
	for int64(len(r.seen)) <= shown.Seq {
		r.seen = append(r.seen, roomSeen{})
	}
	first := &r.seen[shown.Seq]
	if first.id == 0 {
		*first = roomSeen{shown.ID, shown.Key, shown.Hash, shown.Edited}
		return
	}
	if first.id != shown.ID || first.key != shown.Key || !first.edited && !shown.Edited && first.hash != shown.Hash {
		m.violation(Changed, "seq %d is message %d here and %d elsewhere, or says something else", shown.Seq, shown.ID, first.id)
	}
}

func (m *RoomMember) violation(kind Kind, format string, args ...any) {
	r := m.room
	if r.totals[kind]++; r.totals[kind] <= MaxViolations {
		r.found = append(r.found, finding{kind, Key{}, m.device, "room: " + fmt.Sprintf(format, args...)})
	}
}

// judgeRoom adds what was found in a room, and holds what was shown there against what
// was sent. It comes before the messages are judged, which then know their places.
func (j *judge) judgeRoom(r *Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind, n := range r.totals {
		j.verdict.Totals[kind] += n
	}
	j.found = append(j.found, r.found...)
	for seq := range r.seen {
		if seen := &r.seen[seq]; seen.id != 0 {
			j.shown(r, int64(seq), seen)
		}
	}
	newest := j.newest(r)
	for _, m := range r.members {
		j.verdict.Delivered += m.delivered
		j.verdict.Skipped += m.skipped
		if m.caughtUp && m.upto < newest {
			j.violation(Loss, Key{}, m.device, "stopped at seq %d of a room, %d is acknowledged", m.upto, newest)
		}
	}
}

func (j *judge) shown(r *Room, seq int64, seen *roomSeen) {
	m := j.message(seen.key)
	switch {
	case m == nil:
		j.violation(Phantom, seen.key, nil, "shown in a room, but never sent")
		return
	case m.conversation != r.ref, !seen.edited && m.hash != seen.hash:
		j.violation(Phantom, seen.key, nil, "shown in a room, but not sent so")
	}
	if m.id == 0 {
		m.id, m.convSeq = seen.id, uint32(seq) //nolint:gosec // a run says less
	} else if m.id != seen.id || int64(m.convSeq) != seq {
		j.violation(Identity, seen.key, nil, "id %d and conversation seq %d in the room, id %d and conversation seq %d elsewhere",
			seen.id, seq, m.id, m.convSeq)
	}
}

// newest is the highest seq of a room that somebody was given as the answer to a send.
func (j *judge) newest(r *Room) (seq int64) {
	for _, of := range j.messages {
		for i := range of {
			if m := &of[i]; m.conversation == r.ref && m.state&wasAcked != 0 {
				seq = max(seq, int64(m.convSeq))
			}
		}
	}
	return seq
}
