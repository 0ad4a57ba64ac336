package transfer

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimited bounds the users whose rate is remembered; above it all are forgotten,
// which can only let somebody send a burst more.
const maxLimited = 65536

// limiter bounds how fast each user may send.
type limiter struct {
	mu    sync.Mutex
	users map[string]*rate.Limiter
}

func newLimiter() *limiter { return &limiter{users: map[string]*rate.Limiter{}} }

// wait returns how long a user must wait before the next request; 0 = go on.
func (l *limiter) wait(userID string, now time.Time, policy *Policy) time.Duration {
	if policy.SendsPerSecond <= 0 {
		return 0
	}
	if l.of(userID, now, policy).AllowN(now, 1) {
		return 0
	}
	return time.Duration(float64(time.Second) / policy.SendsPerSecond)
}

// of returns a user's own limiter, which a new policy reaches here.
func (l *limiter) of(userID string, now time.Time, policy *Policy) *rate.Limiter {
	limit := rate.Limit(policy.SendsPerSecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.users[userID]
	switch {
	case user == nil:
		if len(l.users) >= maxLimited {
			clear(l.users)
		}
		user = rate.NewLimiter(limit, policy.SendBurst)
		l.users[userID] = user
	case user.Limit() != limit || user.Burst() != policy.SendBurst:
		user.SetLimitAt(now, limit)
		user.SetBurstAt(now, policy.SendBurst)
	}
	return user
}
