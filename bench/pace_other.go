//go:build !linux

package bench

import "time"

// paceClock sleeps between the sends of an open loop.
type paceClock struct{}

func newPaceClock() paceClock { return paceClock{} }

func (paceClock) close() {}

// sleep sleeps at most 10 ms, so that the end of a run is noticed.
func (paceClock) sleep(d time.Duration) { time.Sleep(min(max(d, 0), 10*time.Millisecond)) }
