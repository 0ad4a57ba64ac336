//go:build fault

package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// ClockFaults says whether the process's wall clock can be made wrong: in a build with
// the tag fault, by the file that IM_CLOCK_FILE names.
const ClockFaults = true

// wallClock returns the machine's clock, wrong by the duration that the file holds
// when it is looked at: "-2h". It tells no monotonic time, so that whoever computes
// with it sees the steps.
func wallClock() func() time.Time {
	file := os.Getenv("IM_CLOCK_FILE")
	if file == "" {
		return time.Now
	}
	return func() time.Time {
		text, err := os.ReadFile(file) //nolint:gosec // who builds with the tag names it
		if errors.Is(err, fs.ErrNotExist) {
			return time.Now()
		}
		offset, wrong := time.ParseDuration(strings.TrimSpace(string(text)))
		if err = errors.Join(err, wrong); err != nil {
			panic(fmt.Errorf("IM_CLOCK_FILE: %w", err)) // who breaks things on purpose wants to know
		}
		return time.Now().Round(0).Add(offset)
	}
}
