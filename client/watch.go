package client

import (
	"errors"
	"time"
)

// heartbeatGrace is how long a heartbeat_reply may take.
const heartbeatGrace = 10 * time.Second

var errSilent = errors.New("the server did not answer a heartbeat")

// watch is the session's clock: it has heartbeats written and ends the session
// when one is not answered.
func (l *link) watch() {
	ticker := time.NewTicker(l.heartbeat)
	defer ticker.Stop()
	grace := time.NewTimer(heartbeatGrace)
	grace.Stop()
	defer grace.Stop()
	for {
		select {
		case now := <-ticker.C:
			if l.beatDue(now) {
				grace.Reset(heartbeatGrace)
			}
		case <-grace.C:
			if l.unanswered() {
				l.end(errSilent)
			}
		case <-l.ctx.Done():
			return
		}
	}
}

// beatDue has a heartbeat written; true when no other is waiting for its reply.
func (l *link) beatDue(now time.Time) bool {
	mu := &l.client.mu
	mu.Lock()
	defer mu.Unlock()
	l.beat = true
	l.wakeUp()
	if !l.beatSince.IsZero() {
		return false
	}
	l.beatSince = now
	return true
}

func (l *link) unanswered() bool {
	mu := &l.client.mu
	mu.Lock()
	defer mu.Unlock()
	return !l.beatSince.IsZero()
}
