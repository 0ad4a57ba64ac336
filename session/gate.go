package session

import (
	"math/rand/v2"
	"sync"
	"time"
)

// gate lets many wait for something that comes rarely.
type gate struct {
	mu      sync.Mutex
	waiting chan struct{} // nil = nobody waits
}

// wait returns a channel that the next open closes.
func (g *gate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = make(chan struct{})
	}
	return g.waiting
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting != nil {
		close(g.waiting)
		g.waiting = nil
	}
}

// backoff is the time before the nth try in a row: 50 ms doubling up to 1 s,
// spread by a half.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 5), time.Second)
	return d/2 + rand.N(d)
}
