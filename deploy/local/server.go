package local

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Roles are the servers that a cluster has, in the order in which they stop:
// clients are told to go elsewhere before the pipeline ends.
var Roles = []string{"http", "websocket", "tcp", "transfer"}

const (
	serverReady = mongoReady + time.Minute // bounds the wait for a server that starts: it waits for the engines
	serverEnd   = 20 * time.Second         // and for one that is told to stop; its own bound is 10 s
)

// Server is one of our servers as a process of its own. Over restarts it keeps its
// addresses. One goroutine uses it.
type Server struct {
	service
	Role   string
	Number int // of its role, from 1
	// Environment is variables ("NAME=value") besides its settings, of the processes
	// that are started from now on.
	Environment []string

	binary   string
	settings map[string]string
	proxy    string // through which it reaches transfers; empty: it does so directly
	front    string // where clients connect; empty: to itself
	disk     *Disk  // that its data are on; nil: that of the machine
	clock    string // file that says how wrong its clock is; empty: it can not be wrong
	output   *lines
}

// Name returns its role and number, as its log lines begin.
func (s *Server) Name() string { return s.name }

// Start starts it, after Stop or Kill, and waits until it is ready. One that runs
// is left alone; after an error nothing runs.
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(); err != nil {
		return err
	}
	if err := s.AwaitReady(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// Launch starts it and does not wait.
func (s *Server) Launch() error {
	if s.runs() {
		return nil
	}
	if err := os.MkdirAll(s.settings["data_dir"], 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", s.name, err)
	}
	line := []string{s.binary, s.Role}
	if s.disk != nil {
		line = s.disk.Enter(s.binary, s.Role)
	}
	cmd := exec.Command(line[0], line[1:]...) //nolint:gosec // the binary that the caller names
	cmd.Env = s.environment()
	cmd.Stdout, cmd.Stderr = s.output, s.output
	server, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	server.lastWords = s.output.lastWords
	s.server = server
	return nil
}

// AwaitReady waits, for a minute at most, until it says that it is ready.
func (s *Server) AwaitReady(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, serverReady)
	defer cancel()
	reason := "it does not answer"
	err := s.server.until(bounded, func() bool {
		status, text := ask(bounded, s.Admin()+"/readyz")
		if status != 0 {
			reason = strings.TrimSpace(text)
		}
		return status == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("start %s: %w (%s)", s.name, err, reason)
	}
	return nil
}

// Ready reports whether it says that it can serve.
func (s *Server) Ready(ctx context.Context) bool {
	status, _ := ask(ctx, s.Admin()+"/readyz")
	return status == http.StatusOK
}

// HasClock reports whether StepClock can be used.
func (s *Server) HasClock() bool { return s.clock != "" }

// StepClock moves its wall clock away from the machine's, or back with 0. It sees the
// step at once, and when it starts.
func (s *Server) StepClock(offset time.Duration) error {
	fresh := s.clock + ".new"
	if err := os.WriteFile(fresh, []byte(offset.String()), 0o600); err != nil {
		return fmt.Errorf("step the clock of %s: %w", s.name, err)
	}
	return os.Rename(fresh, s.clock) // it reads all of it or the former one
}

// Address returns the host and port that it serves on.
func (s *Server) Address() string { return s.settings[s.Role+".listen"] }

// Admin returns the address of its operators' listener, as a URL.
func (s *Server) Admin() string { return "http://" + s.settings["admin.listen"] }

// URL returns where clients, or for a transfer other servers, find it.
func (s *Server) URL() string {
	address := cmp.Or(s.front, s.Address())
	switch s.Role {
	case "http":
		return "http://" + address
	case "websocket":
		return "ws://" + address + "/ws"
	}
	return "tcp://" + address
}

// environment says all settings as variables: two of them hold passwords, which may
// not be seen in the list of processes. Settings of whoever runs the cluster are not
// those of its servers.
func (s *Server) environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "IM_") {
			env = append(env, entry)
		}
	}
	for setting, value := range s.settings {
		env = append(env, "IM_"+strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))+"="+value)
	}
	if s.clock != "" {
		env = append(env, "IM_CLOCK_FILE="+s.clock)
	}
	if s.proxy != "" {
		env = append(env, "HTTPS_PROXY="+s.proxy) // gRPC heeds it; etcd's client has a dialer of its own
	}
	return append(env, s.Environment...)
}

// newServer plans a server of the cluster; it does not start.
func (c *Cluster) newServer(role string, number int) (*Server, error) {
	name := role + "-" + strconv.Itoa(number)
	ports, err := c.plan.ports(name, name+" admin")
	if err != nil {
		return nil, err
	}
	settings := map[string]string{
		"data_dir":       filepath.Join(c.Dir, name),
		role + ".listen": loopback(ports[0]),
		"admin.listen":   loopback(ports[1]),
	}
	if role == "websocket" { // pages come from the http servers there are
		var pages []string
		for _, server := range c.Role("http") {
			pages = append(pages, server.URL())
		}
		settings["websocket.origins"] = strings.Join(pages, ",")
	}
	maps.Copy(settings, c.settings)
	server := &Server{
		service: service{name: name, patience: serverEnd}, Role: role, Number: number, binary: c.options.Binary, settings: settings,
		output: &lines{out: c.output, prefix: fmt.Sprintf("%-12s| ", name)},
	}
	if c.options.Clocks {
		server.clock = filepath.Join(c.Dir, name+".clock")
	}
	if c.network != nil {
		err = c.joinNetwork(server)
	}
	return server, err
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
