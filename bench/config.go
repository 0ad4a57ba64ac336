// Package bench is the load generator: it speaks the public client protocol to a
// server, measures throughput and latency, and has every run judged by package
// check. It shares its machine with the server under test more often than not, so
// it is built to cost little: frames are encoded once and patched, deliveries are
// scanned rather than decoded, and all that is ready goes into one write.
//
// Who runs what, and who owns which state:
//
//	session   one goroutine per connection; reads, answers what it read by
//	          acknowledging and, in a closed loop, by sending the next messages
//	clock     one per run; every 100 ms sends due acks, heartbeats and retries
//	pacer     one per open-loop run; sends at fixed times, whatever is outstanding
//	progress  one per run; closes the second that has passed and prints it
//
// A device's state is under its mu, which a reader takes once per read.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
)

// Mode is the shape of the load.
type Mode string

// The modes.
const (
	Pairs    Mode = "pairs"    // pairs of users; each sender keeps a window of messages outstanding
	Rate     Mode = "rate"     // pairs of users; messages at fixed times, spread over the pairs
	Single   Mode = "single"   // one pair
	Idle     Mode = "idle"     // connections that do nothing
	CatchUp  Mode = "catchup"  // messages to users who are away, who then come back
	Login    Mode = "login"    // everybody connects at once
	Overload Mode = "overload" // many times the messages that the server takes, and what becomes of it afterwards
	Storm    Mode = "storm"    // the server of idle devices ends, and all come back
	Groups   Mode = "groups"   // groups; some of the members of each keep a window of messages outstanding
	Rooms    Mode = "rooms"    // a room; some of those who are in it speak, at a rate or with a window of messages outstanding
)

// Modes lists every mode.
var Modes = []Mode{Pairs, Rate, Single, Idle, CatchUp, Login, Overload, Storm, Groups, Rooms}

// Transports and forms that a Config may name.
const (
	WebSocket = "websocket"
	TCP       = "tcp"
	Mixed     = "mixed" // every pair has one of each
	Text      = "text"  // over TCP: json
	JSON      = "json"
	Protobuf  = "protobuf"
)

// Config describes a run. The zero value of a field is its default, except where
// it says so.
type Config struct {
	Mode       Mode          `json:"mode"`
	Server     string        `json:"server"`            // base URL of an http server, or of several with commas between
	ServiceKey string        `json:"-"`                 // empty: users register themselves
	Gateways   []string      `json:"gateways"`          // ws:// and tcp:// URLs to use instead of asking the server
	Transport  string        `json:"transport"`         // websocket (rooms: mixed)
	Form       string        `json:"form"`              // protobuf
	Size       int           `json:"size"`              // bytes of a message's text, 64 to 49,152; 128
	Duration   time.Duration `json:"duration_ns"`       // measured time; 10 s
	Warmup     time.Duration `json:"warmup_ns"`         // before it, not measured
	Window     int           `json:"window"`            // unacknowledged messages of a sender, 1 to 256; 16 (single: 64)
	Pairs      int           `json:"pairs"`             // 100 (single: 1, catchup: 1)
	Groups     int           `json:"groups"`            // 1
	Members    int           `json:"members"`           // of each group, 2 to 500; 200. rooms: of the room, 2 and more; 10,000
	Senders    int           `json:"senders"`           // of each group's members; 10. rooms: of the room's; 4
	Devices    int           `json:"devices"`           // of each user, 1 to 6; 1
	Rate       float64       `json:"rate"`              // messages per second of all; 1,000 (rooms: 0 = as fast as the windows let)
	Factor     float64       `json:"factor"`            // overload: how many times what the server takes, 1 to 1,000; 10
	Connect    int           `json:"connections"`       // idle, login and storm: how many; 10,000 (login: 1,000)
	Messages   int           `json:"messages"`          // catchup: for each absent user; 5,000. pairs, single: of each sender, then the run ends; 0 = by time alone
	Rounds     int           `json:"rounds"`            // catchup, login: how often; 1
	Parallel   int           `json:"parallel"`          // connections being made at once; 64
	NoAfter    bool          `json:"no_after"`          // do not name the predecessor on the wire
	Sources    int           `json:"sources"`           // loopback source addresses; as many as 20,000 connections each need
	Prefix     string        `json:"prefix"`            // of user names; a new one for every run
	PIDs       []int         `json:"pids,omitempty"`    // of the server's processes, on this machine: their memory and CPU
	Metrics    string        `json:"metrics,omitempty"` // URL of the server's metrics, where the PIDs are not known
	Settle     time.Duration `json:"settle_ns"`         // how long to wait for what is outstanding at the end; 30 s (overload 2 min, storm 5 min)

	// Until, when it is closed, ends the load of Pairs, Rate, Single and Idle before
	// its time; the run is judged as ever. Nil: the duration alone counts.
	Until <-chan struct{} `json:"-"`

	// Strike ends a server, of Storm, and starts what is to be there instead. Nil:
	// whoever runs this does.
	Strike func(context.Context) error `json:"-"`
}

// withDefaults returns the config with what was left out filled in.
func (c Config) withDefaults() Config {
	pairs, window, messages := 100, 16, 0
	switch c.Mode {
	case Single:
		pairs, window = 1, 64
	case CatchUp:
		pairs, window, messages = 1, 64, 5000
	case Overload:
		pairs = 1000
	}
	members, senders, transport := 200, 10, WebSocket
	if c.Mode == Rooms {
		members, senders, transport = 10000, 4, Mixed
	}
	connections := 10000
	if c.Mode == Login {
		connections = 1000
	}
	for _, field := range []struct {
		value *int
		other int
	}{
		{&c.Size, 128}, {&c.Window, window}, {&c.Pairs, pairs}, {&c.Devices, 1}, {&c.Groups, 1}, {&c.Members, members}, {&c.Senders, senders}, {&c.Connect, connections},
		{&c.Messages, messages}, {&c.Rounds, 1}, {&c.Parallel, 64},
	} {
		*field.value = cmp.Or(*field.value, field.other)
	}
	c.Server = cmp.Or(c.Server, "http://127.0.0.1:8080")
	c.Transport = cmp.Or(c.Transport, transport)
	c.Form = cmp.Or(c.Form, Protobuf)
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	settle := 30 * time.Second
	switch c.Mode {
	case Overload:
		settle = 2 * time.Minute
	case Storm:
		settle = 5 * time.Minute
	}
	c.Settle = cmp.Or(c.Settle, settle)
	if c.Mode != Rooms {
		c.Rate = cmp.Or(c.Rate, 1000)
	}
	c.Factor = cmp.Or(c.Factor, 10)
	return c
}

// platforms are given to a user's devices in turn: a server may allow one live
// device per platform.
var platforms = [...]string{"web", "desktop", "ios", "android", "tablet", "other"}

// validate says what is wrong with a config that has its defaults.
func (c *Config) validate() error {
	var problems []error
	between := func(name string, value, low, high int) {
		if value < low || value > high {
			problems = append(problems, fmt.Errorf("%s is %d, allowed are %d to %d", name, value, low, high))
		}
	}
	oneOf := func(name, value string, allowed ...string) {
		for _, a := range allowed {
			if a == value {
				return
			}
		}
		problems = append(problems, fmt.Errorf("%s is %q, allowed are %q", name, value, allowed))
	}
	oneOf("mode", string(c.Mode), modeNames()...)
	oneOf("transport", c.Transport, WebSocket, TCP, Mixed)
	oneOf("form", c.Form, Text, JSON, Protobuf)
	between("size", c.Size, minSize, 48<<10)
	between("window", c.Window, 1, 256)
	between("pairs", c.Pairs, 1, maxDevices/2)
	between("devices", c.Devices, 1, len(platforms))
	most := im.MaxGroupMembers
	if c.Mode == Rooms {
		most = maxDevices / len(platforms)
	}
	between("members", c.Members, 2, most)
	between("groups", c.Groups, 1, maxDevices/max(1, c.Members))
	between("senders", c.Senders, 1, c.Members)
	between("connections", c.Connect, 1, maxDevices)
	between("messages", c.Messages, 0, firstSequence)
	between("rounds", c.Rounds, 1, 1000)
	between("parallel", c.Parallel, 1, 10000)
	slowest := 1
	if c.Mode == Rooms {
		slowest = 0
	}
	between("rate", int(c.Rate), slowest, 1_000_000)
	between("factor", int(c.Factor), 1, 1000)
	if c.Warmup < 0 || c.Duration < 0 {
		problems = append(problems, errors.New("a time is negative"))
	}
	return errors.Join(problems...)
}

func modeNames() []string {
	names := make([]string, len(Modes))
	for i, mode := range Modes {
		names[i] = string(mode)
	}
	return names
}
