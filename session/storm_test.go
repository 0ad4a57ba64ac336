package session

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once, when many have logged in and no more come; for a few
// nothing happens.
func TestStormIsOverOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Int32
		s := &storm{over: func() { over.Add(1) }}
		for range stormLogins - 1 {
			s.login()
		}
		time.Sleep(time.Minute)
		if n := over.Load(); n != 0 {
			t.Errorf("over %d times after a few", n)
		}
		for range 10 { // longer than it takes to be calm, but never calm
			for range stormLogins {
				s.login()
			}
			time.Sleep(stormCalm * 3 / 4)
			if over.Load() != 0 {
				t.Fatal("over while they come")
			}
		}
		time.Sleep(time.Minute)
		if n := over.Load(); n != 1 {
			t.Errorf("over %d times", n)
		}
	})
}

// A hub that stops leaves no timer behind.
func TestStormStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storm{over: func() { t.Error("over") }}
		for range stormLogins {
			s.login()
		}
		s.stop()
		time.Sleep(time.Minute)
	})
}
