package protocol

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
)

// Names are 1 to 64 of a-z 0-9 . _ -, capitals are accepted and lowered; passwords 8
// to 128 bytes; a name that is taken is a conflict.
func TestRegistration(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, row := range []struct{ name, password, code string }{
		{"a", "12345678", ""}, {"a.b_c-9", "12345678", ""}, {strings.Repeat("n", 64), strings.Repeat("p", 128), ""}, {"Capital", "12345678", ""},
		{"capital", "12345678", "conflict"}, {"CAPITAL", "12345678", "conflict"}, {"a", "another one", "conflict"},
		{"", "12345678", "invalid"}, {strings.Repeat("n", 65), "12345678", "invalid"}, {"a b", "12345678", "invalid"},
		{"a@b", "12345678", "invalid"}, {"é", "12345678", "invalid"},
		{"short", "1234567", "invalid"}, {"long", strings.Repeat("p", 129), "invalid"}, {"none", "", "invalid"},
	} {
		answer := w.call(t, "", "POST", "/v1/users", fmt.Sprintf(`{"username":%q,"password":%q,"nickname":"Nick"}`, row.name, row.password))
		answer.what = "register " + row.name
		if row.code == "" {
			answer.is(201, `{"user_id":"*"}`)
		} else {
			answer.problem(row.code)
		}
	}
	w.call(t, "", "POST", "/v1/sessions", `{"username":"capItal","password":"12345678","device_id":"d","platform":"web"}`).is(200, `{"user_id":"*"}`)
}

// Log-in answers tokens bound to device and platform. A wrong name and a wrong
// password are the same answer.
func TestLogIn(t *testing.T) {
	t.Parallel()
	w := start(t)
	made := w.call(t, "", "POST", "/v1/users", `{"username":"ann","password":"a password"}`).is(201, `{"user_id":"*"}`)
	login := func(name, password, id, platform string) *response {
		return w.call(t, "", "POST", "/v1/sessions",
			fmt.Sprintf(`{"username":%q,"password":%q,"device_id":%q,"platform":%q}`, name, password, id, platform))
	}
	tokens := login("ann", "a password", "d1", "web").is(200, fmt.Sprintf(
		`{"access_token":"*","refresh_token":"*","expires_in":900,"user_id":%q}`, made["user_id"]))
	d := device{made["user_id"].(string), "d1", "web", tokens["access_token"].(string), ""}
	w.login(t, wsText(), d).alive()
	wrongPassword, wrongName := login("ann", "b password", "d1", "web"), login("bob", "a password", "d1", "web")
	wrongPassword.problem("unauthenticated")
	wrongName.problem("unauthenticated")
	if string(wrongPassword.text) != string(wrongName.text) {
		t.Errorf("%s is not %s", wrongPassword.text, wrongName.text)
	}
	login("no name!", "a password", "d1", "web").problem("unauthenticated")
	login("ann", "a password", "d1", "toaster").problem("invalid")
	login("ann", "a password", "", "web").problem("invalid")
	login("ann", "a password", strings.Repeat("d", 65), "web").problem("invalid")
	w.login(t, tcpJSON(), d).alive() // what was refused has changed nothing
	for _, platform := range []string{"web", "desktop", "ios", "android", "tablet", "other"} {
		login("ann", "a password", "on "+platform, platform).is(200, `{"access_token":"*"}`)
	}
	// Signing in again with a device ends its earlier tokens.
	login("ann", "a password", "d1", "web").is(200, `{}`)
	w.call(t, d.token, "GET", "/v1/inbox", "").problem("unauthenticated")
}

// Failed log-ins are limited, with a time to try again.
func TestLogInsAreLimited(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *configs.Config, _ *app.Options) {
		c.Auth.LoginsPerName, c.Auth.LoginsPerNameEvery = 2, time.Hour
	})
	body := `{"username":"ann","password":"wrong one","device_id":"d","platform":"web"}`
	w.call(t, "", "POST", "/v1/sessions", body).problem("unauthenticated")
	w.call(t, "", "POST", "/v1/sessions", body).problem("unauthenticated")
	if problem := w.call(t, "", "POST", "/v1/sessions", body).problem("rate_limited"); problem["retry_after_ms"] == nil {
		t.Errorf("no time to try again: %v", problem)
	}
}

// A refresh token answers as the log-in and is replaced. One that was replaced just
// now answers with the same successor, however often.
func testRefresh(t *testing.T, w *world) {
	me := w.someone(t)
	refresh := func(token any) *response {
		return w.call(t, "", "POST", "/v1/sessions/refresh", fmt.Sprintf(`{"refresh_token":%q}`, token))
	}
	shape := fmt.Sprintf(`{"access_token":"*","refresh_token":"*","expires_in":900,"user_id":%q}`, me.user)
	second := refresh(me.refresh).is(200, shape)
	for range 3 {
		if again := refresh(me.refresh).is(200, shape); again["refresh_token"] != second["refresh_token"] || again["refresh_token"] == me.refresh {
			t.Errorf("another successor: %v", again)
		}
	}
	third := refresh(second["refresh_token"]).is(200, shape)
	if again := refresh(me.refresh).is(200, shape); again["refresh_token"] != second["refresh_token"] {
		t.Errorf("replaced just now, by another: %v", again)
	}
	renewed := me
	renewed.token = third["access_token"].(string)
	c := w.login(t, wsProto(), renewed)
	w.login(t, tcpProto(), me) // access tokens live until they expire
	c.out("superseded")
	for _, bad := range []string{"", "nonsense", me.token, me.refresh + "x", me.refresh[:len(me.refresh)-4]} {
		refresh(bad).problem("unauthenticated")
	}
}

// Signing out ends the device's tokens, and no other's.
func testSignOut(t *testing.T, w *world) {
	me := w.someone(t)
	other := w.device(t, me.user, "d2", "ios")
	w.call(t, me.token, "DELETE", "/v1/sessions/current", "").done()
	w.call(t, me.token, "DELETE", "/v1/sessions/current", "").done() // who has no answer may ask again
	w.call(t, me.token, "GET", "/v1/inbox", "").problem("unauthenticated")
	w.call(t, "", "POST", "/v1/sessions/refresh", fmt.Sprintf(`{"refresh_token":%q}`, me.refresh)).problem("unauthenticated")
	w.call(t, other.token, "GET", "/v1/inbox", "").is(200, `{}`)
}

// The service API makes users where they are missing, in the order asked, and signs
// devices in.
func TestServiceAPI(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.call(t, serviceKey, "POST", "/v1/service/users", `{"users":[{"username":"b","nickname":"B"},{"username":"A"}]}`).
		is(200, `{"users":[{"user_id":"*","username":"b","created":true},{"user_id":"*","username":"a","created":true}]}`)
	again := w.call(t, serviceKey, "POST", "/v1/service/users", `{"users":[{"username":"a"},{"username":"c"},{"username":"b"}]}`).
		is(200, `{"users":[{"username":"a","created":false},{"username":"c","created":true},{"username":"b","created":false}]}`)
	if path(t, again, "users", 2, "user_id") != path(t, first, "users", 0, "user_id") {
		t.Errorf("b is %v and %v", first, again)
	}
	many := func(n int) string {
		var users []string
		for i := range n {
			users = append(users, fmt.Sprintf(`{"username":"many%d"}`, i))
		}
		return `{"users":[` + strings.Join(users, ",") + `]}`
	}
	if made := w.call(t, serviceKey, "POST", "/v1/service/users", many(1000)).is(200, `{}`); len(list(made["users"])) != 1000 {
		t.Errorf("%d users", len(list(made["users"])))
	}
	w.call(t, serviceKey, "POST", "/v1/service/users", many(1001)).problem("invalid")
	w.call(t, serviceKey, "POST", "/v1/service/users", `{"users":[{"username":"not a name"}]}`).problem("invalid")
	token := func(user, id, platform string) *response {
		return w.call(t, serviceKey, "POST", "/v1/service/tokens", fmt.Sprintf(`{"user_id":%q,"device_id":%q,"platform":%q}`, user, id, platform))
	}
	user := path(t, first, "users", 0, "user_id").(string)
	token(user, "d", "web").is(200, fmt.Sprintf(`{"access_token":"*","refresh_token":"*","expires_in":900,"user_id":%q}`, user))
	token("nobody", "d", "web").problem("not_found")
	token(user, "d", "toaster").problem("invalid")
	token(user, "", "web").problem("invalid")
	// The key is for these paths alone, and nothing else is for them.
	me := w.someone(t)
	for _, path := range []string{"/v1/service/users", "/v1/service/tokens"} {
		w.call(t, "", "POST", path, `{}`).problem("unauthenticated")
		w.call(t, "another key of some length", "POST", path, `{}`).problem("unauthenticated")
		w.call(t, me.token, "POST", path, `{}`).problem("unauthenticated")
	}
	w.call(t, serviceKey, "GET", "/v1/inbox", "").problem("unauthenticated")
	w.call(t, serviceKey, "POST", "/v1/messages", "{}").problem("unauthenticated")
}

// Where no service key is configured the first embedded start writes one that only
// its owner can read.
func TestTheServiceKeyThatIsMade(t *testing.T) {
	t.Parallel()
	var directory string
	w := start(t, func(c *configs.Config, _ *app.Options) { c.HTTP.ServiceKey, directory = "", c.DataDir })
	file := filepath.Join(directory, "service.key")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.call(t, strings.TrimSpace(string(key)), "POST", "/v1/service/users", `{"users":[{"username":"a"}]}`).is(200, `{}`)
	w.call(t, serviceKey, "POST", "/v1/service/users", `{"users":[{"username":"a"}]}`).problem("unauthenticated")
}
