package client

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// inbox is the device's view of its inbox: what has been received, handled,
// saved and acknowledged, in that order. It is a plain data structure without
// locks, clocks or goroutines.
//
// An era lasts until the server says too_long; its seqs mean nothing in the next.
type inbox struct {
	era      int
	known    bool   // received is set
	received int64  // newest seq that has been queued for the handler
	epoch    string // of received
	head     int64  // newest seq heard of
	lateHead int64  // head that was above received at the last heartbeat_reply; 0 = none was
	window   int

	queue []item                  // for the handler; at most 2 windows, a page and a StartOver
	later map[string]*imv1.Signal // the presences that found it full, by user: those who are watched

	handled handled // by the application
	saved   handled // in the local state
	acked   int64   // highest seq acknowledged in this session
	pending int     // entries handled and not yet saved

	wanted    bool      // sync from received
	notBefore time.Time // of the next sync
	syncing   int32     // sequence of the sync in flight; 0 = none
}

// handled is how far the inbox has got with the application.
type handled struct {
	era   int
	known bool
	seq   int64
	epoch string
}

// item is one thing for the handler: an entry, a signal or a StartOver.
type item struct {
	era    int
	entry  *imv1.Entry
	signal *imv1.Signal
	over   *StartOver
	room   *RoomDelivery
}

func newInbox(snapshot Snapshot) *inbox {
	was := handled{known: snapshot.Known, seq: snapshot.LastSeq, epoch: snapshot.InboxEpoch}
	return &inbox{
		known: was.known, received: was.seq, epoch: was.epoch, head: was.seq,
		handled: was, saved: was, window: defaultWindow,
	}
}

const defaultWindow = 256

// connected begins a session. A device that comes back acknowledges again what
// it has saved: the last ack of the session before may have been lost.
func (in *inbox) connected(reply *imv1.AuthReply) {
	in.syncing, in.wanted, in.notBefore, in.lateHead, in.acked = 0, false, time.Time{}, 0, 0
	in.window = defaultWindow
	if w := int(reply.GetWindow()); w > 0 {
		in.window = w
	}
	switch first := !in.known; {
	case reply.GetTooLong():
		in.era++
		in.received, in.head, in.acked = reply.GetResumeFrom(), reply.GetHead(), -1
		over := &StartOver{Head: reply.GetResumeFrom(), InboxEpoch: reply.GetInboxEpoch()}
		in.queue = append(in.queue, item{era: in.era, over: over})
	case first:
		in.received, in.acked = reply.GetResumeFrom(), reply.GetResumeFrom()
		in.handled = handled{era: in.era, known: true, seq: in.received, epoch: reply.GetInboxEpoch()}
	}
	in.known, in.epoch = true, reply.GetInboxEpoch()
	if !in.startingOver() {
		in.handled.epoch = in.epoch
	}
	in.head = max(in.head, reply.GetHead())
}

// startingOver reports whether a StartOver waits for the handler.
func (in *inbox) startingOver() bool { return in.handled.era != in.era }

// entries queues what follows on what has been received and drops what is known.
// What does not follow, or finds the queue full, is left to a sync.
func (in *inbox) entries(entries []*imv1.Entry) {
	for _, entry := range entries {
		seq := entry.GetSeq()
		in.head = max(in.head, seq)
		switch {
		case seq <= in.received:
		case seq == in.received+1 && len(in.queue) < 2*in.window+im.MaxPage:
			in.received = seq
			in.queue = append(in.queue, item{era: in.era, entry: entry})
		default:
			in.wanted = true
		}
	}
}

// signal queues a signal unless the handler is behind: then a presence, which stands until
// the next one of its user, waits, and all others are dropped.
func (in *inbox) signal(signal *imv1.Signal) {
	user := PresenceOf(signal).GetUserId()
	if len(in.queue) < in.window {
		delete(in.later, user)
		in.queue = append(in.queue, item{era: in.era, signal: signal})
		return
	}
	if _, waits := in.later[user]; user != "" && (waits || len(in.later) < im.MaxWatched) {
		if in.later == nil {
			in.later = map[string]*imv1.Signal{}
		}
		in.later[user] = signal
	}
}

// delivery queues what a room says; false when the handler is behind.
func (in *inbox) delivery(d *RoomDelivery) bool {
	if len(in.queue) >= in.window {
		return false
	}
	in.queue = append(in.queue, item{era: in.era, room: d})
	return true
}

// heartbeat notes the head that a heartbeat_reply tells. One that has stayed
// above what was received for a whole heartbeat is asked for, unless it is the
// handler who is behind.
func (in *inbox) heartbeat(head int64) {
	in.head = max(in.head, head)
	if in.lateHead > in.received && len(in.queue) == 0 {
		in.wanted = true
	}
	in.lateHead = 0
	if head > in.received {
		in.lateHead = head
	}
}

// wantsSync reports whether a sync should be written now.
func (in *inbox) wantsSync(now time.Time) bool {
	return in.wanted && in.syncing == 0 && len(in.queue) < in.window && !in.notBefore.After(now)
}

// synced applies a page. Without progress the next one waits for the heartbeat.
func (in *inbox) synced(reply *imv1.SyncReply) {
	before := in.received
	in.syncing, in.wanted = 0, false
	in.entries(reply.GetEntries())
	in.head = max(in.head, reply.GetHead())
	in.wanted = in.received > before && in.received < in.head
}

// syncFailed asks again after a pause.
func (in *inbox) syncFailed(now time.Time, retryAfter time.Duration) {
	in.syncing, in.wanted = 0, true
	in.notBefore = now.Add(max(retryAfter, time.Second))
}

// next takes the next item for the handler.
func (in *inbox) next() (item, bool) {
	if len(in.queue) == 0 {
		for user, signal := range in.later {
			delete(in.later, user)
			return item{era: in.era, signal: signal}, true
		}
		in.queue = nil
		return item{}, false
	}
	first := in.queue[0]
	in.queue[0] = item{}
	in.queue = in.queue[1:]
	return first, true
}

// done notes that the application has handled an item.
func (in *inbox) done(it item) {
	switch {
	case it.over != nil:
		in.handled = handled{era: it.era, known: true, seq: it.over.Head, epoch: it.over.InboxEpoch}
	case it.entry != nil:
		in.handled.seq = it.entry.GetSeq()
	default:
		return
	}
	in.pending++
}

// ack returns the seq to acknowledge now, if any: only what is saved, and nothing
// of an earlier era.
func (in *inbox) ack() (int64, bool) {
	if in.saved.era != in.era || !in.saved.known || in.saved.seq <= in.acked {
		return 0, false
	}
	in.acked = in.saved.seq
	return in.acked, true
}
