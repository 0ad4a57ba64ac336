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
	perSecond float64
	burst     int
	mu        sync.Mutex
	users     map[string]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{perSecond: perSecond, burst: burst, users: map[string]*rate.Limiter{}}
}

// wait returns how long a user must wait before the next request; 0 = go on.
func (l *limiter) wait(userID string, now time.Time) time.Duration {
	if l.perSecond <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.users[userID]
	if user == nil {
		if len(l.users) >= maxLimited {
			clear(l.users)
		}
		user = rate.NewLimiter(rate.Limit(l.perSecond), l.burst)
		l.users[userID] = user
	}
	if user.AllowN(now, 1) {
		return 0
	}
	return time.Duration(float64(time.Second) / l.perSecond)
}
