package rabbitmq

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
)

// packFrom is how many messages of a partition must be on their way before what
// waits is packed: below it an item is a message, and a consumer that dies leaves
// no acknowledged item behind in one that is not.
const packFrom = 16

// outlet is where a partition's items wait for their way to the broker. The lane's
// lock guards it but for the numbers that others read.
type outlet struct {
	lane  *lane
	queue string

	again   fifo[*message]     // written on a channel that has died, not confirmed; goes before what waits
	waiting fifo[item]         // not written yet
	calls   fifo[*publication] // without an answer, in order; those answered are dropped late
	flying  int                // messages that are on their way on this channel
	proven  bool               // this channel has brought a message into the queue
	queued  bool               // in the lane's line of those with something to write

	open    atomic.Int64 // items without an answer
	perPack atomic.Int64 // items of a message, lately, in 1/16
}

// publication is one call of Publish.
type publication struct {
	confirmed func(error)
	at        time.Time
	left      int   // items that are not confirmed
	items     int   // of them all
	bytes     int64 // of their bodies
	answered  bool
}

// item is one that has not been written.
type item struct {
	pack im.Pack
	of   *publication
}

// answer is what is owed to a publisher: it is given without any lock.
type answer struct {
	to  func(error)
	err error
}

func give(answers []answer) {
	for _, a := range answers {
		a.to(a.err)
	}
}

var (
	errTooMuch   = errors.New("too much waits for the broker")
	errNoAnswer  = errors.New("the broker did not answer in time")
	errReturned  = errors.New("the broker has no such queue")
	errNotStored = errors.New("the node could not store it")
	errSilent    = errors.New("the node confirms nothing")
)

// publish takes items, all or none.
func (o *outlet) publish(items []im.Pack, confirmed func(error)) error {
	p := &publication{confirmed: confirmed, at: time.Now(), left: len(items), items: len(items)}
	for i := range items {
		p.bytes += int64(len(items[i].Body))
	}
	l := o.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if held := l.queue.held.Add(p.bytes); held > l.queue.config.MaxWaiting {
		l.queue.held.Add(-p.bytes)
		return errTooMuch
	}
	for i := range items {
		o.waiting.push(item{pack: items[i], of: p})
	}
	o.calls.push(p)
	o.open.Add(int64(len(items)))
	l.offer(o)
	return nil
}

// window is how many messages may be on their way. A channel of the broker looks for
// the queue's leader with its first message, and may refuse that one and take the
// next; after the first it keeps the order. So the first goes alone.
func (o *outlet) window() int {
	if !o.proven {
		return 1
	}
	return o.lane.queue.config.Window
}

// next takes the message to write next. The lane's lock is held.
func (o *outlet) next() (m *message) {
	switch {
	case o.again.len() > 0:
		m = o.again.pop()
	case o.waiting.len() > 0:
		m = o.pack()
	default:
		return nil
	}
	o.flying++
	return m
}

// pack makes the next message of what waits: of one item, or, when many messages
// are on their way, of as many as fit. The lane's lock is held.
func (o *outlet) pack() *message {
	limit, most := o.lane.queue.config.PackBytes, min(maxPerPack, o.lane.queue.config.Prefetch)
	m := &message{outlet: o}
	for {
		next := o.waiting.pop()
		if m.body == nil {
			m.body = make([]byte, 1, 1+len(next.pack.Body)+itemExtra)
			m.body[0] = format
		}
		m.body = appendItem(m.body, &next.pack)
		m.of = append(m.of, next.of)
		if m.b3 == "" {
			m.b3 = next.pack.B3
		}
		if o.flying < packFrom || o.waiting.len() == 0 || len(m.of) == most ||
			len(m.body)+len(o.waiting.at(0).pack.Body)+itemExtra > limit {
			break
		}
	}
	lately := o.perPack.Load()
	o.perPack.Store(lately + (int64(len(m.of))*16-lately)/8)
	return m
}

// settle notes that the broker has a message. The lane's lock is held.
func (o *outlet) settle(m *message, answers []answer) []answer {
	for _, p := range m.of {
		if p.left--; p.left == 0 && !p.answered {
			answers = append(answers, o.finish(p, nil))
		}
	}
	o.dropAnswered()
	return answers
}

// fail answers everything that has no answer, oldest first, and forgets what is
// not written. The lane's lock is held.
func (o *outlet) fail(err error, answers []answer) []answer {
	for o.calls.len() > 0 {
		if p := o.calls.pop(); !p.answered {
			answers = append(answers, o.finish(p, refusal(err)))
		}
	}
	o.waiting = fifo[item]{}
	o.lane.forget(o)
	return answers
}

func (o *outlet) finish(p *publication, err error) answer {
	p.answered = true
	o.lane.queue.held.Add(-p.bytes)
	o.open.Add(int64(-p.items))
	return answer{p.confirmed, err}
}

func (o *outlet) dropAnswered() {
	for o.calls.len() > 0 && (*o.calls.at(0)).answered {
		o.calls.pop()
	}
}

// expire fails the partition's publishes when the oldest is older than a time.
func (o *outlet) expire(before time.Time) {
	o.lane.mu.Lock()
	var answers []answer
	o.dropAnswered()
	if o.calls.len() > 0 && (*o.calls.at(0)).at.Before(before) {
		answers = o.fail(errNoAnswer, nil)
	}
	o.lane.mu.Unlock()
	give(answers)
}
