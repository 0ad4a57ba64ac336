package http

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

func (w *world) refresh(token string) said {
	w.t.Helper()
	return w.call("POST", "/v1/sessions/refresh", "", map[string]string{"refresh_token": token})
}

func TestRefreshing(t *testing.T) {
	w := newWorld(t)
	id, session := w.signUp("alice", "d1", "web")
	w.clock.pass(20 * time.Minute)
	next := w.refresh(session.str("refresh_token")).ok("refresh", 200)
	if next.str("user_id") != id || next.str("expires_in") != "900" || next.str("refresh_token") == session.str("refresh_token") {
		t.Errorf("refreshed %s", next.text)
	}
	w.call("GET", "/v1/conversations", next.str("access_token"), nil).ok("the new access token", 200)
	claims, _ := w.server.Tokens.Verify(next.str("access_token"))
	if claims.Platform != "web" || claims.DeviceID != "d1" {
		t.Errorf("claims %+v", claims)
	}
}

// An answer may get lost, so the token replaced last is answered again for 30 s.
func TestATokenReplacedOfLateAnswersWithTheSameSuccessor(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	first := session.str("refresh_token")
	second := w.refresh(first).ok("refresh", 200).str("refresh_token")
	third := w.refresh(second).ok("refresh again", 200).str("refresh_token")
	w.clock.pass(30*time.Second - time.Millisecond)
	for range 3 {
		if got := w.refresh(first).ok("first", 200).str("refresh_token"); got != second {
			t.Errorf("the first token's successor is %s, was %s", got, second)
		}
		if got := w.refresh(second).ok("second", 200).str("refresh_token"); got != third {
			t.Errorf("the second token's successor is %s, was %s", got, third)
		}
	}
	if len(w.pipeline.kicked) != 0 {
		t.Errorf("kicked %v", w.pipeline.kicked)
	}
}

// The store decides, not what one server remembers.
func TestAnotherServerAnswersATokenReplacedOfLate(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	first := session.str("refresh_token")
	second := w.refresh(first).ok("refresh", 200).str("refresh_token")
	w.refresh(second).ok("refresh again", 200)
	other := newWorld(t)
	other.server.Services, other.clock.now = w.server.Services, w.clock.now
	if got := other.refresh(first).ok("elsewhere", 200).str("refresh_token"); got != second {
		t.Errorf("the successor is %s, was %s", got, second)
	}
}

func TestAnyOlderUseRevokesTheFamily(t *testing.T) {
	for name, rotations := range map[string]int{"replaced once": 1, "replaced twice": 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, session := w.signUp("alice", "d1", "web")
			other := w.logIn("alice", "password-alice", "d2", "web").ok("another device", 200)
			newest := session
			for range rotations {
				newest = w.refresh(newest.str("refresh_token")).ok("refresh", 200)
			}
			w.clock.pass(30 * time.Second)
			w.refresh(session.str("refresh_token")).refused("the old token", im.Unauthenticated)
			if len(w.pipeline.kicked) != 1 || w.pipeline.kicked[0].GetCode() != "revoked" ||
				w.pipeline.kicked[0].GetUserId() != id || w.pipeline.kicked[0].GetDeviceId() != "d1" {
				t.Errorf("kicked %v", w.pipeline.kicked)
			}
			w.refresh(newest.str("refresh_token")).refused("the newest token", im.Unauthenticated)
			w.call("GET", "/v1/conversations", newest.str("access_token"), nil).refused("its access token", im.Unauthenticated)
			w.refresh(other.str("refresh_token")).ok("the other device's", 200)
			if !strings.Contains(w.log.String(), "refresh token used again") {
				t.Error("the log does not say it")
			}
		})
	}
}

// Two requests with one token at once: the row decides, both get one successor.
func TestARaceOfRefreshesHasOneSuccessor(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	successors := make([]string, 8)
	var running sync.WaitGroup
	for i := range successors {
		running.Go(func() { successors[i] = w.refresh(session.str("refresh_token")).str("refresh_token") })
	}
	running.Wait()
	for _, got := range successors {
		if got != successors[0] || got == "" {
			t.Errorf("successors differ: %q, %q", got, successors[0])
		}
	}
	if rows := w.store.refreshes[w.store.devices[[2]string{session.str("user_id"), "d1"}].Family]; len(rows) != 2 {
		t.Errorf("generations %v, want 2", rows)
	}
}

// The row went in, and its outcome was lost: reading it again tells.
func TestARefreshWithAnUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	lost := 0
	w.store.fail = func(call string) error {
		if call == "InsertRefresh" && lost < 2 {
			lost++
			return im.ErrUnknown
		}
		return nil
	}
	w.refresh(session.str("refresh_token")).ok("after two lost outcomes", 200)
}

func TestARefreshTokenEndsUnused(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.RefreshTTL = time.Hour })
	_, session := w.signUp("alice", "d1", "web")
	w.clock.pass(time.Hour - time.Second)
	next := w.refresh(session.str("refresh_token")).ok("in time", 200)
	w.clock.pass(time.Hour)
	w.refresh(next.str("refresh_token")).refused("too late", im.Unauthenticated)
}

func TestForeignRefreshTokensAreRefused(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	good := session.str("refresh_token")
	token, _ := parseRefreshToken(w.server.config.RefreshSecret, good)
	forged := token
	forged.userID = "somebody"
	unknown := token
	unknown.generation = 9
	for name, text := range map[string]string{
		"nothing": "", "garbage": "garbage", "dots": "....", "cut": good[:len(good)-1], "longer": good + "A",
		"generation changed": strings.Replace(good, ".1.", ".2.", 1),
		"another secret":     token.sign([]byte(strings.Repeat("x", 32))),
		"another user":       forged.sign(w.server.config.RefreshSecret),
		"never issued":       unknown.sign(w.server.config.RefreshSecret),
	} {
		w.refresh(text).refused(name, im.Unauthenticated)
	}
	w.call("POST", "/v1/sessions/refresh", "", `{"refresh_token":1}`).refused("a number", im.Invalid)
	w.refresh(good).ok("the good one still", 200)
	w.store.users[0].Disabled = true
	w.refresh(good).refused("disabled account", im.Unauthenticated)
}

func FuzzRefreshToken(f *testing.F) {
	secret := []byte(strings.Repeat("s", 32))
	f.Add(refreshToken{"f", 1, "u", "d"}.sign(secret))
	f.Add("a.1.b.c.d")
	f.Fuzz(func(t *testing.T, text string) {
		if token, ok := parseRefreshToken(secret, text); ok && token.sign(secret) != text {
			t.Errorf("%q is accepted and is not what we write", text)
		}
	})
}
