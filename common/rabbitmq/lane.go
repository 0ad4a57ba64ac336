package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// lane is a channel on which the items of some partitions are published, replaced
// when it dies. One goroutine writes, one hears the broker's confirms.
type lane struct {
	queue   *Queue
	outlets []*outlet     // fixed by Open
	wake    chan struct{} // holds one signal: look again

	mu      sync.Mutex    // guards what follows, and the outlets
	ready   fifo[*outlet] // with something to write and room in the window
	sent    fifo[*message]
	heard   time.Time // when the last confirm came, or sent had something again
	tag     uint64    // of the message written last on this channel
	blocked bool
	closed  bool
}

// message is one of AMQP.
type message struct {
	outlet   *outlet
	body     []byte
	b3       string         // of the first item with a trace
	of       []*publication // of each item
	tag      uint64         // on the channel on which it was written last
	dropped  bool           // everything in it has been answered: not to be written again
	returned bool
}

// headers let who looks at the queue follow a traced message; nobody reads them
// here, for what counts is in the body.
func (m *message) headers() amqp.Table {
	if m.b3 == "" {
		return nil
	}
	return amqp.Table{"b3": m.b3}
}

func newLane(q *Queue) *lane { return &lane{queue: q, wake: make(chan struct{}, 1)} }

// run replaces the channel until the context ends.
func (l *lane) run(ctx context.Context) {
	wait := redialFirst
	for {
		conn, err := l.queue.publishing.await(ctx, false)
		if err != nil {
			return
		}
		began := time.Now()
		err = l.channel(ctx, conn)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > redialLongest {
			wait = redialFirst
		}
		if !conn.IsClosed() { // else the link has said it
			l.queue.config.Log.Warn("lost a channel that publishes; taking another", "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, redialLongest)
	}
}

// channel publishes on one channel until that dies, and leaves it only when no
// confirm of it can come any more.
func (l *lane) channel(ctx context.Context, conn *amqp.Connection) error {
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	// Returns come unbuffered and so are known before their confirms.
	returns := channel.NotifyReturn(make(chan amqp.Return))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 4096))
	over, end := context.WithCancelCause(ctx)
	heard := make(chan struct{})
	l.begin()
	go func() {
		defer close(heard)
		defer end(amqp.ErrClosed)
		l.hear(confirms, returns, end)
	}()
	if err = channel.Confirm(false); err == nil {
		err = l.write(over, channel)
	}
	err = errors.Join(err, channel.Close()) // when it lives yet
	<-heard
	return err
}

// begin puts what the former channel has not confirmed before everything else.
func (l *lane) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.outlets {
		o.flying, o.proven, o.queued = 0, false, false
		later := o.again
		o.again = fifo[*message]{}
		for i := range l.sent.len() {
			if m := *l.sent.at(i); m.outlet == o && !m.dropped {
				o.again.push(m)
			}
		}
		for later.len() > 0 {
			o.again.push(later.pop())
		}
	}
	l.sent, l.ready, l.tag = fifo[*message]{}, fifo[*outlet]{}, 0
	for _, o := range l.outlets {
		l.offer(o)
	}
}

// write writes what there is, in order, until the channel is over.
func (l *lane) write(over context.Context, channel *amqp.Channel) error {
	for {
		m := l.next()
		if m == nil {
			select {
			case <-l.wake:
				continue
			case <-over.Done():
				return context.Cause(over)
			}
		}
		err := channel.PublishWithContext(context.Background(), "", m.outlet.queue, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, MessageId: strconv.FormatUint(m.tag, 10), Headers: m.headers(), Body: m.body,
		})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if over.Err() != nil {
			return context.Cause(over)
		}
	}
}

// next takes the message to write now, nil if there is none. It counts as sent.
func (l *lane) next() *message {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked || l.closed {
		return nil
	}
	var m *message
	for m == nil && l.ready.len() > 0 {
		o := l.ready.pop()
		o.queued = false
		m = o.next()
		l.offer(o)
	}
	if m != nil {
		l.tag++
		m.tag = l.tag
		if l.sent.len() == 0 {
			l.heard = time.Now()
		}
		l.sent.push(m)
	}
	return m
}

// offer puts an outlet in the line if it has something to write and may. The lock
// is held.
func (l *lane) offer(o *outlet) {
	if !o.queued && o.again.len()+o.waiting.len() > 0 && o.flying < o.window() {
		o.queued = true
		l.ready.push(o)
		l.rouse()
	}
}

// rouse makes the writer look again. It never blocks.
func (l *lane) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// forget lets go of what was written for an outlet and has been answered. The lock
// is held.
func (l *lane) forget(o *outlet) {
	o.again = fifo[*message]{}
	for i := range l.sent.len() {
		if m := *l.sent.at(i); m.outlet == o {
			m.dropped = true // not its body: that may just be written
		}
	}
}

// silent reports whether something was written before a time and nothing has been
// confirmed since. A broker that blocks its publishers may be silent.
func (l *lane) silent(since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.blocked && l.sent.len() > 0 && l.heard.Before(since)
}

// excuse counts silence from now on.
func (l *lane) excuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
}

func (l *lane) block(blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked, l.heard = blocked, time.Now()
	l.rouse()
}

// close refuses everything from now on and answers what has no answer.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	var answers []answer
	for _, p := range l.queue.all {
		if p.out.lane == l {
			answers = p.out.fail(ErrClosed, answers)
		}
	}
	l.mu.Unlock()
	give(answers)
}
