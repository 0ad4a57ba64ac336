package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RabbitMQ is a broker of one node that shares nothing with others on this
// machine: ports, node name, cookie, data and logs are its own, and it listens on
// the loopback address only. One goroutine uses it.
type RabbitMQ struct {
	service
	dir    string
	bin    string // where its programs are
	port   int    // AMQP
	epmd   int    // the port mapper's
	dist   int    // between Erlang nodes
	mapper *process
}

const (
	rabbitmqReady = 2 * time.Minute  // bounds the wait for a broker that starts
	rabbitmqEnd   = 30 * time.Second // and for one that is told to stop
)

// HasRabbitMQ reports whether a broker is installed here.
func HasRabbitMQ() bool {
	_, err := rabbitmqPrograms()
	return err == nil
}

// StartRabbitMQ starts a broker with all its files in dir, on a port of 127.0.0.1,
// 0 for one that is free. It waits until the broker takes connections, at most two
// minutes.
func StartRabbitMQ(ctx context.Context, dir string, port int) (*RabbitMQ, error) {
	bin, err := rabbitmqPrograms()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		ports[0] = port
	}
	r := &RabbitMQ{
		service: service{name: "RabbitMQ", patience: rabbitmqEnd}, dir: dir, bin: bin, port: ports[0], epmd: ports[1], dist: ports[2],
	}
	if err := r.writeConfig(); err != nil {
		return nil, fmt.Errorf("configure RabbitMQ: %w", err)
	}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// rabbitmqPrograms returns the folder of the broker's own scripts. Debian puts
// wrappers in the path that switch to another user.
func rabbitmqPrograms() (string, error) {
	const debian = "/usr/lib/rabbitmq/bin"
	if _, err := exec.LookPath("epmd"); err != nil {
		return "", fmt.Errorf("find RabbitMQ: %w", err)
	}
	if _, err := os.Stat(filepath.Join(debian, "rabbitmq-server")); err == nil {
		return debian, nil
	}
	path, err := exec.LookPath("rabbitmq-server")
	if err != nil {
		return "", fmt.Errorf("find RabbitMQ: %w", err)
	}
	return filepath.Dir(path), nil
}

// writeConfig keeps the broker small: the log of its queues is 512 MB by default,
// and it refuses publishers on a disk that is nearly full.
func (r *RabbitMQ) writeConfig() error {
	for _, folder := range []string{"data", "log"} {
		if err := os.MkdirAll(filepath.Join(r.dir, folder), 0o700); err != nil {
			return err
		}
	}
	config := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\n", r.port) +
		"disk_free_limit.absolute = 64MB\n" +
		"raft.wal_max_size_bytes = 33554432\n" +
		"log.file.level = warning\nlog.console = false\n"
	for name, text := range map[string]string{"rabbitmq.conf": config, "env.conf": "", "plugins": "[].\n", "advanced.config": "[].\n"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// URI is where clients connect.
func (r *RabbitMQ) URI() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", r.port) }

// Start starts a broker that was stopped or killed, on the same data, and waits
// until it takes connections. One that runs is left as it is.
func (r *RabbitMQ) Start(ctx context.Context) error {
	if r.runs() {
		return nil
	}
	if err := r.startMapper(); err != nil {
		return err
	}
	// The script becomes the broker itself, so its pid is the broker's; by itself it
	// would stay in between.
	cmd := exec.Command(filepath.Join(r.bin, "rabbitmq-server"), "-noinput") //nolint:gosec // a program of the system
	cmd.Env = append(r.environment(), "RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_START_ARGS=+B i")
	server, err := startProcess(cmd, filepath.Join(r.dir, "log", "output"))
	if err != nil {
		return fmt.Errorf("start RabbitMQ: %w", err)
	}
	r.server = server
	ctx, cancel := context.WithTimeout(ctx, rabbitmqReady)
	defer cancel()
	if err := server.until(ctx, func() bool { return speaksAMQP(r.port) }); err != nil {
		return fmt.Errorf("wait for RabbitMQ (its log is in %s): %w", filepath.Join(r.dir, "log"), err)
	}
	return nil
}

// startMapper starts the port mapper as a child of ours: the one that a node starts
// by itself outlives it.
func (r *RabbitMQ) startMapper() error {
	if r.mapper != nil {
		return nil
	}
	cmd := exec.Command("epmd", "-port", strconv.Itoa(r.epmd), "-address", "127.0.0.1") //nolint:gosec // numbers of ours
	mapper, err := startProcess(cmd, filepath.Join(r.dir, "log", "epmd"))
	if err != nil {
		return fmt.Errorf("start epmd: %w", err)
	}
	r.mapper = mapper
	return nil
}

// environment makes broker and rabbitmqctl know nothing of others.
func (r *RabbitMQ) environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "RABBITMQ_") && !strings.HasPrefix(entry, "ERL_") && !strings.HasPrefix(entry, "HOME=") {
			env = append(env, entry)
		}
	}
	in := func(name string) string { return filepath.Join(r.dir, name) }
	return append(env,
		"HOME="+r.dir, // where the cookie is
		"ERL_EPMD_PORT="+strconv.Itoa(r.epmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME="+fmt.Sprintf("im%d@localhost", r.port),
		"RABBITMQ_NODE_PORT="+strconv.Itoa(r.port),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(r.dist),
		"RABBITMQ_CONF_ENV_FILE="+in("env.conf"),
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("plugins"),
		"RABBITMQ_MNESIA_BASE="+in("data"),
		"RABBITMQ_LOG_BASE="+in("log"),
		"RABBITMQ_PID_FILE="+in("pid"),
	)
}

// Control runs rabbitmqctl against the broker and returns what it prints. It takes
// some seconds.
func (r *RabbitMQ) Control(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.bin, "rabbitmqctl"), append([]string{"--quiet"}, arguments...)...) //nolint:gosec // a program of the system
	cmd.Env = r.environment()
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}

// Stop ends the broker in order, or after 30 s by force, and its port mapper. A
// second call does nothing.
func (r *RabbitMQ) Stop() error {
	err := r.service.Stop()
	if r.mapper != nil {
		r.mapper.kill()
		r.mapper = nil
	}
	return err
}

// speaksAMQP asks for a connection; a broker that has started offers one.
func speaksAMQP(port int) bool {
	const patience = 5 * time.Second
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), patience)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return false
	}
	var frame [1]byte
	_, err = io.ReadFull(conn, frame[:])
	return err == nil && frame[0] == 1
}
