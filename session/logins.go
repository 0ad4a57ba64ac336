package session

import (
	"sync/atomic"
	"time"
)

const (
	// loginPatience is how long a log-in waits for its turn before it is refused.
	loginPatience = 3 * time.Second
	// shortestReturn and longestReturn bound what a client that is sent away for want
	// of room is asked to wait.
	shortestReturn = time.Second
	longestReturn  = time.Minute
)

// logins bounds the log-ins of a server that are judged at once; more wait for their
// turn, on their readers' small stacks, for loginPatience. When a crowd comes back whose
// server has died, those whom it would take longer to serve are told when to come again,
// instead of all waiting until all have given up.
type logins struct {
	places  chan struct{}
	waiting atomic.Int64
	took    atomic.Int64 // a log-in's time in its place, nanoseconds, averaged over the last ones
}

func newLogins(most int) *logins { return &logins{places: make(chan struct{}, most)} }

// enter waits for a place; without one, retryAfter is when to come again.
func (l *logins) enter() (retryAfter time.Duration) {
	select {
	case l.places <- struct{}{}:
		return 0
	default:
	}
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	timer := time.NewTimer(loginPatience)
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return 0
	case <-timer.C:
		return jitter(l.backlog())
	}
}

// leave gives a place up that was held for a time. An average that two change at once
// misses one of them, which is no harm.
func (l *logins) leave(held time.Duration) {
	average := l.took.Load()
	l.took.Store(average + (int64(held)-average)/16)
	<-l.places
}

// backlog is about how long all who wait now will take.
func (l *logins) backlog() time.Duration {
	all := time.Duration(l.waiting.Load() * l.took.Load() / int64(cap(l.places)))
	return min(max(all, shortestReturn), longestReturn)
}
