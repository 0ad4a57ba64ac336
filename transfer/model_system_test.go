package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/common/storetest"
	"github.com/im-transfer/im/transfer"
)

const modelPartitions = 2 // of each topic

// system is everything that a script is carried out on. Its test's goroutine takes
// the steps; between them it waits until everybody waits for time to pass.
type system struct {
	t       *rapid.T
	embed   bool // one process on a store with an outbox
	dir     string
	db      *sqlite.Store
	store   transfer.Store // what all share
	lagging *storetest.Lagging
	queue   *memory.Queue
	faults  *faults
	owners  []*modelOwner // that live or are paused
	made    int
	gate    *modelGateway
	going   sync.WaitGroup // whatever must end before the bubble does

	mu      sync.Mutex
	failure string // the first promise broken; empty: none
}

// modelOwner is one transfer server, and what stands between it and the rest.
type modelOwner struct {
	id     string
	server *transfer.Server
	store  *storetest.Outage
	queue  *modelQueue
	view   *modelView
	hangUp context.CancelFunc
	paused bool
}

func newSystem(t *rapid.T, embedded bool) *system {
	s := &system{t: t, embed: embedded, faults: newFaults()}
	// Message ids begin in 2026, a bubble's time in 2000.
	time.Sleep(time.Until(time.UnixMilli(im.Epoch)))
	dir, err := os.MkdirTemp(inMemory(), "model")
	s.must(err)
	s.dir = dir
	s.db, err = sqlite.Open(context.Background(), dir, sqlite.Options{CacheBytes: 1 << 20, Readers: 1})
	s.must(err)
	s.store = s.db
	if !embedded {
		s.lagging = storetest.NewLagging(storetest.WithoutOutbox(s.db))
		s.store = s.lagging
	}
	s.newQueue()
	s.gate = newModelGateway(s)
	s.add()
	if !embedded {
		s.add()
	}
	return s
}

// must ends the test for what has nothing to do with promises.
func (s *system) must(err error) {
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) newQueue() {
	s.queue = memory.NewQueue(8,
		memory.Topic{Name: transfer.TopicConversation, Partitions: modelPartitions, Bound: 10000},
		memory.Topic{Name: transfer.TopicInbox, Partitions: modelPartitions, Bound: 10000})
}

// inMemory is a folder that no disk is behind, where there is one: nothing here is
// about disks.
func inMemory() string {
	const folder = "/dev/shm"
	if _, err := os.Stat(folder); err != nil {
		return ""
	}
	return folder
}

// run carries a script out, lets everything recover, and judges.
func (s *system) run(steps []step) {
	defer s.end()
	for _, step := range steps {
		time.Sleep(step.after)
		s.take(step)
		synctest.Wait()
		s.gate.watch()
		s.watchOwners()
	}
	s.heal()
	s.settle()
}

// watchOwners: nothing that is done to an owner is a reason to give up.
func (s *system) watchOwners() {
	for _, o := range s.owners {
		select {
		case err := <-o.server.Failed():
			s.broken("given up", "%s: %v", o.id, err)
		default:
		}
	}
}

// broken notes that a promise was broken, and how. Only which one it was is the
// test's failure: that it is the same again is how a script is made shorter.
func (s *system) broken(promise, format string, args ...any) {
	s.t.Logf("%s: %s", promise, fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == "" {
		s.failure = promise
	}
}

// end stops what lives and reports.
func (s *system) end() {
	s.heal()
	for len(s.owners) > 0 {
		s.leave(s.owners[0])
	}
	s.going.Wait()
	s.must(errors.Join(s.queue.Close(), s.db.Close(), os.RemoveAll(s.dir)))
	if s.failure != "" {
		s.t.Fatal(s.failure)
	}
}

// heal ends every fault; what is on its way arrives.
func (s *system) heal() {
	s.faults.clear()
	if s.lagging != nil {
		s.lagging.CatchUp()
	}
	for _, o := range s.owners {
		s.resume(o)
		o.queue.Release()
	}
	if len(s.owners) == 0 {
		s.add()
	}
}

// add starts one more owner, and tells the others.
func (s *system) add() {
	o := &modelOwner{id: fmt.Sprint("owner ", s.made), view: newModelView()}
	s.made++
	var under transfer.Store = s.store
	if !s.embed { // what is on the wire arrives also after its sender's death
		under = &late{Store: under, leg: onTheWire, faults: s.faults, going: &s.going}
	}
	o.store = storetest.NewOutage(under)
	store := &late{Store: o.store, leg: inTheOwner, abandons: s.embed, faults: s.faults, going: &s.going}
	o.queue = newModelQueue(s.queue, s.faults, s.embed)
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(logWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	o.server = transfer.New(transfer.Config{
		ServerID: o.id, ConversationPartitions: modelPartitions, InboxPartitions: modelPartitions, Prefetch: 8, DevicesPerPlatform: 1,
	}, storetest.Faulty(store, s.faults), o.queue, o.view, tokens{}, log.With("owner", o.id))
	s.owners = append(s.owners, o)
	s.start(o)
	s.gate.connect(o)
	s.tellViews()
}

type logWriter struct{ t *rapid.T }

func (w logWriter) Write(line []byte) (int, error) {
	w.t.Log(string(line))
	return len(line), nil
}

// start starts an owner, in spite of a store that refuses just now.
func (s *system) start(o *modelOwner) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := o.server.Start(ctx)
		cancel()
		if err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// live returns the owners that are not paused.
func (s *system) live() (all []*modelOwner) {
	for _, o := range s.owners {
		if !o.paused {
			all = append(all, o)
		}
	}
	return all
}

// tellViews tells who lives to everybody who does.
func (s *system) tellViews() {
	var list []im.Server
	for _, o := range s.live() {
		list = append(list, im.Server{ID: o.id, Role: "transfer"})
	}
	for _, o := range s.live() {
		o.view.tell(list)
	}
}

func (s *system) without(gone *modelOwner) {
	kept := s.owners[:0]
	for _, o := range s.owners {
		if o != gone {
			kept = append(kept, o)
		}
	}
	s.owners = kept
	s.tellViews()
}

// stop ends a server's goroutines, beside the script.
func (s *system) stop(o *modelOwner) {
	s.going.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := o.server.Stop(ctx); err != nil && ctx.Err() != nil {
			panic(fmt.Sprintf("%s does not stop: %v", o.id, err))
		}
		o.hangUp()
	})
}

// kill cuts an owner off from everything at once, as kill -9 does.
func (s *system) kill(o *modelOwner) {
	o.store.Gone()
	o.queue.die()
	o.hangUp()
	s.without(o)
	s.gate.forget(o)
	s.stop(o)
	s.must(o.queue.breakAll())
	if s.embed {
		s.restart()
	}
}

// leave stops an owner as an operator does.
func (s *system) leave(o *modelOwner) {
	s.without(o)
	s.gate.forget(o)
	s.stop(o)
}

// restart starts the one process anew: its queue died with it.
func (s *system) restart() {
	s.going.Wait()
	s.must(s.queue.Close())
	s.newQueue()
	s.add()
}

// pause holds everything that an owner does, and has the others take its partitions.
func (s *system) pause(o *modelOwner) {
	o.paused = true
	o.store.Away()
	o.queue.hold()
	o.hangUp()
	s.gate.forget(o)
	s.tellViews()
	s.must(o.queue.breakAll())
}

// resume lets it go on: what it was about to do it does now.
func (s *system) resume(o *modelOwner) {
	if !o.paused {
		return
	}
	o.paused = false
	o.store.Back()
	o.queue.letGo()
	s.gate.connect(o)
	s.tellViews()
}

// take takes one step. A step that can not be taken now is none.
func (s *system) take(step step) {
	owner := func(from []*modelOwner) *modelOwner { return from[step.who%len(from)] }
	many := len(s.live()) > 1
	switch step.what {
	case waits:
		time.Sleep(time.Duration(step.n) * 11 * time.Second)
	case fails:
		s.faults.fail(step.write, step.fault, 1+step.n)
	case slows:
		leg := inTheOwner
		if step.who%2 == 1 && !s.embed {
			leg = onTheWire
		}
		s.faults.slow(leg+step.write, time.Duration(1+step.n*step.n*step.n)*150*time.Millisecond, 1+step.whom)
	case misfates:
		topic := transfer.TopicInbox
		if step.whom == 0 && !s.embed {
			topic = transfer.TopicConversation
		}
		s.faults.misfate(topic, step.fate, 1+step.n)
	case confirms:
		for _, o := range s.owners {
			o.queue.Release()
		}
	case breaks:
		topics := [2]string{transfer.TopicConversation, transfer.TopicInbox}
		for _, o := range s.owners {
			s.must(o.queue.Break(topics[step.n%2], step.whom%modelPartitions))
		}
	case kills:
		if many || s.embed {
			s.kill(owner(s.live()))
		}
	case leaves:
		if many || s.embed {
			s.leave(owner(s.live()))
		}
		if s.embed {
			s.restart()
		}
	case adds:
		if len(s.owners) < 4 {
			s.add()
		}
	case pauses:
		if many {
			s.pause(owner(s.live()))
		}
	case resumes:
		for _, o := range s.owners {
			if o.paused {
				s.resume(o)
				break
			}
		}
	case lags:
		s.lagging.Lag()
	case catchesUp:
		s.lagging.CatchUp()
	case rollsBack:
		s.lagging.RollBack()
	default:
		s.gate.take(step)
	}
}
