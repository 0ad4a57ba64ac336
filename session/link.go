package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/im-transfer/im"
)

const (
	// leavingPatience is how long the stream to a transfer that is no longer
	// listed is kept: a stopping one may finish what is in hand. One that has been
	// paused will not answer, and what waits for it waits that much longer than the
	// registry's TTL already, so it is short: whatever is cut off is sent again.
	leavingPatience = time.Second
	// callBit marks the numbers of calls; those of sessions are without it.
	callBit = 1 << 63
)

// Servers knows the live servers of a role.
type Servers interface {
	// Watch sends the list at once, and after every change; the channel is closed
	// when the context ends.
	Watch(ctx context.Context, role string) (<-chan []im.Server, error)
}

// LinkConfig is what a Link is made of.
type LinkConfig struct {
	ServerID        string // unique per process start and role: im.NewID()
	Role            string // websocket, tcp or http
	InboxPartitions int    // a cluster fact, 1 to 65,536

	ConversationPartitions int // a cluster fact
	Servers                Servers
	// Dial returns a connection to a transfer's address. It need not wait for
	// it. If the connection is an io.Closer, the link closes it. To notice a
	// paused transfer it should use gRPC keepalive.
	Dial func(ctx context.Context, address string) (grpc.ClientConnInterface, error)
	// Explain says what to look at when a transfer can not be reached; empty where the
	// error says enough. Nil: it always does.
	Explain func(error) string
	// RoomHeads is how often the heads of all open rooms are compared with their
	// owners', in one batch for each: so a push that was lost is found without a new
	// one. 10 s; as many whole seconds, at least one.
	RoomHeads time.Duration
}

// Link keeps one stream to every live transfer for all sessions and calls of a
// server, knows who owns which inbox partition, and sends again what a break
// may have lost.
type Link struct {
	config  LinkConfig
	log     *slog.Logger
	numbers atomic.Uint64
	turns   atomic.Uint64 // of unary calls
	changes atomic.Uint32 // streams that have come up or broken
	batches atomic.Uint64 // messages begun, on all streams
	room    gate          // opens when a stream comes up
	pulls   chan struct{} // holds a token for each pull on its way
	parts   []partition
	rooms   []roomPart // by conversation partition
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	start   sync.Once

	mu      sync.Mutex
	peers   map[string]*peer // by server id
	streams []*stream        // that are up
	down    time.Time        // since when there is none
	epoch   string           // the inbox epoch seen last, one copy for all sessions
	trouble error            // why no transfer could be reached lately; nil = none was listed
}

// NewLink returns a link that Start starts.
func NewLink(config LinkConfig, log *slog.Logger) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	config.RoomHeads = cmp.Or(config.RoomHeads, roomHeads)
	l := &Link{
		config: config, log: log, ctx: ctx, cancel: cancel,
		pulls: make(chan struct{}, maxPulls),
		parts: make([]partition, config.InboxPartitions), peers: map[string]*peer{}, down: time.Now(),
	}
	l.rooms = make([]roomPart, max(1, config.ConversationPartitions))
	for p := range l.rooms {
		l.rooms[p].rooms, l.rooms[p].claims = map[string]*room{}, map[*stream]struct{}{}
	}
	for q := range l.parts {
		l.parts[q].sessions, l.parts[q].calls = map[uint64]*Session{}, map[uint64]*call{}
	}
	return l
}

// Start begins to follow the list of transfers. It returns an error when there
// is no list to follow. Later calls do nothing.
func (l *Link) Start() error {
	var err error
	l.start.Do(func() {
		var lists <-chan []im.Server
		if lists, err = l.config.Servers.Watch(l.ctx, "transfer"); err != nil {
			err = fmt.Errorf("watch the transfers: %w", err)
			return
		}
		l.running.Add(1)
		go l.follow(lists)
	})
	return err
}

// Stop breaks all streams and returns when the goroutines have ended, or with
// the context.
func (l *Link) Stop(ctx context.Context) error {
	l.cancel()
	ended := make(chan struct{})
	go func() { l.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready returns why no transfer is connected, nil when one is.
func (l *Link) Ready() error {
	if l.pick(0) != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble != nil && len(l.peers) > 0 {
		return l.trouble
	}
	return errors.New("no transfer is connected")
}

// AwaitReady waits until a transfer is connected, or ctx ends; then it says why none
// is.
func (l *Link) AwaitReady(ctx context.Context) error {
	for {
		up := l.room.wait()
		if l.pick(0) != nil {
			return nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return l.Ready()
		}
	}
}

// follow keeps a peer for every transfer listed, and answers overdue heartbeats.
func (l *Link) follow(lists <-chan []im.Server) {
	defer l.running.Done()
	tick := time.NewTicker(beatPatience / 2)
	defer tick.Stop()
	for {
		select {
		case servers, ok := <-lists:
			if !ok {
				lists = nil
				continue
			}
			l.reconcile(servers)
		case <-tick.C:
			for _, st := range l.live() {
				st.overdue()
			}
			l.beatRooms()
		case <-l.ctx.Done():
			return
		}
	}
}

// reconcile starts peers for new transfers and dismisses those no longer listed.
func (l *Link) reconcile(servers []im.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	listed := map[string]bool{}
	for _, server := range servers {
		key := server.ID + " " + server.Address
		listed[key] = true
		if l.peers[key] == nil {
			l.peers[key] = newPeer(l, server)
			l.running.Add(1)
			go l.peers[key].run()
		}
	}
	for key, p := range l.peers {
		if !listed[key] {
			p.dismiss()
			delete(l.peers, key)
		}
	}
}

// newNumber returns a number for a session of a user, which holds the user's
// inbox partition.
func (l *Link) newNumber(user string) uint64 {
	return l.numbers.Add(1)<<16 | uint64(im.Partition(user, len(l.parts))) //nolint:gosec // not negative
}

// part returns the partition in a session's number.
func (l *Link) part(number uint64) *partition {
	return &l.parts[int(number&0xffff)%len(l.parts)]
}

// intern returns a string equal to epoch that other sessions hold too.
func (l *Link) intern(epoch string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != epoch {
		l.epoch = epoch
	}
	return l.epoch
}
