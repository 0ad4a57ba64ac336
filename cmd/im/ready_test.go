package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// im ready says what /readyz says, at the address that the server's own settings
// name, also where that is all addresses.
func TestReady(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		io.WriteString(w, "the store does not answer\n") //nolint:errcheck // to a test
	}))
	listen := server.Listener.Addr().String()
	_, port, _ := strings.Cut(listen, ":")
	ready := func(arguments ...string) error {
		command := newRootCommand()
		command.SetArgs(append([]string{"ready"}, arguments...))
		return command.ExecuteContext(t.Context())
	}

	for _, at := range []string{listen, "0.0.0.0:" + port, ":" + port} {
		if err := ready("transfer", "--set", "admin.listen="+at); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := ready("--set", "admin.listen="+listen); err == nil || !strings.Contains(err.Error(), "the store does not answer") {
		t.Errorf("not ready: %v", err)
	}
	server.Close()
	if err := ready("--set", "admin.listen="+listen); err == nil {
		t.Error("nobody answers, and that is ready")
	}
}
