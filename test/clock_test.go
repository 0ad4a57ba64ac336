package test

import (
	"testing"
	"time"

	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
)

// givenAClock starts a server whose clock can be made wrong.
func givenAClock(t *testing.T, settings map[string]string) *server {
	t.Helper()
	return startProcess(t, settings, func(o *local.Options) { o.Clocks = true })
}

// clock makes it wrong, or right again.
func (s *server) clock(offset time.Duration) {
	s.t.Helper()
	if err := s.process.StepClock(offset); err != nil {
		s.t.Fatal(err)
	}
}

// The clock is moved again and again while 20 connections send, and the server meets
// it running, and as a new process. The judge sees whether ids rise and stay unique;
// tokens that have ended, or have not begun yet by a clock that was set back, keep
// nobody out.
func TestTheClockStepsWhileTwentyConnectionsSend(t *testing.T) {
	t.Parallel()
	s := givenAClock(t, nil)
	r := crowd(t, s)
	const each = 120
	talking := r.chatter(each)
	first := r.devices[0]
	steps := []time.Duration{
		10 * time.Second, -10 * time.Second, 2 * time.Minute, -2 * time.Minute, 2 * time.Hour, -2 * time.Hour, 0,
	}
	for i, step := range steps {
		first.mu.Lock()
		want := first.acked + (2*each-first.acked)/(len(steps)+1-i)
		first.mu.Unlock()
		first.until("a part of what is left", func() bool { return first.acked >= want })
		s.clock(step)
		s.kill()
		s.startProcess()
	}
	talking.Wait()
	r.settle(each)
}

// When the store's clock is moved, retention stops and says so: nothing of what is
// young is taken for old.
func TestTheClockStepsUnderRetention(t *testing.T) {
	t.Parallel()
	s := givenAClock(t, map[string]string{"retention.inbox": "1m"}) // swept every 2 s
	alice := s.users("alice", "bob")
	tokens := s.tokens(alice[0], "a", "ios")
	if _, err := s.api().WithToken(tokens.AccessToken).SendMessage(t.Context(), text(alice[1], "m", "young")); err != nil {
		t.Fatal(err)
	}

	s.clock(2 * time.Hour)

	s.untilMetric("im_sweepers_stopped ", func(n float64) bool { return n >= 16 })
	s.clock(0)
	page, err := s.api().WithToken(s.tokens(alice[0], "a", "ios").AccessToken).Inbox(t.Context(), client.InboxQuery{After: new(int64)})
	if err != nil || page.GetTooLong() || len(page.GetEntries()) != 1 {
		t.Errorf("the inbox is %v, %v", page, err)
	}
}
