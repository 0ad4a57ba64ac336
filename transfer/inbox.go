package transfer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// inbox is the owner of one inbox partition. One goroutine, run, owns its state and
// never waits for the store or the queue; what others want goes through control.
// Beside it there are at most a commit, a load of users (load.go) and receipts on
// their way (issue.go), each on a goroutine of its own that is handed what it
// needs and hands back what it has found.
type inbox struct {
	server    *Server
	store     Store
	log       *slog.Logger
	partition int
	term      int64
	ids       *term // terms of this partition; its ids name commits; the commit in flight has it
	outbox    bool
	passed    *passed // the receiving goroutine's

	controls chan controls
	done     chan struct{} // closed when the partition is being given up

	users   map[string]*inboxUser
	counter int64 // of generations given in this term

	waits   map[string]*waiting // by user, for loads to come
	order   []string            // of waits, the oldest first
	loading *load               // in flight
	loaded  chan *load
	asked   int // acks in waits and loading that want an answer

	next      *inboxCommit // received; waits for its users, or for pending
	pending   *inboxCommit // in flight
	committed chan *inboxCommit

	receipted map[receiptKey]int64 // the last receipts written, without outbox

	due      dueReceipts
	issuing  *receipts // on their way, in a store without outbox
	unissued *receipts // for when those are out
	issued   chan *receipts

	cursors  map[cursorKey]im.Cursor // moved since the last store
	durable  []durableAck            // acks to answer once their cursors are stored
	storeAt  <-chan time.Time        // armed while cursors or receipts are due
	tick     bool                    // storeAt has fired
	flush    bool                    // a device has gone: store the cursors
	tickedAt time.Time
	forgetAt int // users in memory at which idle ones are forgotten

	watched map[string]*watched // by user
	hides   map[hide]hidden     // who has blocked whom lately
	settled time.Time           // when all sessions that a former owner had should have attached
	unseen  []string            // watched users of whom the store is to be asked
	looking bool                // it is being asked
	seen    chan *lastSeen
	judgeAt <-chan time.Time // armed while somebody may have gone

	progress progress
}

type cursorKey struct{ userID, deviceID string }

// inboxUser is what the owner remembers of a user. Users without sessions, and for
// whom nothing waits, may be forgotten at any time between commits.
type inboxUser struct {
	id       string
	head     int64 // committed
	sessions []*attachment
	cursors  []im.Cursor // of the devices, which are few; nil = not loaded
	arrived  []arrival   // direct messages of others not yet receipted
	arrivedT int64       // arrived is complete above this inbox seq
	seenMs   int64       // when a session ended last; 0 = none has here

	blocks map[string]bool // whether the user has blocked those who were asked for; only commits use it
}

// cursor returns a device's cursor, at 0 where it has none.
func (u *inboxUser) cursor(deviceID string) im.Cursor {
	for _, c := range u.cursors {
		if c.DeviceID == deviceID {
			return c
		}
	}
	return im.Cursor{UserID: u.id, DeviceID: deviceID}
}

func (u *inboxUser) setCursor(cursor im.Cursor) {
	for i := range u.cursors {
		if u.cursors[i].DeviceID == cursor.DeviceID {
			u.cursors[i] = cursor
			return
		}
	}
	u.cursors = append(u.cursors, cursor)
}

// newInbox returns the owner of an inbox partition by a term that was taken.
func newInbox(s *Server, q int, held *term) *inbox {
	b := &inbox{
		server: s, store: s.store, log: s.log.With("partition", partitionName(TopicInbox, q)), partition: q,
		term: held.held.Term, ids: held, outbox: s.info.Outbox, passed: newPassed(),
		controls: make(chan controls, 64), done: make(chan struct{}),
		users: map[string]*inboxUser{}, waits: map[string]*waiting{}, cursors: map[cursorKey]im.Cursor{},
		loaded: make(chan *load, 1), committed: make(chan *inboxCommit, 1), issued: make(chan *receipts, 1),
		receipted: map[receiptKey]int64{}, due: newDueReceipts(), forgetAt: maxInboxUsers,
		watched: map[string]*watched{}, hides: map[hide]hidden{}, seen: make(chan *lastSeen, 1), progress: newProgress(),
	}
	if b.term > 1 { // of the first one's users none was attached before
		b.settled = s.now().Add(s.config.PresenceGrace / 2)
	}
	return b
}

// controls is a batch of what streams and calls want of an inbox partition.
type controls struct {
	from     *gateway
	attaches []*imv1.Attach
	detaches []*imv1.Detach
	acks     []*imv1.Acked
	heads    []*imv1.HeadRequest
	gone     *gateway // this stream has ended
	kick     *kickCall
	signal   *signalPush
	shown    []*imv1.Shown
	watches  []*imv1.Watching
	written  []*imv1.Written
}

// control hands a batch to the partition's goroutine. It returns when the partition
// is given up: what was not taken comes again with the attach to the next owner.
func (b *inbox) control(c controls) {
	select {
	case b.controls <- c:
	case <-b.done:
	}
}

// run owns the partition, and in the end closes its consumer, until ctx ends or
// another owner was seen.
func (b *inbox) run(ctx context.Context, consumer Consumer) error {
	work, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan *inboxBatch)
	owed := make(chan *owedReceipts, 1)
	over := make(chan reception, 1)
	b.server.goRun(func() { over <- b.receive(work, consumer, batches) })
	b.server.goRun(func() { owed <- b.loadOwed(work) })
	var err error
	for err == nil {
		incoming := batches
		if b.pending != nil || b.next != nil {
			incoming = nil
		}
		select {
		case batch := <-incoming:
			b.next = newCommit(batch)
		case c := <-b.committed:
			if err = b.finish(c); err == nil {
				b.issue(work, c)
			}
		case l := <-b.loaded:
			err = b.settle(l)
		case r := <-b.issued:
			err = b.wentOut(work, r)
		case o := <-owed:
			err = b.owe(o)
		case c := <-b.controls:
			b.handle(c)
		case <-b.storeAt:
			b.storeAt, b.tick = nil, true
		case l := <-b.seen:
			err = b.learnSeen(l)
		case <-b.judgeAt:
			b.judgeAll()
		case <-b.progress.at:
			b.keepProgress()
		case <-b.progress.stored:
			b.progress.busy = false
		case r := <-over:
			err = r.err
			over <- r
		}
		if err == nil {
			err = b.proceed(work, batches)
		}
	}
	stop()
	err = b.giveUp(err)
	if r := <-over; r.consumer != nil {
		err = errors.Join(err, r.consumer.Close())
	}
	return err
}

// proceed begins what can be begun: a commit of the batch that was received, of
// cursors and of receipts; a load of users.
func (b *inbox) proceed(ctx context.Context, batches <-chan *inboxBatch) error {
	due := b.tick || b.flush || len(b.durable) > 0
	if b.pending == nil && due && b.next == nil {
		select { // in one commit with what is ready: rounds of receipts hold nothing up
		case batch := <-batches:
			b.next = newCommit(batch)
		default:
		}
	}
	if b.pending == nil && b.next != nil {
		ready, err := b.prepare(b.next)
		if err != nil {
			return err
		}
		if ready {
			b.begin(ctx, b.next)
			b.next = nil
		}
	}
	if b.pending == nil && due { // cursors do not wait for a batch's users to be loaded
		b.begin(ctx, newCommit(&inboxBatch{}))
	}
	b.loadWanted(ctx)
	b.lookSeen(ctx)
	return nil
}

// giveUp ends: from its beginning on the gateways know. It finishes the commit in
// hand, for what is in the store must be acknowledged to the queue, and stores the
// cursors; but while the store is away only for one try's time. What is then left
// unacknowledged is the next owner's, and the gateways tell it the cursors again.
func (b *inbox) giveUp(err error) error {
	close(b.done)
	b.server.announce(b, true)
	im.CrashPoint(im.CrashReleased)
	if b.pending != nil {
		c := <-b.committed
		if c.err != nil {
			return errors.Join(err, c.err)
		}
		err = errors.Join(err, b.finish(c))
	}
	if errors.Is(err, errForeign) {
		return err
	}
	b.storeProgress(b.progress.take())
	if failure := b.storeCursors(); failure != nil {
		return errors.Join(err, failure)
	}
	im.CrashPoint(im.CrashCursorsLeft)
	b.answerAcks(b.durable)
	return err
}

func (b *inbox) storeCursors() error {
	if len(b.cursors) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	return b.store.CommitInbox(ctx, &im.InboxCommit{Cursors: b.takeCursors()})
}

// maxInboxUsers bounds the users without a session that one partition remembers.
const maxInboxUsers = 16384

// forget drops users nobody is attached for when there are too many. Never while a
// commit is in flight: their heads are about to move. And none who is waited for: a
// load that was asked for their cursors only does not bring the rest of them.
func (b *inbox) forget() {
	if len(b.users) <= b.forgetAt || b.pending != nil {
		return
	}
	moved := make(map[string]bool, len(b.cursors))
	for key := range b.cursors {
		moved[key.userID] = true
	}
	kept := 0
	for id, user := range b.users {
		if len(user.sessions) == 0 && !b.due.users[id] && !moved[id] && len(b.waitingFor(id)) == 0 {
			delete(b.users, id)
		} else {
			kept++
		}
	}
	b.forgetAt = max(maxInboxUsers, 2*kept)
}

// arm makes the goroutine come back after a time to store what is due.
func (b *inbox) arm(after time.Duration) {
	if b.storeAt == nil {
		b.storeAt = time.After(after)
	}
}
