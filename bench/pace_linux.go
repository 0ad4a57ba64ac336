package bench

import (
	"runtime"
	"syscall"
	"time"
)

// paceClock sleeps more exactly than the runtime's timers, which round up to whole
// milliseconds when a processor is idle: its thread sleeps by itself. It belongs to
// the goroutine that made it.
type paceClock struct{}

func newPaceClock() paceClock {
	runtime.LockOSThread()
	return paceClock{}
}

func (paceClock) close() { runtime.UnlockOSThread() }

// sleep sleeps at most 10 ms, so that the end of a run is noticed.
func (paceClock) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(min(d, 10*time.Millisecond)))
	syscall.Nanosleep(&t, nil) //nolint:errcheck // woken early, it is called again
}
