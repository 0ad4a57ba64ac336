package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server with all that it works with, and a clock.
type world struct {
	t         *testing.T
	clock     *clock
	store     *memoryStore
	pipeline  *fakePipeline
	discovery fakeDiscovery
	passwords *countedPasswords
	log       *bytes.Buffer
	server    *Server

	broadcasts *memoryBroadcasts
}

const serviceKey = "the-service-key"

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, store: newMemoryStore(),
		pipeline: &fakePipeline{}, passwords: &countedPasswords{}, log: &bytes.Buffer{}, broadcasts: newMemoryBroadcasts(),
		discovery: fakeDiscovery{"websocket": make(chan []im.Server), "tcp": make(chan []im.Server)},
	}
	config := Config{
		Listen: "127.0.0.1:0", RefreshSecret: bytes.Repeat([]byte("s"), 32), ServiceKey: serviceKey, Version: "1.2.3",
		MaxBodyBytes: 100_000, Now: w.clock.Now,
	}
	for _, f := range change {
		f(&config)
	}
	server, err := New(config, Services{
		Accounts: w.store, Devices: w.store, Histories: w.store, Relations: w.store, Journals: w.store, Passports: w.store, Pipeline: w.pipeline, Discovery: w.discovery,
		Broadcasts: w.broadcasts,
		Tokens:     plainTokens{w.clock}, Passwords: w.passwords,
	}, slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	return w
}

// said is an answer: its status, headers and JSON.
type said struct {
	t       *testing.T
	status  int
	header  http.Header
	text    string
	content map[string]any
}

// call sends a request. The body is text as it is, or a value to be JSON.
func (w *world) call(method, path, token string, body any, headers ...string) said {
	w.t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(encoded)
	}
	request := httptest.NewRequest(method, path, strings.NewReader(text))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, request)
	answer := said{t: w.t, status: recorder.Code, header: recorder.Header(), text: recorder.Body.String()}
	if answer.text != "" && strings.Contains(answer.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal([]byte(answer.text), &answer.content); err != nil {
			w.t.Fatalf("%s %s: the answer is no JSON: %v: %s", method, path, err, answer.text)
		}
	}
	return answer
}

// refused checks that an answer is a whole problem with this code.
func (a said) refused(what string, code im.Code) {
	a.t.Helper()
	if a.status != code.Status() || a.content["code"] != string(code) {
		a.t.Errorf("%s: got %d %s, want %d %s", what, a.status, a.text, code.Status(), code)
	}
	a.problem(what)
}

// problem checks the form of a problem.
func (a said) problem(what string) {
	a.t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: content type %q", what, got)
	}
	if a.content["type"] != "about:blank" || a.content["title"] != http.StatusText(a.status) ||
		a.content["status"] != float64(a.status) || a.content["detail"] == "" {
		a.t.Errorf("%s: not a whole problem: %s", what, a.text)
	}
	retry := a.status == 429 || a.status >= 500
	if got := a.header.Get("Retry-After") != "" && a.content["retry_after_ms"] != nil; got != retry {
		a.t.Errorf("%s: asks to be tried again: %v, want %v: %s", what, got, retry, a.text)
	}
}

// ok checks the status.
func (a said) ok(what string, status int) said {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d %s, want %d", what, a.status, a.text, status)
	}
	return a
}

// is compares the JSON of a field, "" for all of it.
func (a said) is(field, want string) {
	a.t.Helper()
	var value any = a.content
	if field != "" {
		value = a.content[field]
	}
	got, _ := json.Marshal(value)
	var normal any
	if err := json.Unmarshal([]byte(want), &normal); err != nil {
		a.t.Fatal(err)
	}
	wanted, _ := json.Marshal(normal)
	if string(got) != string(wanted) {
		a.t.Errorf("%s is %s, want %s", field, got, wanted)
	}
}

func (a said) str(field string) string { return fmt.Sprint(a.content[field]) }

// signUp registers a user and logs them in; their id and session come back.
func (w *world) signUp(name, device, platform string) (userID string, session said) {
	w.t.Helper()
	w.call("POST", "/v1/users", "", map[string]string{"username": name, "password": "password-" + name}).ok("register", 201)
	session = w.logIn(name, "password-"+name, device, platform).ok("log in", 200)
	return session.str("user_id"), session
}

func (w *world) logIn(name, password, device, platform string) said {
	w.t.Helper()
	return w.call("POST", "/v1/sessions", "", map[string]string{
		"username": name, "password": password, "device_id": device, "platform": platform,
	})
}

// token signs a new user in and returns their id and access token.
func (w *world) token(name string) (userID, token string) {
	w.t.Helper()
	userID, session := w.signUp(name, "d1", "web")
	return userID, session.str("access_token")
}
