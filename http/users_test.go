package http

import (
	"errors"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func TestRegistering(t *testing.T) {
	w := newWorld(t)
	user := func(name, password, nickname string) map[string]string {
		return map[string]string{"username": name, "password": password, "nickname": nickname}
	}
	made := w.call("POST", "/v1/users", "", user("Alice.B_-1", "12345678", "Alice")).ok("register", 201)
	if !im.ValidID(made.str("user_id")) || len(made.content) != 1 {
		t.Errorf("answer %s", made.text)
	}
	if stored := w.store.users[0]; stored.Username != "alice.b_-1" || stored.PasswordHash != "hash of 12345678" || stored.CreatedAtMs == 0 {
		t.Errorf("stored %+v", stored)
	}
	for name, c := range map[string]struct {
		body any
		code im.Code
	}{
		"taken":               {user("alice.b_-1", "12345678", ""), im.Conflict},
		"taken in capitals":   {user("ALICE.b_-1", "12345678", ""), im.Conflict},
		"no name":             {user("", "12345678", ""), im.Invalid},
		"name too long":       {user(strings.Repeat("a", 65), "12345678", ""), im.Invalid},
		"name with a space":   {user("a b", "12345678", ""), im.Invalid},
		"name not of ASCII":   {user("zoë", "12345678", ""), im.Invalid},
		"password too short":  {user("bob", "1234567", ""), im.Invalid},
		"password too long":   {user("bob", strings.Repeat("p", 129), ""), im.Invalid},
		"nickname too long":   {user("bob", "12345678", strings.Repeat("n", 129)), im.Invalid},
		"nickname of control": {user("bob", "12345678", "a\nb"), im.Invalid},
		"wrong type":          {`{"username":5}`, im.Invalid},
		"not an object":       {`[]`, im.Invalid},
		"not JSON":            {`{"username":`, im.Invalid},
		"two values":          {`{} {}`, im.Invalid},
		"not UTF-8":           {"{\"username\":\"bob\",\"password\":\"12345678\xff\"}", im.Invalid},
		"empty":               {"", im.Invalid},
		"too large":           {`{"username":"` + strings.Repeat("a", 100_000) + `"}`, im.TooLarge},
	} {
		w.call("POST", "/v1/users", "", c.body).refused(name, c.code)
	}
	w.call("POST", "/v1/users", "", `{"username":"bob","password":"12345678","nickname":null,"later":{"x":1}}`).
		ok("with unknown fields and null", 201)
	w.call("POST", "/v1/users", "", `{"username":"carol","password":"12345678"}`, "Content-Type", "application/x-www-form-urlencoded").
		ok("as curl sends it", 201)
	w.call("POST", "/v1/users", "", user("p128", strings.Repeat("p", 128), "")).ok("the longest password", 201)
}

func TestRegistrationCanBeSwitchedOffAndOn(t *testing.T) {
	w := newWorld(t)
	body := map[string]string{"username": "alice", "password": "12345678"}
	w.server.SetPolicy(Policy{RefuseRegistration: true})
	w.call("POST", "/v1/users", "", body).refused("switched off", im.Forbidden)
	w.call("POST", "/v1/service/users", serviceKey, `{"users":[{"username":"bob"}]}`).ok("by the service key", 200)
	w.server.SetPolicy(Policy{})
	w.call("POST", "/v1/users", "", body).ok("switched on again", 201)
}

// The row is in although the store could not say so: the name leads to our id.
func TestARegistrationWithAnUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	body := map[string]string{"username": "alice", "password": "12345678"}
	w.store.fail = func(call string) error {
		if call == "CreateUser" {
			return im.ErrUnknown
		}
		return nil
	}
	w.call("POST", "/v1/users", "", body).refused("not in", im.Unavailable)
	w.store.fail = nil
	w.call("POST", "/v1/users", "", body).ok("once more", 201)
}

func TestProfiles(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.store.users[0].Nickname = "Al"
	w.call("GET", "/v1/users/"+id, token, nil).ok("profile", 200).
		is("", `{"user_id":"`+id+`","username":"alice","nickname":"Al"}`)
	w.call("GET", "/v1/users/nobody", token, nil).refused("nobody", im.NotFound)
	w.call("GET", "/v1/users/"+strings.Repeat("x", 65), token, nil).refused("no id", im.NotFound)
	w.call("GET", "/v1/users/"+id, "", nil).refused("without a token", im.Unauthenticated)
}

// What went wrong inside is logged, and not told.
func TestInternalErrorsAreNotTold(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	w.store.fail = func(call string) error {
		if call == "UsersByID" {
			return errors.New("disk on fire")
		}
		return nil
	}
	answer := w.call("GET", "/v1/users/u", token, nil)
	answer.refused("store", im.Internal)
	if strings.Contains(answer.text, "fire") {
		t.Errorf("the answer tells too much: %s", answer.text)
	}
	if log := w.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "disk on fire") {
		t.Errorf("the log does not say it: %s", log)
	}
}

func TestUsersAreFoundByName(t *testing.T) {
	w := newWorld(t)
	id, token := w.token("alice")
	w.call("GET", "/v1/users?query=Alice", token, nil).ok("by name", 200).is("users", `[{"user_id":"`+id+`","username":"alice"}]`)
	for _, query := range []string{"", "?query=nobody", "?query=%20"} {
		w.call("GET", "/v1/users"+query, token, nil).ok(query, 200).is("users", `[]`)
	}
	w.call("GET", "/v1/users?query=alice", "", nil).refused("without a token", im.Unauthenticated)
}
