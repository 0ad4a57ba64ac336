package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Etcd is an etcd of one member that shares nothing with others on this machine:
// ports, data and log are its own, and it listens on the loopback address only. One
// goroutine uses it.
type Etcd struct {
	dir    string
	port   int // of clients
	peers  int // of other members, of which there are none
	server *process
}

const (
	etcdReady = time.Minute      // bounds the wait for an etcd that starts
	etcdEnd   = 10 * time.Second // and for one that is told to stop
)

// HasEtcd reports whether an etcd is installed here.
func HasEtcd() bool {
	_, err := exec.LookPath("etcd")
	return err == nil
}

// StartEtcd starts an etcd with all its files in dir, on a port of 127.0.0.1, 0 for
// one that is free. It waits until etcd answers, at most a minute.
func StartEtcd(ctx context.Context, dir string, port int) (*Etcd, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		ports[0] = port
	}
	e := &Etcd{dir: dir, port: ports[0], peers: ports[1]}
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Start starts it on the data that it has, after Stop or Kill, and waits until it
// answers. One that runs is left alone; after an error nothing runs.
func (e *Etcd) Start(ctx context.Context) error {
	if e.server != nil {
		return nil
	}
	binary, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("find etcd: %w", err)
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("make etcd's folder: %w", err)
	}
	output := filepath.Join(e.dir, "etcd.log")
	if e.server, err = startProcess(exec.Command(binary, e.arguments()...), output); err != nil { //nolint:gosec // the etcd on PATH
		return fmt.Errorf("start etcd: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, etcdReady)
	defer cancel()
	if err := e.server.until(bounded, func() bool { return e.healthy(bounded) }); err != nil {
		e.Kill()
		return fmt.Errorf("start etcd, see %s: %w", output, err)
	}
	return nil
}

// arguments make a cluster of one. Its elections are with itself, so they may be
// quick; they are what bounds the shortest lease, to 1 s.
func (e *Etcd) arguments() []string {
	client, peer := e.URI(), etcdURL(e.peers)
	return []string{
		"--name=local", "--data-dir=" + filepath.Join(e.dir, "data"), "--logger=zap", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=local=" + peer,
		"--heartbeat-interval=50", "--election-timeout=500",
	}
}

// healthy reports whether etcd has a leader, which is when it serves.
func (e *Etcd) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URI()+"/health", nil)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	return err == nil && strings.Contains(string(text), `"true"`)
}

// URI returns the address for clients, as registry.uri wants it.
func (e *Etcd) URI() string { return etcdURL(e.port) }

// PID returns the id of its process, or 0 when it does not run.
func (e *Etcd) PID() int {
	if e.server == nil {
		return 0
	}
	return e.server.pid()
}

// Stop ends it; one that does not run is no error. The data stays.
func (e *Etcd) Stop() error {
	if e.server == nil {
		return nil
	}
	if err := e.Resume(); err != nil { // a paused one would not hear it
		return err
	}
	err := e.server.stop(etcdEnd)
	e.server = nil
	return err
}

// Kill ends it as kill -9 does.
func (e *Etcd) Kill() {
	if e.server != nil {
		e.server.kill()
		e.server = nil
	}
}

// Pause stops it in its tracks, as SIGSTOP does: connections stay open and nothing
// is answered until Resume.
func (e *Etcd) Pause() error { return e.signal(syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (e *Etcd) Resume() error { return e.signal(syscall.SIGCONT) }

func (e *Etcd) signal(signal os.Signal) error {
	if e.server == nil {
		return errors.New("etcd does not run")
	}
	if err := e.server.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to etcd: %w", signal, err)
	}
	return nil
}

func etcdURL(port int) string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
