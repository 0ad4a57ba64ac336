package http

import (
	"fmt"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func TestMakingUsers(t *testing.T) {
	w := newWorld(t)
	alice, _ := w.token("alice")
	made := w.call("POST", "/v1/service/users", serviceKey,
		`{"users":[{"username":"Bob","nickname":"B"},{"username":"alice"},{"username":"carol"},{"username":"bob"}]}`).ok("users", 200)
	bob, carol := w.store.named("bob"), w.store.named("carol")
	made.is("", fmt.Sprintf(`{"users":[{"user_id":%q,"username":"bob","created":true},{"user_id":%q,"username":"alice","created":false},
		{"user_id":%q,"username":"carol","created":true},{"user_id":%q,"username":"bob","created":false}]}`, bob.ID, alice, carol.ID, bob.ID))
	if bob.Nickname != "B" || bob.PasswordHash != "" {
		t.Errorf("stored %+v", bob)
	}
	w.call("POST", "/v1/service/users", serviceKey, `{"users":[]}`).ok("none", 200).is("", `{"users":[]}`)
	many := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`{"username":"u%d"}`, i)
		}
		return `{"users":[` + strings.Join(names, ",") + `]}`
	}
	w.call("POST", "/v1/service/users", serviceKey, many(1000)).ok("1,000", 200)
	w.call("POST", "/v1/service/users", serviceKey, many(1001)).refused("1,001", im.Invalid)
	count := len(w.store.users)
	w.call("POST", "/v1/service/users", serviceKey, `{"users":[{"username":"dave"},{"username":"not good"}]}`).refused("a bad name", im.Invalid)
	if len(w.store.users) != count {
		t.Error("some of a refused request was made")
	}
}

func TestIssuingTokens(t *testing.T) {
	w := newWorld(t)
	made := w.call("POST", "/v1/service/users", serviceKey, `{"users":[{"username":"robot"}]}`).ok("users", 200)
	id := made.content["users"].([]any)[0].(map[string]any)["user_id"].(string)
	device := func(user, device, platform string) map[string]string {
		return map[string]string{"user_id": user, "device_id": device, "platform": platform}
	}
	session := w.call("POST", "/v1/service/tokens", serviceKey, device(id, "d9", "other")).ok("tokens", 200)
	if session.str("user_id") != id || session.str("expires_in") != "900" {
		t.Errorf("session %s", session.text)
	}
	w.call("GET", "/v1/conversations", session.str("access_token"), nil).ok("the access token", 200)
	w.refresh(session.str("refresh_token")).ok("the refresh token", 200)
	w.call("POST", "/v1/service/tokens", serviceKey, device("nobody", "d", "web")).refused("no such user", im.NotFound)
	w.call("POST", "/v1/service/tokens", serviceKey, device(id, "", "web")).refused("no device", im.Invalid)
	w.call("POST", "/v1/service/tokens", serviceKey, device(id, "d", "")).refused("no platform", im.Invalid)
	w.store.users[0].Disabled = true
	w.call("POST", "/v1/service/tokens", serviceKey, device(id, "d", "web")).refused("disabled", im.Forbidden)
	if w.passwords.hashes+w.passwords.verifies != 0 {
		t.Error("a password was hashed for the service API")
	}
}

func TestTheServiceKey(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	for _, key := range []string{"", "wrong", serviceKey + "x", serviceKey[1:], token} {
		w.call("POST", "/v1/service/users", key, `{}`).refused("key "+key, im.Unauthenticated)
		w.call("POST", "/v1/service/tokens", key, `{}`).refused("key "+key, im.Unauthenticated)
	}
	without := newWorld(t, func(c *Config) { c.ServiceKey = "" })
	for _, key := range []string{"", serviceKey} {
		for _, method := range []string{"POST", "GET"} {
			without.call(method, "/v1/service/users", key, `{}`).refused("none configured", im.NotFound)
			without.call(method, "/v1/service/tokens", key, `{}`).refused("none configured", im.NotFound)
		}
	}
}
