//go:build !fault

package app

import "time"

// ClockFaults says whether the process's wall clock can be made wrong.
const ClockFaults = false

// wallClock returns the machine's clock.
func wallClock() func() time.Time { return time.Now }
