package http

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// When the store is away thousands of requests fail: each gets its answer, and the log a
// bounded number of lines, which say how many there were.
func TestAStormOfFailuresDoesNotFloodTheLog(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	w.store.fail = func(string) error { return errors.New("the store is away") }
	for range 1000 {
		if status := w.call("GET", "/v1/conversations", session.str("access_token"), nil).status; status < 500 {
			t.Fatalf("answered %d", status)
		}
	}
	if n := bytes.Count(w.log.Bytes(), []byte("request failed")); n != complainBurst {
		t.Errorf("%d lines", n)
	}
	w.clock.now = w.clock.now.Add(complainEvery + time.Second)
	w.call("GET", "/v1/conversations", session.str("access_token"), nil)
	if !bytes.Contains(w.log.Bytes(), []byte("not_said=990")) {
		t.Errorf("the next line does not say how many had none:\n%s", tailOf(w.log.String()))
	}
}

func tailOf(text string) string { return text[max(0, len(text)-500):] }
