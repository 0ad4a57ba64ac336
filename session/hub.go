package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
)

// Config is what the sessions of a server have in common. Zero values stand for
// the defaults.
type Config struct {
	ServerVersion    string        // told in auth_reply
	Features         []string      // told in auth_reply
	HeartbeatSeconds int           // 30; a session is idle after IdleFactor times that
	IdleFactor       float64       // 2.5
	Window           int           // 256 entries out without an ack
	MaxFrame         int           // 1 MiB; bytes of a frame or message written
	AuthTimeout      time.Duration // 5 s from the connection to a whole auth
	AttachTimeout    time.Duration // 10 s for the owner of the inbox to answer a login
	SlowTimeout      time.Duration // 60 s without progress while entries or bytes wait
	Linger           time.Duration // 1 s of reading off what is in flight at the end
	MaxConnections   int           // 0 = no bound; more are sent away as unavailable
	MaxLogins        int           // 512 at once; more wait, for 3 s
	ReturnRate       int           // 1,000 log-ins per second that the sessions of a draining server are spread over
	Rooms            int           // 16; those that a session may be in at once
	Tracer           Tracer        // nil = nothing is traced
}

func (c Config) withDefaults() Config {
	c.HeartbeatSeconds = defaulted(c.HeartbeatSeconds, 30)
	c.IdleFactor = defaulted(c.IdleFactor, 2.5)
	c.Window = defaulted(c.Window, 256)
	c.MaxFrame = defaulted(c.MaxFrame, im.MaxServerFrameBytes)
	c.AuthTimeout = defaulted(c.AuthTimeout, 5*time.Second)
	c.AttachTimeout = defaulted(c.AttachTimeout, 10*time.Second)
	c.SlowTimeout = defaulted(c.SlowTimeout, time.Minute)
	c.Linger = defaulted(c.Linger, time.Second)
	c.MaxLogins = defaulted(c.MaxLogins, 512)
	c.ReturnRate = defaulted(c.ReturnRate, 1000)
	c.Rooms = defaulted(c.Rooms, 16)
	return c
}

func defaulted[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Hub owns the sessions of one server process and role.
type Hub struct {
	config  Config
	link    *Link
	log     *slog.Logger
	began   time.Time
	idle    time.Duration
	crew    *crew
	buffers sync.Pool // of *[]byte, empty
	logins  *logins
	storm   *storm
	journal *journal
	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	stop    sync.Once

	unreadable atomic.Uint64 // sessions that ended in front of an entry

	empty gate // opens when the last session has ended

	mu       sync.Mutex
	sessions map[*Session]struct{}
	draining time.Duration // not 0: the retry_after for whoever still comes
	stopped  bool
}

// NewHub returns a hub whose sessions reach the transfers over link, which the
// caller starts and stops.
func NewHub(config Config, link *Link, log *slog.Logger) *Hub {
	config = config.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub{
		config: config, link: link, log: log, began: time.Now(),
		idle:     time.Duration(config.IdleFactor * float64(config.HeartbeatSeconds) * float64(time.Second)),
		crew:     newCrew(),
		logins:   newLogins(config.MaxLogins),
		storm:    newStorm(),
		journal:  &journal{link: link, ctx: ctx},
		ctx:      ctx,
		cancel:   cancel,
		sessions: map[*Session]struct{}{},
	}
}

// Unreadable is how many sessions have ended in front of an inbox entry that could
// not be decoded.
func (h *Hub) Unreadable() uint64 { return h.unreadable.Load() }

// Serve begins to serve a connection, which the hub closes at its end, and
// returns at once. The time for its auth counts from the call.
func (h *Hub) Serve(conn Conn) {
	s := newSession(h, conn)
	full, draining, ok := h.admit(s)
	switch {
	case !ok:
		closeNow(conn.NetConn())
		return
	case draining > 0:
		s.disconnect(im.Draining, goingAway, jitter(draining))
	case full:
		s.disconnect(im.DisconnectUnavailable, "too many connections", time.Second)
	default:
		s.arm()
	}
	go s.run()
}

// admit adds a session; not ok when the hub has stopped.
func (h *Hub) admit(s *Session) (full bool, draining time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false, 0, false
	}
	full = h.config.MaxConnections > 0 && len(h.sessions) >= h.config.MaxConnections
	h.sessions[s] = struct{}{}
	return full, h.draining, true
}

func (h *Hub) remove(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s)
	if len(h.sessions) == 0 {
		h.empty.open()
	}
}

// Connections is how many there are now, logged in or not.
func (h *Hub) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

const goingAway = "server is going away"

// Drain disconnects every session with draining, and so whoever comes later. Each is
// told one of the addresses in turn, if there are any, and a retry_after_ms between half
// and one and a half times retryAfter, or times what so many log-ins take at the rate of
// the configuration, if that is longer. It returns when all have ended, or with the
// context.
func (h *Hub) Drain(ctx context.Context, retryAfter time.Duration, addresses []string) error {
	crowd := time.Duration(h.Connections()) * time.Second / time.Duration(h.config.ReturnRate)
	retryAfter = max(retryAfter, min(crowd, longestReturn), time.Millisecond)
	h.mu.Lock()
	h.draining = retryAfter
	h.mu.Unlock()
	for i, s := range h.all() { // whoever has come since is told by Serve
		address := ""
		if len(addresses) > 0 {
			address = addresses[i%len(addresses)]
		}
		s.disconnectTo(im.Draining, goingAway, jitter(retryAfter), address)
	}
	return h.await(ctx)
}

// Stop closes every connection at once and returns when all goroutines of the
// hub have ended, or with the context. It may be called again.
func (h *Hub) Stop(ctx context.Context) error {
	h.stop.Do(func() {
		h.mu.Lock()
		h.stopped = true
		h.mu.Unlock()
		h.cancel()
		h.storm.stop()
		close(h.crew.stop)
	})
	for _, s := range h.all() {
		s.abandon()
	}
	err := h.await(ctx)
	h.journal.close(ctx)
	return err
}

func (h *Hub) all() []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	sessions := make([]*Session, 0, len(h.sessions))
	for s := range h.sessions {
		sessions = append(sessions, s)
	}
	return sessions
}

// await waits until there are no sessions; after Stop, also until the crew has
// gone.
func (h *Hub) await(ctx context.Context) error {
	for {
		empty := h.empty.wait()
		if h.Connections() == 0 {
			break
		}
		select {
		case <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if h.ctx.Err() == nil {
		return nil
	}
	gone := make(chan struct{})
	go func() { h.crew.running.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now is the time since the hub began, by the monotonic clock.
func (h *Hub) now() time.Duration { return time.Since(h.began) }

// jitter is between half and one and a half times d.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(max(d, 1))))
}
