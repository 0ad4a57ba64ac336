package session

import (
	"slices"
	"sync"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// roomHeads is the default of LinkConfig.RoomHeads.
const roomHeads = 10 * time.Second

// countedAtOnce is up to how many sessions here a room's owner is told of each that comes
// or goes; of more, once a tick.
const countedAtOnce = 64

// roomPart is what the link knows of one conversation partition: who owns it, and the
// rooms of it that are open here. Its mu comes before a room's.
type roomPart struct {
	mu     sync.Mutex
	owner  *stream // nil = not known
	term   int64   // the highest seen
	claims map[*stream]struct{}
	rooms  map[string]*room // by conversation id
	beats  int

	changed gate // opens when owner or term has changed
}

func (l *Link) roomPart(conversationID string) *roomPart {
	return &l.rooms[im.Partition(conversationID, len(l.rooms))]
}

// claim takes a transfer's word on what it owns: the highest term wins. Rooms attach
// anew when the owner changes, and once more when a former one lets go: until then it
// may have stored what the new one has not seen.
func (p *roomPart) claim(st *stream, o *imv1.Ownership) {
	if o.Released {
		p.disclaim(st)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims[st] = struct{}{}
	if o.Term < p.term || p.owner == st && p.term == o.Term {
		return
	}
	p.owner, p.term = st, o.Term
	p.attach()
	p.changed.open()
}

// disclaim takes back what a stream has claimed, if anything.
func (p *roomPart) disclaim(st *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, had := p.claims[st]; !had {
		return
	}
	delete(p.claims, st)
	if p.owner == st {
		p.owner = nil
		return
	}
	p.attach()
}

// attach tells the owner of all rooms. The caller holds mu.
func (p *roomPart) attach() {
	if p.owner == nil {
		return
	}
	heres := make([]*imv1.RoomHere, 0, len(p.rooms))
	for _, r := range p.rooms {
		heres = append(heres, r.here(true))
	}
	p.owner.roomsHere(heres)
}

// roomsHere puts what is to be said of rooms on its way.
func (st *stream) roomsHere(heres []*imv1.RoomHere) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, here := range heres {
		if b := st.tail(24 + len(here.ConversationId)); b != nil {
			b.Rooms = append(b.Rooms, here)
		}
	}
}

// beatRooms tells owners what has changed since the last tick, and now and then of all
// rooms.
func (l *Link) beatRooms() {
	between := max(1, int(l.config.RoomHeads/(beatPatience/2)))
	for i := range l.rooms {
		l.rooms[i].beat(between)
	}
}

// beat is a tick; the heads are told at one of so many.
func (p *roomPart) beat(between int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats++
	if p.owner == nil || len(p.rooms) == 0 {
		return
	}
	all := p.beats%between == 0
	var heres []*imv1.RoomHere
	for _, r := range p.rooms {
		if all || r.moved() {
			heres = append(heres, r.here(false))
		}
	}
	p.owner.roomsHere(heres)
}

// dispatchRooms handles what a transfer says of rooms.
func (st *stream) dispatchRooms(m *imv1.ToGateway) {
	link := st.peer.link
	for _, o := range m.RoomOwnerships {
		if o.Partition < 0 || int(o.Partition) >= len(link.rooms) {
			link.log.Error("a transfer owns a conversation partition that does not exist", "partition", o.Partition)
			continue
		}
		link.rooms[o.Partition].claim(st, o)
	}
	for _, there := range m.Rooms {
		if r := link.openRoom(there.ConversationId); r != nil {
			r.there(there)
		}
	}
	for _, ask := range m.RoomAsks {
		r := link.openRoom(ask.ConversationId)
		st.roomAnswer(&imv1.RoomAnswer{Id: ask.Id, ConversationId: ask.ConversationId, Inside: r != nil && r.has(ask.UserId)})
	}
}

func (st *stream) roomAnswer(answer *imv1.RoomAnswer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b := st.tail(48); b != nil {
		b.RoomAnswers = append(b.RoomAnswers, answer)
	}
}

// pushRoom takes a push that is for a whole room; false when it is none.
func (st *stream) pushRoom(p *imv1.Push) bool {
	switch what := p.What.(type) {
	case *imv1.Push_Room:
		if r := st.peer.link.openRoom(what.Room.ConversationId); r != nil {
			r.push(what.Room)
		}
	case *imv1.Push_RoomSignal:
		if r := st.peer.link.openRoom(what.RoomSignal.ConversationId); r != nil {
			r.signal(what.RoomSignal)
		}
	default:
		return false
	}
	return true
}

// openRoom returns a room that is open here, or nil.
func (l *Link) openRoom(conversationID string) *room {
	p := l.roomPart(conversationID)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rooms[conversationID]
}

// enter puts a session into a room, which is opened if it is its first, and returns it.
func (l *Link) enter(m *member, roomID string) *room {
	conversation := im.RoomConversation(roomID)
	p := l.roomPart(conversation)
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[conversation]
	opened := r == nil
	if opened {
		r = newRoom(l, p, roomID, conversation)
		p.rooms[conversation] = r
	}
	if n := r.add(m); p.owner != nil && (opened || n <= countedAtOnce) {
		p.owner.roomsHere([]*imv1.RoomHere{r.here(opened)})
	}
	return r
}

// exit takes a session out of its room, which is closed when it was the last.
func (l *Link) exit(m *member) {
	p := m.room.part
	p.mu.Lock()
	defer p.mu.Unlock()
	n := m.room.drop(m)
	if p.rooms[m.room.conversation] != m.room {
		return
	}
	if n == 0 {
		delete(p.rooms, m.room.conversation)
	}
	if p.owner != nil && n <= countedAtOnce {
		p.owner.roomsHere([]*imv1.RoomHere{m.room.here(false)})
	}
}

// exitAll takes those out of a room who may not be in it any more.
func (l *Link) exitAll(members []*member, whom func(*member) bool) {
	for _, m := range slices.Clone(members) {
		if whom(m) && m.session.forgetRoom(m) {
			l.exit(m)
		}
	}
}
