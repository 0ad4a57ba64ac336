package links

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What may be on its way in one direction of a connection: then its sender waits, as
// for a network that is full.
const (
	chunkBytes = 32 << 10
	maxChunks  = 64
)

// pair is a connection and the one to the target that it is tied to.
type pair struct {
	link  *Link
	began time.Time
	near  *net.TCPConn

	mu   sync.Mutex
	far  *net.TCPConn // nil until it is made
	done bool
	over chan struct{} // closed when the pair is broken
}

// run carries everything in both directions, until both have ended.
func (p *pair) run(greeting []byte) {
	defer p.close(abort)
	if !p.dial() {
		return
	}
	there := &pipe{pair: p, from: p.near, to: p.far, passed: &p.link.there, way: func(f Fault) Way { return f.There }}
	back := &pipe{
		pair: p, from: p.far, to: p.near, passed: &p.link.back, way: func(f Fault) Way { return f.Back },
		loses: true, fortune: rand.Float64(),
	}
	var both sync.WaitGroup
	both.Go(func() { there.run(nil) })
	both.Go(func() { back.run(greeting) })
	both.Wait()
	p.close(func(conn *net.TCPConn) { conn.Close() }) // what it has been given still arrives
}

func (p *pair) dial() bool {
	ctx, cancel := context.WithTimeout(p.link.ctx, dialPatience)
	defer cancel()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.link.target)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.far = far.(*net.TCPConn)
	if p.done {
		abort(p.far)
	}
	return !p.done
}

// reset breaks both connections, as a machine does that does not know them.
func (p *pair) reset() { p.close(abort) }

func (p *pair) close(end func(*net.TCPConn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	close(p.over)
	end(p.near)
	if p.far != nil {
		end(p.far)
	}
}

// abort closes a connection with a reset.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // it fails on a closed one only
	conn.Close()
}

// pipe is one direction of a pair.
type pipe struct {
	pair     *pair
	from, to *net.TCPConn
	passed   *atomic.Int64
	way      func(Fault) Way
	loses    bool      // it is the answers' direction
	fortune  float64   // when a link that loses answers strikes, 0 to 1
	free     time.Time // when a narrow link has room again
}

// chunk is something on its way.
type chunk struct {
	sent   time.Time
	jitter float64 // part of the link's that it meets, 0 to 1
	bytes  []byte
	end    error // why nothing follows; nil: more does
}

// run passes on what arrives, in order, first the greeting.
func (p *pipe) run(greeting []byte) {
	chunks := make(chan chunk, maxChunks)
	if greeting != nil {
		chunks <- chunk{sent: time.Now(), bytes: greeting}
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.read(chunks) })
	for c := range chunks {
		if !p.write(c) {
			p.pair.reset()
		}
	}
	reading.Wait()
}

// read takes in what is sent until that ends, or the pair is broken.
func (p *pipe) read(chunks chan<- chunk) {
	defer close(chunks)
	buffer := make([]byte, chunkBytes)
	for {
		n, err := p.from.Read(buffer)
		c := chunk{sent: time.Now(), jitter: rand.Float64(), bytes: bytes.Clone(buffer[:n]), end: err}
		select {
		case chunks <- c:
		case <-p.pair.over:
			return
		}
		if err != nil {
			return
		}
	}
}

// write passes a chunk on when it is due; false when the pair is to be broken.
func (p *pipe) write(c chunk) bool {
	if !p.await(c) {
		return false
	}
	if _, err := p.to.Write(c.bytes); err != nil {
		return false
	}
	p.passed.Add(int64(len(c.bytes)))
	switch {
	case c.end == nil:
		return true
	case errors.Is(c.end, io.EOF):
		return p.to.CloseWrite() == nil
	}
	return false
}

// await returns true when a chunk may pass, false when the pair is broken or is to be.
func (p *pipe) await(c chunk) bool {
	for {
		state := p.pair.link.state.Load()
		due, lost, held := p.due(c, state)
		wait := time.Until(due)
		switch {
		case state.fault.Cut, lost && wait <= 0:
			return false
		case !held && !lost && wait <= 0:
			p.occupy(len(c.bytes), p.way(state.fault).BytesPerSecond)
			return true
		}
		timer := time.NewTimer(wait)
		if held {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-state.over:
		case <-p.pair.over:
			return false
		}
		timer.Stop()
	}
}

// due says when a chunk arrives, or, if it is lost, when the connection breaks.
func (p *pipe) due(c chunk, state *state) (at time.Time, lost, held bool) {
	if lose := state.fault.Lose; lose > 0 && p.loses {
		from := state.since
		if p.pair.began.After(from) {
			from = p.pair.began
		}
		strikes := from.Add(time.Duration(p.fortune * float64(lose)))
		if c.sent.After(strikes) {
			return c.sent.Add(lose), true, false
		}
	}
	way := p.way(state.fault)
	at = c.sent.Add(way.Delay + time.Duration(c.jitter*float64(way.Jitter)))
	if way.BytesPerSecond > 0 && p.free.After(at) {
		at = p.free
	}
	return at, false, way.Held
}

// occupy takes a narrow link for as long as so many bytes need.
func (p *pipe) occupy(n, perSecond int) {
	if perSecond > 0 {
		p.free = time.Now().Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
	}
}
