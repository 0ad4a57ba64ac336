//go:build fault

package im

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// CrashVariable names the environment variable that tells a process where to die:
// a place, and behind a colon at which time it is reached, from 1; 1 where nothing
// is said.
const CrashVariable = "IM_CRASH_POINT"

// crash is what the process was told.
type crash struct {
	place CrashPlace // empty: it lives on
	left  atomic.Int64
}

var told = sync.OnceValue(func() *crash {
	c, err := parseCrash(os.Getenv(CrashVariable))
	if err != nil {
		panic(fmt.Errorf("%s: %w", CrashVariable, err)) // who breaks things on purpose wants to know
	}
	return c
})

func parseCrash(text string) (*crash, error) {
	place, times, counted := strings.Cut(text, ":")
	c := &crash{place: CrashPlace(place)}
	c.left.Store(1)
	if counted {
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number from 1", times)
		}
		c.left.Store(n)
	}
	if text != "" && !slices.Contains(CrashPlaces(), c.place) {
		return nil, fmt.Errorf("there is no crash place %q", place)
	}
	return c, nil
}

// CrashPoint ends the process with SIGKILL if it was told to die at this place, and
// this is the time: nothing is flushed, closed or answered, and the caller does not
// go on.
func CrashPoint(place CrashPlace) {
	if c := told(); c.place == place && c.left.Add(-1) == 0 {
		die(place)
	}
}

func die(place CrashPlace) {
	fmt.Fprintf(os.Stderr, "%s: dying at %s\n", CrashVariable, place)
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Kill() != nil {
		panic("the process can not kill itself")
	}
	select {}
}
