package http

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
)

// crowdPatience is how long a request waits for others before it is refused.
const crowdPatience = 2 * time.Second

// crowd bounds the API requests that are worked on at once; more wait for their turn. A
// request has a turn for its token, and one for its work when its body is there: whoever
// sends that slowly keeps nobody else waiting.
// When thousands of devices ask where to connect because a gateway has died, those whom
// it would take too long to answer are told when to ask again, instead of all sharing
// what there is until all time out.
type crowd struct {
	places  chan struct{}
	waiting atomic.Int64
}

func newCrowd(most int) *crowd { return &crowd{places: make(chan struct{}, most)} }

// enter waits for a place until leave must be called; refused without one.
func (c *crowd) enter(ctx context.Context) error {
	select {
	case c.places <- struct{}{}:
		return nil
	default:
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	timer := time.NewTimer(crowdPatience)
	defer timer.Stop()
	select {
	case c.places <- struct{}{}:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return im.Retry(im.Unavailable, c.retryAfter(), "too many requests just now")
}

func (c *crowd) leave() { <-c.places }

// retryAfter grows with those who wait, and differs for those refused together.
func (c *crowd) retryAfter() time.Duration {
	rounds := 1 + c.waiting.Load()/int64(cap(c.places))
	wait := time.Duration(min(rounds, 15)) * crowdPatience
	return wait/2 + rand.N(wait)
}
