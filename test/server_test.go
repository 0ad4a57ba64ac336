package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/deploy/local"
)

// patience bounds every wait of the stories. It is long because machines are busy;
// nothing waits for it to pass.
const patience = 30 * time.Second

// server is a whole im on a data directory of its own. It can be stopped, or as a
// process killed, and started again on the same data.
type server struct {
	t        *testing.T
	settings map[string]string
	here     *app.App        // in this process; nil = not running, or a process
	process  *local.Embedded // nil = here
	http     string          // base URL
	tcp      string          // host:port
	ws       string          // URL
	key      string          // of the service
	web      *http.Client
	log      *logs
	began    int // how often it was started
}

// logs keeps what servers have logged for the case that the test fails.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newServer(t *testing.T, settings map[string]string) *server {
	s := &server{t: t, log: &logs{}, settings: map[string]string{
		"data_dir": t.TempDir(), "http.listen": "127.0.0.1:0", "websocket.listen": "127.0.0.1:0", "tcp.listen": "127.0.0.1:0",
		"transfer.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0",
	}}
	maps.Copy(s.settings, settings)
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	s.web = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the servers' log:\n%s", tail(s.log.String(), 40))
		}
	})
	return s
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// startHere starts a server in this process.
func startHere(t *testing.T, settings map[string]string) *server {
	t.Helper()
	s := newServer(t, settings)
	t.Cleanup(s.stop)
	s.startHere()
	return s
}

func (s *server) startHere() {
	s.t.Helper()
	config, err := configs.Load("", s.settings)
	if err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.here, err = app.New(context.Background(), app.All, config, app.Options{Version: "test", Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	s.began++
	a := s.here.Addresses
	s.at(a["http.listen"], a["websocket.listen"], a["tcp.listen"])
	key, err := os.ReadFile(filepath.Join(s.settings["data_dir"], "service.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(key))
}

func (s *server) at(http, websocket, tcp string) {
	s.http, s.ws, s.tcp = "http://"+http, "ws://"+websocket+"/ws", tcp
}

// admin is where operators find it.
func (s *server) admin() string {
	if s.here != nil {
		return s.here.Addresses["admin.listen"]
	}
	return s.settings["admin.listen"]
}

// stop ends a server as an operator does.
func (s *server) stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.web.CloseIdleConnections()
	if s.here != nil {
		if err := s.here.Stop(ctx); err != nil {
			s.t.Errorf("stop: %v", err)
		}
		s.here = nil
	}
	if s.process != nil {
		if err := errors.Join(s.process.Terminate(), s.process.Await(ctx)); err != nil {
			s.t.Errorf("stop: %v", err)
		}
	}
}

// restart stops a server and starts it again on the same data.
func (s *server) restart() {
	s.t.Helper()
	s.stop()
	if s.process != nil {
		s.startProcess()
	} else {
		s.startHere()
	}
}

// freePorts chooses addresses that stay free while a server is away.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	ports, err := local.FreePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, n)
	for i, port := range ports {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return addresses
}

// api is the HTTP API without a token.
func (s *server) api() *client.API { return client.NewAPI(s.http, s.web) }

// service is the HTTP API with the service key.
func (s *server) service() *client.API {
	return s.api().WithToken(s.key)
}

// users makes accounts and returns their ids.
func (s *server) users(names ...string) []string {
	s.t.Helper()
	wanted := make([]client.NewUser, len(names))
	for i, name := range names {
		wanted[i] = client.NewUser{Username: name}
	}
	made, err := s.service().EnsureUsers(s.t.Context(), wanted)
	if err != nil {
		s.t.Fatal(err)
	}
	ids := make([]string, len(made))
	for i, user := range made {
		ids[i] = user.UserID
	}
	return ids
}

// tokens signs a device in.
func (s *server) tokens(userID, deviceID, platform string) client.Tokens {
	s.t.Helper()
	tokens, err := s.service().ServiceTokens(s.t.Context(), userID, deviceID, platform)
	if err != nil {
		s.t.Fatal(err)
	}
	return tokens
}
