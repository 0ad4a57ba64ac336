package protocol

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// endpoints are those that need a token.
func endpoints() []string {
	return []string{
		"DELETE /v1/sessions/current", "GET /v1/gateway", "POST /v1/messages", "GET /v1/inbox", "POST /v1/inbox/ack",
		"POST /v1/inbox/read", "GET /v1/conversations", "GET /v1/conversations/d1/messages", "GET /v1/conversations/d1/reads",
		"GET /v1/users/u1",
	}
}

// Everything but registration, log-in, refresh, the document and pages needs a token
// that is valid.
func testTokensAreNeeded(t *testing.T, w *world) {
	me := w.someone(t)
	for _, endpoint := range endpoints() {
		method, path, _ := strings.Cut(endpoint, " ")
		for _, token := range []string{
			"", "nonsense", me.refresh, me.until(t, time.Now().Add(-time.Hour), tokenSecret).token,
			me.until(t, time.Now().Add(time.Hour), strings.Repeat("x", 32)).token,
		} {
			w.call(t, token, method, path, "").problem("unauthenticated")
		}
		w.call(t, "", method, path, "", "Authorization: Basic "+me.token).problem("unauthenticated")
	}
	for _, path := range []string{"/", "/docs", "/openapi.json"} {
		if answer := w.call(t, "", "GET", path, ""); answer.status != 200 {
			t.Errorf("%s: %d", path, answer.status)
		}
	}
	w.call(t, "", "GET", "/openapi.json", "").is(200, `{"openapi":"3.1.0","paths":{"/v1/messages":"*"}}`)
}

// A method that is not allowed carries invalid, a path that does not exist not_found.
func testMethodsAndPaths(t *testing.T, w *world) {
	me := w.someone(t)
	for _, endpoint := range append(endpoints(), "POST /v1/users", "POST /v1/sessions", "POST /v1/sessions/refresh",
		"POST /v1/service/users", "POST /v1/service/tokens", "GET /openapi.json", "GET /docs") {
		_, path, _ := strings.Cut(endpoint, " ")
		answer := w.call(t, me.token, "PUT", path, "{}")
		answer.problemWith(405, "invalid")
		if answer.header.Get("Allow") == "" {
			t.Errorf("%s does not say what is allowed", path)
		}
	}
	for _, path := range []string{
		"/v1", "/v1/", "/v1/nothing", "/v1/messages/5/nothing", "/v2/messages", "/nothing", "/v1/rooms/r/nothing", "/v1/groups/g/nothing",
		"/v1/users/a/b", "/v1/inbox/", "/healthz", "/readyz", "/metrics", "/debug/pprof/", // these are the operators'
	} {
		for _, method := range []string{"GET", "POST"} {
			w.call(t, me.token, method, path, "{}").problem("not_found")
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		answer, err := w.web.Get("http://" + w.app.Addresses["admin.listen"] + path)
		if err != nil || answer.StatusCode != 200 {
			t.Errorf("%s on the admin listener: %v, %v", path, answer, err)
			continue
		}
		answer.Body.Close()
	}
}

// Bodies are JSON objects whatever their content type says, of at most 1 MiB.
func testBodies(t *testing.T, w *world) {
	me := w.someone(t)
	for _, path := range []string{"/v1/messages", "/v1/inbox/ack", "/v1/inbox/read", "/v1/users", "/v1/sessions", "/v1/sessions/refresh"} {
		for _, body := range []string{"", "{", "hello", "[]", `"x"`, "5", "{}{}", "\xff", `{"a":"` + "\xff" + `"}`} {
			answer := w.call(t, me.token, "POST", path, body)
			answer.what += " " + body
			answer.problem("invalid")
		}
		w.call(t, me.token, "POST", path, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`).problem("too_large")
	}
	for i, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "nonsense"} {
		w.call(t, me.token, "POST", "/v1/messages", text(fmt.Sprint("m", i), me.user, "x"), "Content-Type: "+contentType).is(200, `{}`)
	}
	for _, accept := range []string{"text/html", "application/xml", "application/json;q=0", "nonsense"} {
		w.call(t, me.token, "GET", "/v1/inbox", "", "Accept: "+accept).is(200, `{}`)
		w.call(t, me.token, "GET", "/v1/inbox?limit=-1", "", "Accept: "+accept).problem("invalid")
	}
	answer := w.call(t, me.token, "GET", "/v1/inbox", "", "X-Request-Id: mine")
	if id := answer.header.Get("X-Request-Id"); id != "mine" {
		t.Errorf("X-Request-Id %q", id)
	}
	if id := w.call(t, me.token, "GET", "/nothing", "").header.Get("X-Request-Id"); id == "" {
		t.Error("no X-Request-Id")
	}
}

// The gateway API names a live server of a transport; an excluded one only when no
// other lives.
func testGateway(t *testing.T, w *world) {
	me := w.someone(t)
	for query, row := range map[string]struct{ setting, scheme, path string }{
		"": {"websocket.listen", "ws", "/ws"}, "?transport=websocket": {"websocket.listen", "ws", "/ws"},
		"?transport=tcp": {"tcp.listen", "tcp", ""},
	} {
		at := w.app.Addresses[row.setting]
		found := w.call(t, me.token, "GET", "/v1/gateway"+query, "").is(200, fmt.Sprintf(
			`{"server_id":"*","address":%q,"url":"%s://%s%s"}`, at, row.scheme, at, row.path))
		separator := "?"
		if query != "" {
			separator = "&"
		}
		exclude := "exclude=other&exclude=" + url.QueryEscape(found["server_id"].(string))
		again := w.call(t, me.token, "GET", "/v1/gateway"+query+separator+exclude, "").is(200, `{}`)
		if again["server_id"] != found["server_id"] {
			t.Errorf("%v, then %v", found, again)
		}
	}
	w.call(t, me.token, "GET", "/v1/gateway?transport=pigeon", "").problem("invalid")
	w.call(t, me.token, "GET", "/v1/gateway?transport=http", "").problem("invalid")
}

// Idempotency-Key acts as the client_msg_id; one in the body wins; a repeat has the
// first answer's status; keys belong to a user and device.
func testIdempotencyKeys(t *testing.T, w *world) {
	me := w.someone(t)
	phone := w.device(t, me.user, "d2", "ios")
	send := func(d device, key, body string) *response {
		return w.call(t, d.token, "POST", "/v1/messages", body, "Idempotency-Key: "+key)
	}
	body := fmt.Sprintf(`{"to":{"user_id":%q},"content":{"type":"text","text":"x"}}`, me.user)
	first := send(me, "k1", body).is(200, `{"client_msg_id":"k1","conversation_seq":"1","duplicate":null}`)
	send(me, "k1", body).is(200, fmt.Sprintf(`{"message_id":%q,"sent_at_ms":%q,"duplicate":true}`, first["message_id"], first["sent_at_ms"]))
	send(me, "k1", text("m1", me.user, "other words")).is(200, `{"client_msg_id":"m1","conversation_seq":"2","duplicate":null}`)
	send(me, "k1", strings.Replace(body, `"x"`, `"y"`, 1)).problem("conflict")
	send(phone, "k1", body).is(200, `{"conversation_seq":"3","duplicate":null}`)
	send(me, strings.Repeat("k", 64), body).is(200, `{}`)
	send(me, strings.Repeat("k", 65), body).problem("invalid")
	c := w.login(t, tcpJSON(), me)
	c.ask("send", 1, text("k1", me.user, "x"), "send_ack", `{"duplicate":true,"conversation_seq":"1"}`)
}

// A message sent over HTTP is delivered as any other, with the token's device.
func testMessagesByHTTP(t *testing.T, w *world) {
	inEvery(t, func(t *testing.T, f form) {
		ann, bob := w.someone(t), w.someone(t)
		c, there := w.login(t, f, ann), w.login(t, f, bob)
		answer := w.message(t, ann, bob.user, "m1", "x")
		want := fmt.Sprintf(`{"kind":"message","message":{"message_id":%q,"conversation_seq":"1","sender_id":%q,"sender_device_id":"d1","client_msg_id":"m1"}}`,
			answer["message_id"], ann.user)
		if err := match(wanted(t, want), c.upto(1)); err != nil {
			t.Error(err)
		}
		there.upto(1)
		if err := match(wanted(t, fmt.Sprintf(`{"client_msg_id":"m1","conversation_id":%q,"conversation_seq":"1","sent_at_ms":"*","duplicate":null}`,
			direct(ann, bob))), answer); err != nil {
			t.Error(err)
		}
	})
}

// A user's profile, for anyone with a token.
func TestProfiles(t *testing.T) {
	t.Parallel()
	w := start(t)
	me := w.someone(t)
	made := w.call(t, "", "POST", "/v1/users", `{"username":"Bob","password":"12345678","nickname":"Bobby"}`).is(201, `{}`)
	w.call(t, me.token, "GET", "/v1/users/"+made["user_id"].(string), "").is(200,
		fmt.Sprintf(`{"user_id":%q,"username":"bob","nickname":"Bobby","password":null}`, made["user_id"]))
	w.call(t, me.token, "GET", "/v1/users/nobody", "").problem("not_found")
	w.call(t, me.token, "GET", "/v1/users/"+strings.Repeat("u", 65), "").problem("not_found")
}
