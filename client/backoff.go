package client

import (
	"math/rand/v2"
	"slices"
	"time"
)

// backoff gives the pauses between attempts: they double, and each is jittered
// by 0.5 to 1.5, so that the clients of a dead server do not come back together.
type backoff struct {
	least, most time.Duration
	attempts    int
}

func (b *backoff) next() time.Duration {
	pause := b.most
	if b.attempts < 30 && b.least<<b.attempts < b.most {
		pause = b.least << b.attempts
	}
	b.attempts++
	return jitter(pause)
}

func (b *backoff) reset() { b.attempts = 0 }

// longestWait bounds what a server, or whoever speaks for it, may ask for.
const longestWait = 24 * time.Hour

// retryAfter is what a server asks to wait, as far as that can be.
func retryAfter(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), longestWait.Milliseconds())) * time.Millisecond
}

// jitter returns 0.5 to 1.5 times d, which must not be negative.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d)+1))
}

// failedFor is how long a server that failed is excluded.
const failedFor = 30 * time.Second

// failures remembers when servers failed lately, by their ids.
type failures map[string]time.Time

func (f failures) add(serverID string, now time.Time) {
	if serverID != "" {
		f[serverID] = now
	}
}

// recent returns the ids of those that are still excluded, sorted.
func (f failures) recent(now time.Time) []string {
	var ids []string
	for id, at := range f {
		if now.Sub(at) >= failedFor {
			delete(f, id)
			continue
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
