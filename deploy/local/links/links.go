// Package links stands between the parts of a system on one machine and harms what
// passes between them: it cuts, holds, slows and narrows, in both directions or in
// one, and loses answers.
package links

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what is wrong with a link; the zero value is nothing.
type Fault struct {
	Cut   bool // connections are reset, new ones as soon as they are made
	There Way  // from who connects to who is connected to
	Back  Way
	// Lose, where it is above zero, loses answers: a connection passes everything for
	// a random time of up to this. What is sent back after that arrives nowhere, and
	// as long again after that the connection is reset. So whoever has asked for
	// something does not know whether it was done.
	Lose time.Duration
}

// Way is what is wrong in one direction.
type Way struct {
	// Held: nothing arrives, not even the end of a connection, and nobody is told.
	// What has been sent arrives when it is held no longer, as after a cable was put
	// back.
	Held           bool
	Delay          time.Duration // of everything
	Jitter         time.Duration // more, at most; the order stays
	BytesPerSecond int           // at most; 0 = any number
}

// BlackHole is a link on which connections stand and can be made, and nothing passes.
func BlackHole() Fault { return Fault{There: Way{Held: true}, Back: Way{Held: true}} }

// Both is a link that is as bad in both directions.
func Both(way Way) Fault { return Fault{There: way, Back: way} }

// dialPatience bounds the wait for the part that is connected to.
const dialPatience = 10 * time.Second

// Link is the way from one part to another. It passes connections on to its target
// until it is told to harm them. All methods are safe for concurrent use.
type Link struct {
	target  string
	state   atomic.Pointer[state]
	there   atomic.Int64 // bytes that have passed
	back    atomic.Int64
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex // guards what follows, and changes of the state
	pairs     map[*pair]bool
	listeners []net.Listener
	closed    bool
}

// state is a fault and its time. It is replaced, never changed.
type state struct {
	fault Fault
	since time.Time
	over  chan struct{} // closed when another follows
}

// New returns a link to a host and port, which nobody can enter yet.
func New(target string) *Link {
	l := &Link{target: target, pairs: map[*pair]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.state.Store(&state{over: make(chan struct{})})
	return l
}

// Listen opens a way in on a free port of 127.0.0.1 and returns its address.
func (l *Link) Listen() (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(l.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open a link: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", errors.Join(net.ErrClosed, listener.Close())
	}
	l.listeners = append(l.listeners, listener)
	l.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			l.carry(near.(*net.TCPConn), nil)
		}
	})
	return listener.Addr().String(), nil
}

// Set puts a fault on the link in place of the one before.
func (l *Link) Set(fault Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.state.Swap(&state{fault: fault, since: time.Now(), over: make(chan struct{})})
	close(before.over)
	if fault.Cut {
		l.reset()
	}
}

// Mend takes the fault off. Connections that were not reset go on.
func (l *Link) Mend() { l.Set(Fault{}) }

// reset breaks every connection; the lock is held.
func (l *Link) reset() {
	for p := range l.pairs {
		p.reset()
	}
}

// Passed returns how many bytes have passed in each direction.
func (l *Link) Passed() (there, back int64) { return l.there.Load(), l.back.Load() }

// Close breaks everything and waits for its end. A second call does nothing.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.cancel()
	for _, listener := range l.listeners {
		listener.Close()
	}
	l.reset()
	l.mu.Unlock()
	l.running.Wait()
}

// carry ties a connection to one of its own to the target, until either ends.
// greeting goes back first. It does not wait.
func (l *Link) carry(near *net.TCPConn, greeting []byte) {
	p := &pair{link: l, began: time.Now(), near: near, over: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.state.Load().fault.Cut {
		p.reset()
		return
	}
	l.pairs[p] = true
	l.running.Go(func() {
		p.run(greeting)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pairs, p)
	})
}
