package workload

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The transports; Mixed leaves the choice to each connection.
const (
	WebSocket = "websocket"
	TCP       = "tcp"
	Mixed     = "mixed"
)

// Mark is a fault: what was done to which part of the system, from when to when it
// was mended.
type Mark struct {
	At, Until    time.Time
	Kind, Target string // such as "kill -9", "transfer-1"
}

// Injector does harm to the system while the load runs and reports each fault once
// it is mended. When over is closed, with the load's end, it mends everything and
// returns; when ctx ends, the run has been given up. An error means that the run says
// nothing.
type Injector func(ctx context.Context, over <-chan struct{}, marks chan<- Mark) error

// Config says what a run is. Servers and ServiceKey are required; the rest has
// defaults.
type Config struct {
	Servers    []string      `json:"servers"`        // base URLs of http servers; who is away is passed over
	ServiceKey string        `json:"-"`              // makes the users and their tokens
	Users      int           `json:"users"`          // 20
	Devices    int           `json:"devices"`        // of each user, to 6; 2
	Groups     int           `json:"groups"`         // of up to 8 users, some of whom come and go; a fifth of the users, negative: none
	Duration   time.Duration `json:"duration_ns"`    // of the load; 30 s
	Rate       float64       `json:"rate"`           // messages per second of all devices together; 100
	Mishaps    time.Duration `json:"mishap_mean_ns"` // mean time between a device's mishaps; 3 s
	Transport  string        `json:"transport"`      // WebSocket, TCP or Mixed
	Seed       uint64        `json:"seed"`           // of all scripts
	Quiet      time.Duration `json:"quiet_ns"`       // at the end: so long nothing may come any more; 2 s
	Patience   time.Duration `json:"patience_ns"`    // at the end: without progress for so long, what is outstanding is given up; 30 s
	Inject     Injector      `json:"-"`              // nil: nobody does harm
}

// platforms are one for each device of a user: more than one device of a platform
// would take each other's place.
var platforms = [...]string{"ios", "web", "desktop", "android", "tablet", "other"}

func (c Config) withDefaults() Config {
	setDefault(&c.Users, 20)
	setDefault(&c.Devices, 2)
	setDefault(&c.Groups, max(1, c.Users/5))
	if c.Users < leastCircle {
		c.Groups = 0
	}
	setDefault(&c.Duration, 30*time.Second)
	setDefault(&c.Rate, 100)
	setDefault(&c.Mishaps, 3*time.Second)
	setDefault(&c.Transport, Mixed)
	setDefault(&c.Quiet, 2*time.Second)
	setDefault(&c.Patience, 30*time.Second)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	switch {
	case len(c.Servers) == 0:
		return errors.New("no server is given")
	case c.ServiceKey == "":
		return errors.New("a service key is needed, to make users")
	case c.Users < 1 || c.Users > 10_000:
		return fmt.Errorf("%d users: want 1 to 10000", c.Users)
	case c.Devices < 1 || c.Devices > len(platforms):
		return fmt.Errorf("%d devices of each user: want 1 to %d", c.Devices, len(platforms))
	case c.Groups > c.Users:
		return fmt.Errorf("%d groups of %d users: want at most one for each", c.Groups, c.Users)
	case c.Duration < 0 || c.Rate < 0 || c.Mishaps < 0 || c.Quiet < 0 || c.Patience < 0:
		return errors.New("a time or rate below zero")
	case c.Transport != WebSocket && c.Transport != TCP && c.Transport != Mixed:
		return fmt.Errorf("transport is %q: want websocket, tcp or mixed", c.Transport)
	}
	return nil
}
