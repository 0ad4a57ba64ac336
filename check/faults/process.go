package faults

import (
	"context"
	"time"
)

// The kinds that a process can suffer.
const (
	Kill      = "kill"       // SIGKILL, and a start
	Restart   = "restart"    // an orderly stop, and a start
	Pause     = "pause"      // SIGSTOP and SIGCONT, before anybody takes it for dead
	LongPause = "long-pause" // the same after others have taken it for dead
)

// process is what a server or an engine lets be done to it. One goroutine at a time
// uses it, which the fault's part sees to.
type process interface {
	Start(ctx context.Context) error
	Stop() error
	Kill()
	Pause() error
	Resume() error
}

// mostDown bounds how long a process stays down beyond its own start.
const mostDown = 3 * time.Second

// ofProcess returns what can be done to a process of a part. Who is silent for longer
// than the ttl is taken for dead by the others.
func ofProcess(part, target string, p process, ttl time.Duration) Set {
	kill := func() error { p.Kill(); return nil }
	resume := func(context.Context) error { return p.Resume() }
	fault := func(kind string, least, most time.Duration, do func() error, mend func(context.Context) error) Fault {
		return Fault{
			Kind: kind, Target: target, Parts: []string{part}, Least: least, Most: most,
			Do: func(context.Context) (func(context.Context) error, error) { return mend, do() },
		}
	}
	return Set{
		fault(Kill, 0, mostDown, kill, p.Start),
		fault(Restart, 0, mostDown, p.Stop, p.Start),
		fault(Pause, ttl/20, ttl*3/4, p.Pause, resume),
		fault(LongPause, ttl*6/5, ttl*2, p.Pause, resume),
	}
}
