package http

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/im-transfer/im"
)

// While others use up the server, a request waits for two seconds and is then told when
// to come again; it has not cost the store anything. Pages and health are not concerned.
func TestARequestDoesNotWaitForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.MaxRequests = 1 })
		_, session := w.signUp("alice", "d1", "web")
		alice := session.str("access_token")
		w.server.crowd.places <- struct{}{} // somebody's
		asked := 0
		w.store.fail = func(string) error { asked++; return nil }

		answer := w.call("GET", "/v1/conversations", alice, nil)
		answer.refused("in the crowd", im.Unavailable)
		if answer.header.Get("Retry-After") == "" || asked != 0 {
			t.Errorf("Retry-After %q; the store was asked %d times", answer.header.Get("Retry-After"), asked)
		}
		w.call("GET", "/openapi.json", "", nil).ok("a page", 200)

		w.server.crowd.leave()
		w.call("GET", "/v1/conversations", alice, nil).ok("alone", 200)
		if n := len(w.server.crowd.places); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}

// Whoever sends the body of a request slowly, and needs not even be known, takes no place
// from others meanwhile.
func TestASlowBodyTakesNoPlace(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRequests = 1 })
	body, write := io.Pipe()
	slow := httptest.NewRecorder()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		request := httptest.NewRequest(http.MethodPost, "/v1/users", body)
		request.Header.Set("Content-Type", "application/json")
		w.server.Handler().ServeHTTP(slow, request)
	}()
	io.WriteString(write, "{") //nolint:errcheck // returns when the server has begun to read
	_, session := w.signUp("alice", "d1", "web")
	w.call("GET", "/v1/conversations", session.str("access_token"), nil).ok("beside a slow one", 200)
	io.WriteString(write, `"username":"bob","password":"password1"}`) //nolint:errcheck // the answer tells
	write.Close()
	if <-answered; slow.Code != 201 {
		t.Errorf("the slow one is answered %d %s", slow.Code, slow.Body)
	}
}
