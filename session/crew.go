package session

import (
	"sync"
	"sync/atomic"
)

// idleCrew is how many goroutines wait, with stacks already grown, for work.
const idleCrew = 128

// task is a piece of a session's work. The session's turn is signalled at its
// end if its reader waits.
type task struct {
	run     func(*Session)
	session *Session
	awaited bool
}

// crew runs tasks at once, on goroutines that are used again. They are bounded by
// who gives tasks: a session has at most one of each kind.
type crew struct {
	tasks   chan task
	stop    chan struct{}
	waiting atomic.Int32
	running sync.WaitGroup
}

func newCrew() *crew {
	return &crew{tasks: make(chan task), stop: make(chan struct{})}
}

// start runs f for s and does not wait.
func (c *crew) start(s *Session, f func(*Session)) { c.give(task{run: f, session: s}) }

// do runs f for s, whose reader calls it, and waits for its end.
func (c *crew) do(s *Session, f func(*Session)) {
	c.give(task{f, s, true})
	<-s.turn
}

func (c *crew) give(t task) {
	select {
	case c.tasks <- t:
	default:
		c.running.Add(1)
		go c.work(t)
	}
}

func (c *crew) work(t task) {
	defer c.running.Done()
	for {
		t.run(t.session)
		if t.awaited {
			t.session.turn <- struct{}{}
		}
		t = task{}
		if !c.next(&t) {
			return
		}
	}
}

// next waits for another task; false when there are enough who wait, or the crew
// is dismissed.
func (c *crew) next(t *task) bool {
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > idleCrew {
		return false
	}
	select {
	case *t = <-c.tasks:
		return true
	case <-c.stop:
		return false
	}
}
