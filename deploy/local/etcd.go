package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Etcd is an etcd of one member that shares nothing with others on this machine:
// ports, data and log are its own, and it listens on the loopback address only. One
// goroutine uses it.
type Etcd struct {
	service
	dir   string
	port  int // of clients
	peers int // of other members, of which there are none
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
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		ports[0] = port
	}
	e := &Etcd{service: service{name: "etcd", patience: etcdEnd}, dir: dir, port: ports[0], peers: ports[1]}
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Start starts it on the data that it has, after Stop or Kill, and waits until it
// answers. One that runs is left alone; after an error nothing runs.
func (e *Etcd) Start(ctx context.Context) error {
	if e.runs() {
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
	text, ok := health(ctx, e.URI())
	return ok && strings.Contains(text, `"true"`)
}

// URI returns the address for clients, as registry.uri wants it.
func (e *Etcd) URI() string { return etcdURL(e.port) }

func etcdURL(port int) string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
