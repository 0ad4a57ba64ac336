package bench

import (
	"net"
	"sync"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// When deliveries are acknowledged: after so many entries, at the latest at the
// next beat of the clock.
const ackEvery = 64

// user is an account of the run.
type user struct {
	id      string
	name    string
	devices []*device
}

// device is one device of a user, over all of its sessions.
type device struct {
	run       *run
	user      *user
	id        string
	platform  string
	token     string
	transport string
	source    net.IP // nil: any
	failed    string // id of the server whose connection was lost last; the session's goroutine has it
	history   *check.Device

	mu        sync.Mutex
	conn      *conn         // nil while away
	live      bool          // conn has been authenticated
	leaving   bool          // the session is to end
	gone      chan struct{} // closed at the end of the last session
	welcome   chan error    // takes the outcome of the first session's auth
	began     time.Duration // when the session's connection was begun
	arrivals  *check.Log    // what the sessions received
	sends     *check.Log
	tally     tally // not yet added to the run's statistics
	last      int64 // highest inbox seq delivered
	acked     int64
	head      int64         // the newest that the server told
	ceiling   int64         // not 0: entries above it are no longer recorded
	messages  int           // of the run, delivered for the first time
	goal      int           // not 0: reached is closed at so many messages
	reached   chan struct{} // as goal
	epoch     string
	resume    bool          // name the last seq at the next session
	absent    time.Duration // not 0: since when it is away, in a storm
	tries     int           // to come back that have failed
	next      string        // host:port that a server has named; empty = ask for one
	heartbeat time.Duration
	beatAt    time.Duration // when the next heartbeat is due
	now       time.Duration // of what is being handled
	onFrame   func(wire.Frame) error
	onEntry   func(*entry)
	onSaid    func(*entry) // as onEntry, in a room
	visit     *visit       // of Rooms
	sender
}

// frame handles one frame. The reader holds mu.
func (d *device) frame(f wire.Frame) error {
	switch f.Op {
	case wire.OpDeliver:
		return d.conn.scan.deliver(f.Body, d.onEntry)
	case wire.OpRoomDeliver:
		return d.roomDeliver(f)
	case wire.OpJoinReply:
		return d.joinReply(f)
	case wire.OpSendAck:
		return d.answered(f)
	case wire.OpError:
		return d.refused(f)
	case wire.OpHeartbeatReply:
		var reply imv1.HeartbeatReply
		if err := wire.Unmarshal(f.Form, f.Body, &reply); err != nil {
			return err
		}
		d.head = max(d.head, reply.Head)
		return nil
	case wire.OpAuthReply:
		return d.welcomed(f)
	case wire.OpDisconnect:
		return disconnected(f)
	}
	return nil
}

// entry handles one inbox entry.
func (d *device) entry(e *entry) {
	if d.ceiling > 0 && e.seq > d.ceiling {
		return
	}
	fresh := e.seq > d.last
	d.last = max(d.last, e.seq)
	switch string(e.kind) {
	case string(im.KindMessage):
		d.message(e, fresh)
	case string(im.KindReceipt):
		d.arrivals.Receipt(d.now, e.seq, d.run.conversation(e.conversation), string(e.sender), string(e.receiptKind) == "delivered", e.upto)
	default:
		d.arrivals.Entry(d.now, e.seq, e.messageID)
	}
}

func (d *device) message(e *entry, fresh bool) {
	tag, tagged := parseTag(e.text)
	conversation := d.run.conversation(e.conversation)
	if tagged && tag.run != d.run.id || conversation == 0 && !tagged {
		d.arrivals.Entry(d.now, e.seq, e.messageID) // of another run
		return
	}
	d.arrivals.Arrived(check.Arrival{
		At: d.now, Seq: e.seq, MessageID: e.messageID, Conversation: conversation, ConversationSeq: e.conversationSeq,
		Key: tag.key, Hash: check.Hash(e.sender, e.text), Edited: e.edited,
	})
	if !fresh || !tagged {
		return
	}
	d.tally.delivered++
	if string(e.sender) != d.user.id && d.run.config.Mode != CatchUp { // there it would be the time away
		d.tally.deliveries = append(d.tally.deliveries, span{tag.sent, d.now})
	}
	if d.messages++; d.messages == d.goal {
		close(d.reached)
	}
}

// awaits makes reached be closed when so many more messages have been delivered.
func (d *device) awaits(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.goal, d.reached = d.messages+n, make(chan struct{})
	return d.reached
}

// acknowledge queues an ack of everything delivered, if there is anything new.
func (d *device) acknowledge() {
	if d.last <= d.acked || !d.live {
		return
	}
	d.acked = d.last
	d.arrivals.Cursor(d.now, d.acked)
	d.conn.put(wire.OpAck, 0, &imv1.Ack{Seq: d.acked}) //nolint:errcheck // a number can be said in every form
}

// beat is the clock's call: what is due is sent.
func (d *device) beat(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.live {
		return
	}
	d.now = now.Sub(d.run.begun)
	d.acknowledge()
	if d.now >= d.beatAt {
		d.beatAt = d.now + d.heartbeat
		d.conn.put(wire.OpHeartbeat, 0, &imv1.Heartbeat{}) //nolint:errcheck // it is empty
	}
	if d.maySend() {
		d.retry()
	}
	d.conn.flush(now)
	d.run.stats.add(&d.tally)
}
