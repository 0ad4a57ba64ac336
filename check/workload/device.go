package workload

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/proto/wire"
)

// maxJobs bounds what a device has under way beside its goroutine: one connection
// being made, one call by HTTP, one change of a group, and one of a message.
const maxJobs = 4

// mostUnanswered is how many messages wait for an answer at most; beyond them the
// script waits too.
const mostUnanswered = 512

// device is one device of a user, over all of its sessions. All of it belongs to the
// goroutine of live, and after that to who has waited for it.
type device struct {
	run      *run
	user     *user
	id       string
	platform string
	recorded *check.Device
	log      *check.Log
	dice     *rand.Rand // of choices that the script leaves open
	tokens   client.Tokens
	tally    *tally

	orders chan order  // what the run wants now
	jobs   chan func() // the end of a job, to be done by live
	beside sync.WaitGroup
	work   context.Context // of jobs

	phase  order
	script []step
	at     int       // the next step
	began  time.Time // of the script

	current  *session // authenticated; nil while away
	next     *session // being authenticated
	dialling bool
	dialAt   time.Time // not before
	failures int       // to get a session, since the last one
	failed   string    // the server that was lost last
	noToken  bool      // the token is not taken any more
	absent   bool      // by its own choice
	forget   bool      // the next session begins without last_seq

	last    int64                           // highest inbox seq that it has
	epoch   string                          // of the inbox
	newest  map[check.ConversationRef]int64 // highest conversation seq delivered
	marked  map[check.ConversationRef]int64 // highest that was marked as read
	stalled time.Time                       // reads nothing until then
	silent  time.Time                       // acknowledges nothing until then

	lanes      []*lane        // by contact
	unanswered int            // messages in all lanes
	stored     []*message     // acknowledged; some go out again
	calling    bool           // by HTTP
	changes    []memberChange // of the user's groups, in order; the first is asked for
	changing   bool           // an answer to it is outstanding
	changeAt   time.Time      // not before
	changed    int            // so far, for their keys
	altering   *alteration    // that waits for its answer
	asking     bool           // for it; the answer is outstanding
	alterAt    time.Time      // not before
	altered    int            // so far, for their keys
	settled    bool           // as the run was last told
	arrived    bool           // has had a session
	present    bool           // when it was told to part
}

// order is what the run wants of a device.
type order int

const (
	connect order = iota // be there
	play                 // follow the script
	drain                // come back, and get everything
	part                 // hang up, and stay away
)

// live is the device's goroutine. It ends with the context.
func (d *device) live(ctx context.Context) {
	d.work = ctx
	defer d.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(max(0, time.Until(d.act(time.Now()))))
		select {
		case <-timer.C:
		case frame, open := <-d.frames(d.current):
			d.frame(d.current, frame, open)
		case frame, open := <-d.frames(d.next):
			d.frame(d.next, frame, open)
		case done := <-d.jobs:
			done()
		case phase := <-d.orders:
			d.obey(phase)
		case <-ctx.Done():
			return
		}
		d.tell()
	}
}

// end leaves nothing behind.
func (d *device) end() {
	d.hangUp()
	d.beside.Wait()
	for len(d.jobs) > 0 {
		(<-d.jobs)()
	}
	d.hangUp() // what a job has brought
	d.beside.Wait()
}

// hangUp closes what there is of connections.
func (d *device) hangUp() {
	d.drop(d.current, false)
	d.drop(d.next, false)
	d.current, d.next = nil, nil
}

// frames is where a session's frames come from; nowhere while nothing is read.
func (d *device) frames(s *session) <-chan wire.Frame {
	if s == nil || d.stalled.After(time.Now()) {
		return nil
	}
	return s.frames
}

// aside does something that waits in a goroutine of its own, and then what it
// returns here.
func (d *device) aside(work func() func()) {
	d.beside.Go(func() { d.jobs <- work() })
}

func (d *device) obey(phase order) {
	d.phase = phase
	switch phase {
	case play:
		d.began = time.Now()
	case drain:
		d.settled = false
		d.dialAt, d.stalled, d.silent = time.Time{}, time.Time{}, time.Time{}
		if d.current != nil {
			d.current.beatAt, d.current.told = time.Time{}, false
			d.rise()
		}
	case part:
		d.present = d.current != nil
		d.hangUp()
		d.run.parted.Done()
	}
}

// act does what is due, and returns when something will be next.
func (d *device) act(now time.Time) time.Time {
	due := now.Add(time.Hour)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(due) {
			due = at
		}
	}
	switch d.phase {
	case play:
		sooner(d.play(now))
	case drain:
		d.sendRest()
	}
	if d.phase != part {
		sooner(d.connectDue(now))
		sooner(d.changeDue(now))
		sooner(d.alterDue(now))
	}
	if d.stalled.After(now) {
		sooner(d.stalled)
	} else if !d.stalled.IsZero() {
		d.stalled = time.Time{}
		d.rise()
	}
	if d.current != nil {
		sooner(d.flush(now))
	}
	if d.current != nil {
		sooner(d.acknowledge(now))
	}
	if d.current != nil {
		sooner(d.beat(now))
	}
	return due
}

// play does the steps of the script whose time has come.
func (d *device) play(now time.Time) time.Time {
	for d.at < len(d.script) && d.unanswered < mostUnanswered {
		s := &d.script[d.at]
		if at := d.began.Add(s.at); at.After(now) {
			return at
		}
		d.at++
		d.do(s, now)
	}
	return time.Time{}
}

// sendRest sends what the load's end has left of the script, so that a seed's messages
// are always the same; the mishaps are over.
func (d *device) sendRest() {
	for ; d.at < len(d.script) && d.unanswered < mostUnanswered; d.at++ {
		if s := &d.script[d.at]; s.number != 0 {
			d.tally.actions[send]++
			d.compose(s)
		}
	}
}

// tell tells the run whether the device has all, while it drains.
func (d *device) tell() {
	if d.phase != drain {
		return
	}
	if settled := d.hasAll(); settled != d.settled {
		d.settled = settled
		d.run.settle(settled)
	}
}

// hasAll reports whether everything that the device has sent is answered and
// everything up to the head is here and acknowledged.
func (d *device) hasAll() bool {
	s := d.current
	return d.at == len(d.script) && s != nil && s.told && d.last >= s.head && s.confirmed >= d.last && d.unanswered == 0 && !d.calling && len(d.changes) == 0 && d.altering == nil && len(s.asks) == 0
}
