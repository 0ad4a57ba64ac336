package transfer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// rooms is what the owner of a conversation partition knows of who has its rooms open:
// gateways, not users, each with how many of its sessions are in. The sequencer pushes
// through it and never waits for it: mu is held for moments only. An attach is answered
// with the head that the store shows after it was noted, so what is above that head is
// pushed, and what is not pushed is below it.
type rooms struct {
	server    *Server
	partition int
	term      int64
	began     time.Time
	ctx       context.Context // of the loader
	cancel    context.CancelFunc
	running   sync.WaitGroup

	mu      sync.Mutex
	open    map[string]*openRoom    // by conversation id
	wants   []wantedRoom            // attaches that wait for the store, each once
	wanted  map[wantedRoom]struct{} // the same
	loading bool
	asks    map[uint64]*roomAsk
	asked   uint64
}

// openRoom is a room that some gateway has open.
type openRoom struct {
	head     int64
	known    bool // the head is the store's
	gateways map[*gateway]int32
}

// wantedRoom is an attach.
type wantedRoom struct {
	from *gateway
	id   string
}

// maxRoomLoad bounds the rooms of one question for heads.
const maxRoomLoad = 512

func newRooms(s *Server, partition int, term int64) *rooms {
	r := &rooms{
		server: s, partition: partition, term: term, began: time.Now(),
		open: map[string]*openRoom{}, wanted: map[wantedRoom]struct{}{}, asks: map[uint64]*roomAsk{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// close ends the loader. Nothing is answered any more.
func (r *rooms) close() {
	r.mu.Lock()
	r.cancel() // from here on nothing is loaded
	r.mu.Unlock()
	r.running.Wait()
}

func (r *rooms) ownership(released bool) *imv1.Ownership {
	return &imv1.Ownership{Partition: int32(r.partition), Term: r.term, Released: released} //nolint:gosec // at most 1,024
}

// announceRooms tells every gateway that a conversation partition is owned here, or no
// longer; that comes behind all that was pushed.
func (s *Server) announceRooms(r *rooms, released bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !released {
		s.rooms[r.partition] = r
	} else if s.rooms[r.partition] == r {
		delete(s.rooms, r.partition)
	}
	for _, g := range s.gateways {
		g.roomOwnership(r.ownership(released))
	}
}

// roomsOf returns the rooms of a conversation's partition, nil when it is not ours.
func (s *Server) roomsOf(conversationID string) *rooms {
	p := im.Partition(conversationID, s.config.ConversationPartitions)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[p]
}

// routeRooms hands what a gateway says of rooms to their partitions. What is not ours
// is attached again to who owns it.
func (s *Server) routeRooms(g *gateway, m *imv1.ToTransfer) {
	for _, here := range m.Rooms {
		if r := s.roomsOf(here.ConversationId); r != nil {
			r.here(g, here)
		}
	}
	for _, answer := range m.RoomAnswers {
		if r := s.roomsOf(answer.ConversationId); r != nil {
			r.answered(answer)
		}
	}
}

// here takes a gateway's word on a room.
func (r *rooms) here(g *gateway, here *imv1.RoomHere) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.open[here.ConversationId]
	if here.Online <= 0 {
		r.leave(here.ConversationId, room, g)
		return
	}
	if room == nil {
		room = &openRoom{gateways: map[*gateway]int32{}}
		r.open[here.ConversationId] = room
	}
	was, attached := room.gateways[g]
	room.gateways[g] = here.Online
	if was != here.Online {
		r.tellOthers(here.ConversationId, room, g)
	}
	if here.Attach || !attached {
		r.want(wantedRoom{g, here.ConversationId})
		return
	}
	if elsewhere := room.elsewhere(g); room.known && (room.head > here.Head || elsewhere != here.Elsewhere) {
		g.room(&imv1.RoomThere{ConversationId: here.ConversationId, Head: room.head, Elsewhere: elsewhere})
	}
}

// want has an attach answered. The caller holds mu, here and below.
func (r *rooms) want(w wantedRoom) {
	if _, waits := r.wanted[w]; !waits {
		r.wanted[w] = struct{}{}
		r.wants = append(r.wants, w)
	}
	r.load()
}

// leave takes a gateway out of a room.
func (r *rooms) leave(id string, room *openRoom, g *gateway) {
	if room == nil {
		return
	}
	if _, in := room.gateways[g]; !in {
		return
	}
	delete(room.gateways, g)
	if len(room.gateways) == 0 {
		delete(r.open, id)
		return
	}
	r.tellOthers(id, room, g)
}

// tellOthers tells the gateways but one how many are elsewhere now. Each says so at most
// once a second, so it is told about as often.
func (r *rooms) tellOthers(id string, room *openRoom, but *gateway) {
	for g := range room.gateways {
		if g != but {
			g.room(&imv1.RoomThere{ConversationId: id, Head: room.head, Elsewhere: room.elsewhere(g)})
		}
	}
}

// elsewhere is how many sessions other gateways have in the room.
func (room *openRoom) elsewhere(but *gateway) (n int32) {
	for g, online := range room.gateways {
		if g != but {
			n += online
		}
	}
	return n
}

// dropGateway forgets a stream that has ended.
func (r *rooms) dropGateway(gone *gateway) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, room := range r.open {
		r.leave(id, room, gone)
	}
}

// load has the heads of wanted rooms read beside everything else, by one at a time.
func (r *rooms) load() {
	if r.loading || r.ctx.Err() != nil {
		return
	}
	r.loading = true
	r.running.Go(func() {
		for wants := r.takeWants(); len(wants) > 0; wants = r.takeWants() {
			states, err := r.states(wants)
			if err != nil {
				return // the partition has been given up: its gateways attach elsewhere
			}
			r.attach(wants, states)
		}
	})
}

func (r *rooms) takeWants() []wantedRoom {
	r.mu.Lock()
	defer r.mu.Unlock()
	wants := r.wants[:min(len(r.wants), maxRoomLoad)]
	r.wants = r.wants[len(wants):]
	for _, w := range wants {
		delete(r.wanted, w)
	}
	r.loading = len(wants) > 0
	return wants
}

// states reads rooms from the store, each once.
func (r *rooms) states(wants []wantedRoom) (map[string]*im.ConversationState, error) {
	states := make(map[string]*im.ConversationState, len(wants))
	var ids []string
	for _, want := range wants {
		if _, asked := states[want.id]; !asked {
			states[want.id] = nil
			ids = append(ids, want.id)
		}
	}
	err := r.server.retry(r.ctx, r.server.log, func(ctx context.Context) error {
		rows, err := r.server.store.Conversations(ctx, ids)
		if err != nil {
			return fmt.Errorf("load rooms: %w", err)
		}
		for i := range rows {
			states[rows[i].ID] = &rows[i]
		}
		return nil
	})
	return states, err
}

// attach answers those who wanted rooms. Who has attached again meanwhile is answered by what
// is read then: what was read now may be older than the room.
func (r *rooms) attach(wants []wantedRoom, states map[string]*im.ConversationState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, want := range wants {
		room := r.open[want.id]
		if room == nil {
			continue
		}
		_, still := room.gateways[want.from]
		if _, again := r.wanted[want]; !still || again {
			continue
		}
		there := &imv1.RoomThere{ConversationId: want.id, Attached: true}
		if c, _, err := roomOf(states[want.id]); err == nil && c.shownTo("", 0) != nil {
			there.Gone = true
			delete(room.gateways, want.from)
			if len(room.gateways) == 0 {
				delete(r.open, want.id)
			}
		} else {
			room.head, room.known = max(room.head, states[want.id].Head), true
			there.Head, there.Elsewhere = room.head, room.elsewhere(want.from)
		}
		want.from.room(there)
	}
}

// pushRooms hands what was just stored in rooms to the gateways that have them open. It
// is a hint: whoever misses it finds the head higher at the next heartbeat.
func (s *sequencer) pushRooms() {
	if len(s.spoken) == 0 {
		return
	}
	s.rooms.push(s.spoken)
	clear(s.spoken)
	s.spoken = s.spoken[:0]
}

// push encodes each room's events once and hands them to its gateways.
func (r *rooms) push(events []*im.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pushes := map[*openRoom]*imv1.RoomPush{}
	for _, e := range events {
		room := r.open[e.ConversationID]
		if room == nil {
			continue
		}
		push := pushes[room]
		if push == nil || e.Seq != push.Upto+1 {
			room.push(push)
			push = &imv1.RoomPush{ConversationId: e.ConversationID, After: e.Seq - 1}
			pushes[room] = push
		}
		room.head, push.Upto = max(room.head, e.Seq), e.Seq
		push.Events = append(push.Events, roomEvent(e))
	}
	for room, push := range pushes {
		room.push(push)
	}
}

// push hands a push, if any, to all gateways of the room.
func (room *openRoom) push(push *imv1.RoomPush) {
	if push == nil {
		return
	}
	one := []*imv1.Push{{What: &imv1.Push_Room{Room: push}}}
	for g := range room.gateways {
		g.push(one, nil)
	}
}

// seen tells the gateways of a room that the store shows more of it than was pushed: a
// former owner has stored that, and it may have died, or lost its way to them, before it
// said so.
func (r *rooms) seen(id string, head int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.open[id]
	if room == nil || head <= room.head {
		return
	}
	room.head = head
	for g := range room.gateways {
		g.room(&imv1.RoomThere{ConversationId: id, Head: head, Elsewhere: notTold})
	}
}

// roomEvent is an event as the sessions in its room are shown it: nobody's own copy.
func roomEvent(e *im.Event) *imv1.RoomEvent {
	field, body := appendShown(nil, envelopeEvent(e, string(im.Room)), false)
	return roomEventAs(e, field, body)
}

// roomEventAs is an event of a room with what is shown of it, in a field of entries.
func roomEventAs(e *im.Event, field protowire.Number, body []byte) *imv1.RoomEvent {
	shown := &imv1.RoomEvent{Seq: e.Seq}
	if field == entryMessage {
		shown.What = &imv1.RoomEvent_Message{Message: body}
		return shown
	}
	entry := appendInt(appendString(nil, entryKind, string(e.Kind)), entryAtMs, e.AtMs)
	entry = protowire.AppendBytes(protowire.AppendTag(entry, field, protowire.BytesType), body)
	shown.What = &imv1.RoomEvent_Entry{Entry: entry}
	var m imv1.Membership
	if e.Kind == im.KindMembership && m.UnmarshalVT(e.Body) == nil {
		switch im.Action(m.Action) {
		case im.ActionRemoved:
			shown.Removed = m.UserIds
		case im.ActionDissolved:
			shown.Dissolved = true
		}
	}
	return shown
}

func (g *gateway) room(there *imv1.RoomThere) {
	g.put(func(m *imv1.ToGateway) { m.Rooms = append(m.Rooms, there) })
}

func (g *gateway) roomOwnership(o *imv1.Ownership) {
	g.put(func(m *imv1.ToGateway) { m.RoomOwnerships = append(m.RoomOwnerships, o) })
}

// takeRoomHeads adds newest heads in place of bodies of rooms that were dropped. The
// caller holds mu.
func (g *gateway) takeRoomHeads(m *imv1.ToGateway) {
	for id, head := range g.roomHeads {
		m.Rooms = append(m.Rooms, &imv1.RoomThere{ConversationId: id, Head: head, Elsewhere: notTold})
	}
	clear(g.roomHeads)
}

// notTold stands for a number of sessions elsewhere that an answer does not tell.
const notTold = -1
