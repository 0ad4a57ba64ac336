package protocol

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// response is what an HTTP call was answered.
type response struct {
	t       *testing.T
	what    string
	status  int
	header  http.Header
	text    []byte
	decoded map[string]any
}

// call asks the HTTP API; token is empty for nobody, and headers are "Name: value".
func (w *world) call(t *testing.T, token, method, path, body string, headers ...string) *response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.app.Addresses["http.listen"]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	answer, err := w.web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	r := &response{t: t, what: method + " " + path, status: answer.StatusCode, header: answer.Header}
	if r.text, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	json.Unmarshal(r.text, &r.decoded) //nolint:errcheck // not all answers are objects; is and problem look
	return r
}

// is wants a status and at least these fields, and returns the body.
func (r *response) is(status int, body string) map[string]any {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: %d %s, want %d", r.what, r.status, r.text, status)
	}
	if contentType := r.header.Get("Content-Type"); len(r.text) > 0 && contentType != "application/json" {
		r.t.Errorf("%s: content type %q", r.what, contentType)
	}
	if err := match(wanted(r.t, body), r.decoded); err != nil {
		r.t.Fatalf("%s: %v in %s", r.what, err, r.text)
	}
	return r.decoded
}

// done wants an answer without a body.
func (r *response) done() {
	r.t.Helper()
	if r.status != 204 || len(r.text) > 0 {
		r.t.Fatalf("%s: %d %q, want 204 and nothing", r.what, r.status, r.text)
	}
}

// problem wants an error of the protocol in the shape that all errors have.
func (r *response) problem(code string) map[string]any {
	r.t.Helper()
	status := map[string]int{
		"unauthenticated": 401, "forbidden": 403, "not_found": 404, "invalid": 400, "too_large": 413, "conflict": 409,
		"rate_limited": 429, "unavailable": 503, "internal": 500, "out_of_order": 409,
	}[code]
	return r.problemWith(status, code)
}

func (r *response) problemWith(status int, code string) map[string]any {
	r.t.Helper()
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("%s: %d %s %s, want %d %s", r.what, r.status, r.header.Get("Content-Type"), r.text, status, code)
	}
	want := `{"type":"*","title":"*","detail":"*","status":` + strconv.Itoa(status) + `,"code":"` + code + `"}`
	if err := match(wanted(r.t, want), r.decoded); err != nil {
		r.t.Fatalf("%s: %v in %s", r.what, err, r.text)
	}
	after, hasAfter := r.decoded["retry_after_ms"].(float64)
	header := r.header.Get("Retry-After")
	if hasAfter != (header != "") || hasAfter && header != strconv.Itoa(int(after+999)/1000) {
		r.t.Errorf("%s: retry_after_ms is %v, Retry-After %q", r.what, r.decoded["retry_after_ms"], header)
	}
	return r.decoded
}
