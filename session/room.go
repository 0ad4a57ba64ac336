package session

import (
	"slices"
	"sync"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// roomQueueBytes bounds what waits to be fanned out in one room. Beyond it bodies are
	// dropped, and read from the store when the room has come so far.
	roomQueueBytes = 1 << 20
	// roomFrameBytes is about the most that one frame of a room holds, unless one message
	// is larger.
	roomFrameBytes = 32 << 10
	// roomSignals bounds the signals that wait in a room; more are dropped.
	roomSignals = 16
	// maxRoomGap is how far behind its head a room may be and still show all: of what is
	// further back its members are told how much they miss.
	maxRoomGap = 1000
)

// room is a room that sessions here are in. Pushes come once for all of them; a worker,
// which it has only while there is something to do, hands each to every member and makes
// one frame of what has gathered meanwhile. What a push has skipped it reads itself.
type room struct {
	link             *Link
	part             *roomPart
	id, conversation string

	mu        sync.Mutex
	members   map[*member]struct{}
	list      []*member // the same; nil = to be made
	known     bool      // upto is
	upto      int64     // conversation seq up to which everything has been handed out
	head      int64     // highest known
	elsewhere int32     // sessions on other gateways
	attached  bool      // the owner has answered
	gone      bool      // there is no such room
	changed   chan struct{}
	told      int32 // online, to the owner
	queue     []*roomBody
	queued    int // bytes
	signals   []*imv1.RoomSignal
	working   bool
}

func newRoom(l *Link, p *roomPart, id, conversation string) *room {
	return &room{link: l, part: p, id: id, conversation: conversation, members: map[*member]struct{}{}, changed: make(chan struct{})}
}

// add returns how many are in now.
func (r *room) add(m *member) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.room = r
	r.members[m], r.list = struct{}{}, nil
	return len(r.members)
}

// drop returns how many are left.
func (r *room) drop(m *member) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, m)
	r.list = nil
	return len(r.members)
}

// here is what is to be said of the room to its owner.
func (r *room) here(attach bool) *imv1.RoomHere {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = int32(len(r.members)) //nolint:gosec // sessions of a process
	return &imv1.RoomHere{
		ConversationId: r.conversation, Online: r.told, Attach: attach, Head: max(r.head, r.upto), Elsewhere: r.elsewhere,
	}
}

// moved reports whether the owner has been told another number of sessions.
func (r *room) moved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.told) != len(r.members)
}

// there takes the owner's word.
func (r *room) there(there *imv1.RoomThere) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = max(r.head, there.Head)
	if there.Elsewhere >= 0 {
		r.elsewhere = there.Elsewhere
	}
	r.gone = r.gone || there.Gone
	if there.Attached && !r.attached {
		r.attached = true
		close(r.changed)
	}
	r.begin()
}

// push queues new events.
func (r *room) push(p *imv1.RoomPush) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = max(r.head, p.Upto)
	b := &roomBody{after: p.After, upto: p.Upto, events: p.Events}
	if size := b.size(); r.queued+size <= roomQueueBytes {
		r.queue = append(r.queue, b.parts()...)
		r.queued += size
	}
	r.begin()
}

func (r *room) signal(s *imv1.RoomSignal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.signals) < roomSignals {
		r.signals = append(r.signals, s)
	}
	r.begin()
}

// knows begins the handing out, at a head that a member has read up to, and returns up to
// where it is now.
func (r *room) knows(head int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		r.known, r.upto = true, head
		r.begin()
	}
	return r.upto
}

// has reports whether a user has a session in the room.
func (r *room) has(userID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m := range r.members {
		if m.session.user == userID && m.inside.Load() {
			return true
		}
	}
	return false
}

func (r *room) online() int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int32(len(r.members)) + r.elsewhere //nolint:gosec // sessions
}

// begin starts the worker if there is work. The caller holds mu.
func (r *room) begin() {
	if !r.working && r.hasWork() && r.link.ctx.Err() == nil {
		r.working = true
		r.link.running.Go(r.work)
	}
}

func (r *room) hasWork() bool {
	return r.gone || len(r.signals) > 0 || r.known && r.head > r.upto
}

// everyone returns the members. It is not to be changed. The caller holds mu.
func (r *room) everyone() []*member {
	if r.list == nil {
		r.list = make([]*member, 0, len(r.members))
		for m := range r.members {
			r.list = append(r.list, m)
		}
	}
	return r.list
}

// task is what a worker does next, and for whom.
type roomTask struct {
	members []*member
	signals []*imv1.RoomSignal
	body    *roomBody // nil: there is none
	behind  bool      // what comes next is to be read
	gone    bool
}

// next takes what there is to do; false when there is nothing more.
func (r *room) next() (roomTask, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasWork() || r.link.ctx.Err() != nil {
		r.working = false
		return roomTask{}, false
	}
	t := roomTask{members: r.everyone(), signals: r.signals, gone: r.gone}
	r.signals, r.gone = nil, false
	if r.known {
		t.body = r.takeBody()
		t.behind = t.body == nil && r.head > r.upto
	}
	return t, true
}

// takeBody takes what follows on what has been handed out, as much as goes into one
// frame; nil when the queue has none.
func (r *room) takeBody() *roomBody {
	r.queue = slices.DeleteFunc(r.queue, func(b *roomBody) bool {
		old := b.upto <= r.upto
		if old {
			r.queued -= b.size()
		}
		return old
	})
	var body *roomBody
	for len(r.queue) > 0 {
		b := r.queue[0]
		if b.after > r.upto || body != nil && (body.ends() || body.size()+b.size() > roomFrameBytes) {
			break
		}
		r.queue, r.queued = r.queue[1:], r.queued-b.size()
		body = body.join(b, r.upto)
		r.upto = max(r.upto, b.upto)
	}
	return body
}
