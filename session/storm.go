package session

import (
	"runtime/debug"
	"sync"
	"time"
)

// What log-ins leave behind is as much again as the sessions take, and where nothing
// else happens nobody collects it for minutes. So a hub has it collected and given
// back to the system when many devices have logged in and no more come.
const (
	stormLogins = 1000
	stormCalm   = 2 * time.Second
)

// storm notices the end of a time of many log-ins. It has a timer only meanwhile.
type storm struct {
	over func() // called once, by the timer

	mu     sync.Mutex
	logins int // since it was calm
	seen   int // of them, when the timer was set
	timer  *time.Timer
}

func newStorm() *storm { return &storm{over: debug.FreeOSMemory} }

// login counts a log-in.
func (s *storm) login() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logins++; s.timer == nil {
		s.watch()
	}
}

// watch sets the timer. The caller holds mu.
func (s *storm) watch() {
	s.seen = s.logins
	s.timer = time.AfterFunc(stormCalm, s.look)
}

func (s *storm) look() {
	s.mu.Lock()
	if s.timer == nil { // stopped
		s.mu.Unlock()
		return
	}
	if s.logins > s.seen {
		s.watch()
		s.mu.Unlock()
		return
	}
	many := s.logins >= stormLogins
	s.logins, s.timer = 0, nil
	s.mu.Unlock()
	if many {
		s.over()
	}
}

// stop ends the watch; log-ins that still come begin it anew.
func (s *storm) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
