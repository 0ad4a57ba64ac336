package http

import (
	"sync"
	"time"

	"github.com/im-transfer/im"
)

const (
	// complainEvery is the time over which lines about failed requests are bounded.
	complainEvery = 10 * time.Second
	// complainBurst is how many lines each kind of failure has in that time.
	complainBurst = 10
)

// complaints bound the lines about requests that fail: when something is away, thousands
// fail in a second, and all of them would wait for the log. It is safe for concurrent use.
type complaints struct {
	mu  sync.Mutex
	was map[failure]*complaint // bounded by routes and codes
}

// failure is a kind of failure.
type failure struct {
	pattern string
	code    im.Code
}

type complaint struct {
	since  time.Time
	said   int
	silent int // since the last line
}

// say reports whether a failure gets a line, and how many like it had none since the
// last.
func (c *complaints) say(of failure, now time.Time) (silent int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.was[of]
	if was == nil {
		was = &complaint{}
		c.was[of] = was
	}
	if now.Sub(was.since) >= complainEvery {
		was.since, was.said = now, 0
	}
	if was.said == complainBurst {
		was.silent++
		return 0, false
	}
	was.said++
	silent, was.silent = was.silent, 0
	return silent, true
}
