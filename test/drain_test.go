package test

import (
	"testing"

	"github.com/im-transfer/im"
)

// A server that is stopped says so, ends without an error, and its clients come
// back with everything they had to say.
func TestAGracefulStop(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	r := crowd(t, s)
	users := s.users("watcher")
	var watchers []*raw
	for i, transport := range transports {
		device := []string{"web", "desktop", "ios", "android", "tablet"}[i]
		auth := authOf(s.tokens(users[0], device, device), device, device)
		watcher, _ := s.raw(t, transport.websocket, transport.form, auth)
		watchers = append(watchers, watcher)
	}
	const each = 20
	talking := r.chatter(each)
	r.devices[0].until("some acknowledgements", func() bool { return r.devices[0].acked >= each/2 })
	s.stop()
	for i, watcher := range watchers {
		code, err := watcher.end()
		if code != im.Draining || err != nil {
			t.Errorf("%s ended with %q (%v), want draining", transports[i].name, code, err)
		}
		if d := watcher.goodbye; !d.GetReconnect() || d.GetRetryAfterMs() <= 0 {
			t.Errorf("%s was told %v", transports[i].name, d)
		}
	}
	s.startProcess()
	talking.Wait()
	r.settle(each)
	for _, d := range r.devices {
		if len(d.ends) == 0 || d.ends[0].Code != im.Draining {
			t.Errorf("%s ended with %v, want draining first", d.id, d.ends)
		}
	}
}

// Stopping takes no longer for connections that never read or never speak.
func TestAStopWaitsForNobodyForLong(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice")
	silent, err := s.dial(t, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.phone(t, s.tokens(users[0], "a", "ios"), "a") // authenticated, and then deaf
	s.stop()
	if code, err := silent.end(); code != im.Draining || err != nil {
		t.Errorf("a connection that never spoke ended with %q, %v", code, err)
	}
}
