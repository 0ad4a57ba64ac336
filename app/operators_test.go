package app

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im/configs"
)

// withAdmin starts an operators' listener that counts what was changed.
func withAdmin(t *testing.T, hosts ...string) (address string, changed *int) {
	t.Helper()
	changed = new(int)
	change := func(mux *http.ServeMux) {
		mux.HandleFunc("POST /change", func(http.ResponseWriter, *http.Request) { *changed++ })
		mux.HandleFunc("GET /quarantine", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "secrets") })
	}
	a, err := newAdmin(t.Context(), "127.0.0.1:0", configs.Admin{Hosts: hosts}, prometheus.NewRegistry(), func() error { return nil },
		[]func(*http.ServeMux){change}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := a.stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return a.listener.Addr().String(), changed
}

func askAdmin(t *testing.T, method, address, path, host string, header http.Header) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	if request.Host = host; header != nil {
		request.Header = header
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// A page whose own name was made to resolve to the operators' listener comes with
// that name as its Host: it reads nothing. Who asks by address, by the name that is
// listened on or by a configured one, is answered.
func TestOperatorsAreAskedByTheirOwnNames(t *testing.T) {
	address, _ := withAdmin(t, "Metrics.example.org", "im")
	for host, want := range map[string]int{
		address:                      http.StatusOK, // as Prometheus does
		"127.0.0.1":                  http.StatusOK,
		"localhost:8090":             http.StatusOK,
		"LOCALHOST":                  http.StatusOK,
		"[::1]:8090":                 http.StatusOK,
		"[::1]":                      http.StatusOK,
		"10.0.0.7:8090":              http.StatusOK, // of a pod, whatever is listened on
		"metrics.EXAMPLE.org:8090":   http.StatusOK,
		"im:8090":                    http.StatusOK,
		"rebound.example.org:8090":   http.StatusMisdirectedRequest,
		"127.0.0.1.example.org":      http.StatusMisdirectedRequest,
		"localhost.example.org:8090": http.StatusMisdirectedRequest,
		"1.example.org":              http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/quarantine", "/metrics", "/readyz", "/debug/pprof/cmdline?x"} {
			if path == "/debug/pprof/cmdline?x" && want == http.StatusOK {
				continue // pprof.Index knows no such profile
			}
			if got := askAdmin(t, http.MethodGet, address, path, host, nil); got != want {
				t.Errorf("%s as %s: %d, want %d", path, host, got, want)
			}
		}
	}
}

// What changes something takes a header that no page can send unasked.
func TestOperatorsChangeThingsOnPurpose(t *testing.T) {
	address, changed := withAdmin(t)
	for _, refused := range []http.Header{
		{},
		{"Content-Type": {"text/plain"}},
		{OperatorHeader: {"page"}, "Sec-Fetch-Site": {"cross-site"}},
		{OperatorHeader: {"page"}, "Origin": {"https://example.org"}},
	} {
		if got := askAdmin(t, http.MethodPost, address, "/change", address, refused); got != http.StatusForbidden || *changed != 0 {
			t.Errorf("with %v: %d, changed %d", refused, got, *changed)
		}
	}
	if got := askAdmin(t, http.MethodPost, address, "/change", address, http.Header{OperatorHeader: {"curl"}}); got != http.StatusOK || *changed != 1 {
		t.Errorf("an operator is answered %d, changed %d", got, *changed)
	}
}
