package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
)

func TestPathsAndMethodsThatAreNot(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	for _, path := range []string{"/nope", "/v1", "/v1/", "/v1/nope", "/docs/nope", "/assets/", "/assets/nope.js", "/healthz", "/metrics", "/readyz"} {
		w.call("GET", path, token, nil).refused(path, im.NotFound)
		w.call("POST", path, "", "{}").refused(path, im.NotFound)
	}
	for _, c := range [][3]string{
		{"PATCH", "/v1/sessions", "POST"}, {"PUT", "/v1/messages", "POST"}, {"DELETE", "/v1/inbox", "GET, HEAD"},
		{"POST", "/docs", "GET, HEAD"}, {"OPTIONS", "/v1/sessions", "POST"}, {"POST", "/", "GET, HEAD"},
	} {
		answer := w.call(c[0], c[1], token, nil)
		answer.ok(c[1], 405).is("code", `"invalid"`)
		answer.problem(c[1])
		if got := answer.header.Get("Allow"); got != c[2] {
			t.Errorf("%s: Allow %q, want %q", c[1], got, c[2])
		}
	}
}

func TestEveryAnswerHasARequestID(t *testing.T) {
	w := newWorld(t)
	if id := w.call("GET", "/nope", "", nil).header.Get("X-Request-Id"); !im.ValidID(id) {
		t.Errorf("request id %q", id)
	}
	if id := w.call("GET", "/nope", "", nil, "X-Request-Id", "mine").header.Get("X-Request-Id"); id != "mine" {
		t.Errorf("request id %q, want the caller's", id)
	}
	if id := w.call("GET", "/nope", "", nil, "X-Request-Id", strings.Repeat("x", 65)).header.Get("X-Request-Id"); len(id) > 64 {
		t.Errorf("request id %q", id)
	}
	if !strings.Contains(w.log.String(), "request_id=mine") {
		t.Error("the log does not have the request id")
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	w.store.fail = func(call string) error {
		if call == "Info" {
			w.store.fail = nil
			panic("a bug in " + call)
		}
		return nil
	}
	w.call("GET", "/v1/conversations", token, nil).refused("panic", im.Internal)
	if log := w.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "a bug in Info") {
		t.Errorf("log: %s", log)
	}
}

func TestLogsHaveNoSecrets(t *testing.T) {
	w := newWorld(t)
	_, session := w.signUp("alice", "d1", "web")
	w.logIn("alice", "wrong-password", "d1", "web")
	w.call("POST", "/v1/sessions", "", `{"password":["hunter2hunter2"]}`)
	w.call("POST", "/v1/service/users", "wrong-service-key", nil)
	w.call("GET", "/v1/users/nobody?token=query-secret", session.str("access_token"), nil)
	w.refresh(session.str("refresh_token") + "x")
	log := w.log.String()
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "status=401") {
		t.Errorf("the failures are not logged: %s", log)
	}
	for _, secret := range []string{
		"wrong-password", "password-alice", "hunter2", "wrong-service-key", serviceKey, "query-secret",
		session.str("access_token"), session.str("refresh_token"),
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the secret %q: %s", secret, log)
		}
	}
}

// A request has a bounded time; a store that does not answer in it is unavailable.
func TestARequestEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.RequestTimeout = 3 * time.Second })
		w.pipeline.kickErrs = make([]error, 1000)
		for i := range w.pipeline.kickErrs {
			w.pipeline.kickErrs[i] = im.Retry(im.Unavailable, time.Second, "no transfer lives")
		}
		_, token := w.token("alice")
		started := time.Now()
		w.call("DELETE", "/v1/sessions/current", token, nil).refused("the kick never succeeds", im.Unavailable)
		if took := time.Since(started); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
	})
	for _, err := range []error{context.DeadlineExceeded, context.Canceled, im.ErrUnknown} {
		if got := problemOf(wrap("read", err)); got.Code != im.Unavailable {
			t.Errorf("%v is %s", err, got.Code)
		}
	}
}

func TestABodyThatDoesNotArriveIsUnavailable(t *testing.T) {
	w := newWorld(t)
	request := httptest.NewRequest(http.MethodPost, "/v1/users", io.MultiReader(strings.NewReader(`{"user`), iotest.ErrReader(errors.New("reset"))))
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, request)
	if recorder.Code != 503 || !strings.Contains(recorder.Body.String(), "unavailable") || strings.Contains(recorder.Body.String(), "reset") {
		t.Errorf("answered %d %s", recorder.Code, recorder.Body)
	}
}

func TestTheBodyLimitIsExact(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxBodyBytes = 100 })
	body := `{"username":"bob","password":"12345678"}`
	w.call("POST", "/v1/users", "", body+strings.Repeat(" ", 100-len(body))).ok("the limit", 201)
	w.call("POST", "/v1/users", "", body+strings.Repeat(" ", 101-len(body))).refused("one more", im.TooLarge)
}

func TestCORS(t *testing.T) {
	preflight := []string{"Origin", "https://a.example", "Access-Control-Request-Method", "POST"}
	closed := newWorld(t)
	if answer := closed.call("OPTIONS", "/v1/users", "", nil, preflight...); answer.status != 405 || answer.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("no origin allowed: %d %v", answer.status, answer.header)
	}
	one := newWorld(t, func(c *Config) { c.CORSOrigins = []string{"https://a.example"} })
	allowed := one.call("OPTIONS", "/v1/users", "", nil, preflight...)
	if allowed.status != 204 || allowed.header.Get("Access-Control-Allow-Origin") != "https://a.example" ||
		!strings.Contains(allowed.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("preflight: %d %v", allowed.status, allowed.header)
	}
	if got := one.call("GET", "/v1/nope", "", nil, "Origin", "https://a.example"); got.header.Get("Access-Control-Allow-Origin") == "" ||
		got.header.Get("Vary") != "Origin" {
		t.Errorf("an error must be readable too: %v", got.header)
	}
	if got := one.call("OPTIONS", "/v1/users", "", nil, "Origin", "https://b.example", "Access-Control-Request-Method", "POST"); got.status != 405 ||
		got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", got.status, got.header)
	}
	anyone := newWorld(t, func(c *Config) { c.CORSOrigins = []string{"*"} })
	if got := anyone.call("OPTIONS", "/v1/users", "", nil, preflight...); got.status != 204 {
		t.Errorf("any origin: %d", got.status)
	}
}

func TestTheRemoteAddress(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.1", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:5", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:5", "nonsense", "10.0.0.1"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		{"@", "198.51.100.1", "@"},
	} {
		request := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.forwarded != "" {
			request.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := w.server.remoteOf(request); got != c.want {
			t.Errorf("peer %s, forwarded %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
	if network("2001:db8:1:2:3::1") != network("2001:db8:1:2::9") || network("192.0.2.1") != "192.0.2.1" {
		t.Error("a /64 is one network, an IPv4 address its own")
	}
}
