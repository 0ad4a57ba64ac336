package http

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
)

func TestLoggingIn(t *testing.T) {
	w := newWorld(t)
	id, session := w.signUp("alice", "d1", "web")
	if session.str("expires_in") != "900" || session.str("refresh_token") == "" || len(session.content) != 4 {
		t.Errorf("session %s", session.text)
	}
	claims, err := w.server.Tokens.Verify(session.str("access_token"))
	if err != nil || claims.UserID != id || claims.DeviceID != "d1" || claims.Platform != "web" ||
		claims.ExpiresAtMs != w.clock.Now().Add(15*time.Minute).UnixMilli() {
		t.Errorf("claims %+v, %v", claims, err)
	}
	w.logIn("ALICE", "password-alice", "d1", "web").ok("in capitals", 200)
	for name, answer := range map[string]said{
		"no device":        w.logIn("alice", "password-alice", "", "web"),
		"long device":      w.logIn("alice", "password-alice", strings.Repeat("d", 65), "web"),
		"unknown platform": w.logIn("alice", "password-alice", "d1", "fridge"),
	} {
		answer.refused(name, im.Invalid)
	}
	w.store.users[0].Disabled = true
	w.logIn("alice", "password-alice", "d1", "web").refused("disabled", im.Forbidden)
}

// The same answer after the same work: one look-up and one hash each.
func TestAWrongNameLooksLikeAWrongPassword(t *testing.T) {
	w := newWorld(t)
	w.signUp("alice", "d1", "web")
	w.call("POST", "/v1/service/users", serviceKey, `{"users":[{"username":"robot"}]}`).ok("a user without a password", 200)
	var first said
	for _, c := range [][2]string{
		{"alice", "wrong-password"}, {"nobody", "wrong-password"}, {"robot", "wrong-password"}, {"robot", ""},
		{"not a name!", "wrong-password"}, {"", "wrong-password"}, {"alice", ""}, {"alice", strings.Repeat("x", 5000)},
	} {
		w.store.calls, w.passwords.verifies, w.passwords.hashes = nil, 0, 0
		answer := w.logIn(c[0], c[1], "d1", "web")
		answer.refused(c[0], im.Unauthenticated)
		if first.text == "" {
			first = answer
		}
		if answer.text != first.text {
			t.Errorf("%q: answered %s, another name %s", c, answer.text, first.text)
		}
		if w.passwords.verifies != 1 || w.passwords.hashes != 0 || strings.Join(w.store.calls, " ") != "UserByName" {
			t.Errorf("%q: %d verified, %d hashed, calls %v", c, w.passwords.verifies, w.passwords.hashes, w.store.calls)
		}
	}
}

func TestFailedLogInsOfANameAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LoginsPerName = Rate{3, 10 * time.Second} })
	w.signUp("alice", "d1", "web")
	for range 20 {
		w.logIn("alice", "password-alice", "d1", "web").ok("the right password does not count", 200)
	}
	for range 3 {
		w.logIn("alice", "wrong-password", "d1", "web").refused("wrong", im.Unauthenticated)
	}
	w.passwords.verifies = 0
	limited := w.logIn("Alice", "password-alice", "d1", "web")
	limited.refused("beyond the burst", im.RateLimited)
	limited.is("retry_after_ms", "10000")
	if limited.header.Get("Retry-After") != "10" || w.passwords.verifies != 0 {
		t.Errorf("Retry-After %q, %d hashes", limited.header.Get("Retry-After"), w.passwords.verifies)
	}
	w.logIn("bob", "wrong-password", "d1", "web").refused("another name", im.Unauthenticated)
	w.clock.pass(10 * time.Second)
	w.logIn("alice", "password-alice", "d1", "web").ok("after the time named", 200)
}

func TestFailedLogInsFromAnAddressAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LoginsPerAddress = Rate{2, time.Second} })
	w.logIn("a", "wrong-password", "d1", "web").refused("first", im.Unauthenticated)
	w.logIn("b", "wrong-password", "d1", "web").refused("second", im.Unauthenticated)
	w.logIn("c", "wrong-password", "d1", "web").refused("third", im.RateLimited)
}

// Hashing takes a bounded number of cores; beyond a bounded queue it is refused.
func TestHashingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passwords := &countedPasswords{wait: make(chan struct{})}
		h := newHashing(passwords, 1, 1)
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() {
				if right, err := h.verify(t.Context(), "hash of x", "x"); !right || err != nil {
					t.Errorf("verify = %v, %v", right, err)
				}
			})
		}
		synctest.Wait()
		if passwords.verifies != 1 {
			t.Errorf("%d hashes at once, want 1", passwords.verifies)
		}
		if _, err := h.hash(t.Context(), "x"); im.AsError(err).Code != im.Unavailable || im.AsError(err).RetryAfter == 0 {
			t.Errorf("beyond the queue: %v", err)
		}
		close(passwords.wait)
		running.Wait()
		if _, err := h.hash(t.Context(), "x"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestHashingLeavesCoresToChat(t *testing.T) {
	w := newWorld(t)
	if got, want := cap(w.server.hashing.running), max(1, runtime.GOMAXPROCS(0)/2); got != want {
		t.Errorf("%d hashes at once, want %d", got, want)
	}
}

func TestSigningOutEndsTheTokensAndTheConnection(t *testing.T) {
	w := newWorld(t)
	id, session := w.signUp("alice", "d1", "web")
	token := session.str("access_token")
	w.pipeline.kickErrs = []error{im.Retry(im.Unavailable, time.Second, "no transfer lives")}
	if answer := w.call("DELETE", "/v1/sessions/current", token, nil).ok("sign out", 204); answer.text != "" {
		t.Errorf("204 with a body: %q", answer.text)
	}
	if len(w.pipeline.kicked) != 2 {
		t.Fatalf("kicks: %v, want a second after the first failed", w.pipeline.kicked)
	}
	if kick := w.pipeline.kicked[1]; kick.GetUserId() != id || kick.GetDeviceId() != "d1" || kick.GetCode() != "revoked" {
		t.Errorf("kick %v", kick)
	}
	w.call("GET", "/v1/conversations", token, nil).refused("the access token", im.Unauthenticated)
	w.refresh(session.str("refresh_token")).refused("the refresh token", im.Unauthenticated)
}

// A server may die when the tokens have ended and the connection is still open; who has
// no answer asks again, and that closes it.
func TestSigningOutMayBeAskedForAgain(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	token := session.str("access_token")
	for range 2 {
		w.call("DELETE", "/v1/sessions/current", token, nil).ok("sign out", 204)
	}
	if len(w.pipeline.kicked) != 2 {
		t.Errorf("kicks: %v, want one each time", w.pipeline.kicked)
	}
	w.logIn("alice", "password-alice", "d1", "web").ok("the same device", 200)
	w.call("DELETE", "/v1/sessions/current", token, nil).refused("after another log-in", im.Unauthenticated)
	if len(w.pipeline.kicked) != 2 {
		t.Errorf("kicked the new one: %v", w.pipeline.kicked)
	}
}

func TestLoggingInAgainEndsTheFormerTokensOfTheDevice(t *testing.T) {
	w := newWorld(t)
	_, first := w.signUp("alice", "d1", "web")
	other := w.logIn("alice", "password-alice", "d2", "web").ok("another device", 200)
	second := w.logIn("alice", "password-alice", "d1", "ios").ok("the same device", 200)
	w.call("GET", "/v1/conversations", first.str("access_token"), nil).refused("former", im.Unauthenticated)
	w.refresh(first.str("refresh_token")).refused("former refresh", im.Unauthenticated)
	w.call("GET", "/v1/conversations", second.str("access_token"), nil).ok("new", 200)
	w.call("GET", "/v1/conversations", other.str("access_token"), nil).ok("the other device's", 200)
	w.refresh(second.str("refresh_token")).ok("new refresh", 200)
	if len(w.pipeline.kicked) != 0 {
		t.Errorf("kicked %v: a connection stays when its device logs in again", w.pipeline.kicked)
	}
}

// Every operation but the open ones asks for a token, and judges it the same way.
func TestTokensAreNeeded(t *testing.T) {
	w := newWorld(t)
	_, good := w.token("alice")
	for _, c := range [][2]string{
		{"DELETE", "/v1/sessions/current"}, {"GET", "/v1/gateway"}, {"POST", "/v1/messages"}, {"GET", "/v1/inbox"},
		{"POST", "/v1/inbox/ack"}, {"POST", "/v1/inbox/read"}, {"GET", "/v1/conversations"},
		{"GET", "/v1/conversations/c/messages"}, {"GET", "/v1/conversations/c/reads"}, {"GET", "/v1/users/u"},
	} {
		w.call(c[0], c[1], "", nil).refused(c[1]+" without", im.Unauthenticated)
		w.call(c[0], c[1], "garbage", nil).refused(c[1]+" garbage", im.Unauthenticated)
		w.call(c[0], c[1], serviceKey, nil).refused(c[1]+" service key", im.Unauthenticated)
		answer := w.call(c[0], c[1], "", nil, "Authorization", "Basic "+good)
		answer.refused(c[1]+" basic", im.Unauthenticated)
		if answer.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: no WWW-Authenticate", c[1])
		}
	}
	w.call("GET", "/v1/conversations", "", nil, "Authorization", "bearer "+good).ok("the scheme in lower case", 200)
	w.clock.pass(15 * time.Minute)
	w.call("GET", "/v1/conversations", good, nil).refused("expired", im.Unauthenticated)
}
