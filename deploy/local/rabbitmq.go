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

// RabbitMQ is a node that shares nothing with other brokers on this machine: ports,
// node name, cookie, data and logs are its own, or those of the Brokers that it is
// one of, and it listens on the loopback address only. One goroutine uses it.
type RabbitMQ struct {
	service
	dir    string
	bin    string // where its programs are
	port   int    // AMQP
	epmd   int    // the port mapper's
	dist   int    // between Erlang nodes
	mapper *process
	peers  []string // node names of the Brokers, its own among them; nil: it stands alone
}

const (
	rabbitmqReady = 4 * time.Minute  // bounds the wait for a broker that starts
	rabbitmqEnd   = 30 * time.Second // and for one that is told to stop
)

// HasRabbitMQ reports whether a broker is installed here.
func HasRabbitMQ() bool {
	_, err := rabbitmqPrograms()
	return err == nil
}

// StartRabbitMQ starts a broker with all its files in dir, on a port of 127.0.0.1,
// 0 for one that is free. It waits until the broker takes connections, at most four
// minutes.
func StartRabbitMQ(ctx context.Context, dir string, port int) (*RabbitMQ, error) {
	bin, err := rabbitmqPrograms()
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		ports[0] = port
	}
	r := newRabbitMQ(bin, dir, ports[0], ports[1], ports[2])
	if err := r.writeConfig(); err != nil {
		return nil, fmt.Errorf("configure RabbitMQ: %w", err)
	}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func newRabbitMQ(bin, dir string, port, epmd, dist int) *RabbitMQ {
	return &RabbitMQ{
		service: service{name: "RabbitMQ", patience: rabbitmqEnd}, dir: dir, bin: bin, port: port, epmd: epmd, dist: dist,
	}
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
		"log.file.level = warning\nlog.console = false\n" + r.formation()
	for name, text := range map[string]string{"rabbitmq.conf": config, "env.conf": "", "plugins": "[].\n", "advanced.config": "[].\n"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// formation makes the nodes of Brokers find each other, spread the leaders of queues
// and pause where they see less than half of them, as an operator should have it.
func (r *RabbitMQ) formation() string {
	if r.peers == nil {
		return ""
	}
	text := "cluster_partition_handling = pause_minority\nqueue_leader_locator = balanced\ncluster_formation.peer_discovery_backend = classic_config\n"
	for i, peer := range r.peers {
		text += fmt.Sprintf("cluster_formation.classic_config.nodes.%d = %s\n", i+1, peer)
	}
	return text
}

// Node returns its name among Erlang nodes.
func (r *RabbitMQ) Node() string { return nodeName(r.port) }

func nodeName(port int) string { return fmt.Sprintf("im%d@localhost", port) }

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
	cmd.Env = append(r.environment(), "RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_START_ARGS="+r.emulator())
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

// emulator returns the arguments of the Erlang machine, which is to be reached from this
// machine only. One of several nodes gets one scheduler that does not spin: they share
// the cores.
func (r *RabbitMQ) emulator() string {
	arguments := "+B i -kernel inet_dist_use_interface {127,0,0,1}"
	if r.peers == nil {
		return arguments
	}
	return arguments + " +S 1:1 +sbwt none"
}

// startMapper starts the port mapper of a node that stands alone.
func (r *RabbitMQ) startMapper() (err error) {
	if r.mapper == nil && r.peers == nil {
		r.mapper, err = startMapper(r.epmd, filepath.Join(r.dir, "log", "epmd"))
	}
	return err
}

// startMapper starts a port mapper as a child of ours: the one that a node starts by
// itself outlives it.
func startMapper(port int, output string) (*process, error) {
	cmd := exec.Command("epmd", "-port", strconv.Itoa(port), "-address", "127.0.0.1") //nolint:gosec // numbers of ours
	mapper, err := startProcess(cmd, output)
	if err != nil {
		return nil, fmt.Errorf("start epmd: %w", err)
	}
	return mapper, nil
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
		"RABBITMQ_NODENAME="+r.Node(),
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

// MemoryAlarm makes the broker find that it has far too little memory, or no longer:
// it reads nothing more from connections that publish. It takes some seconds.
func (r *RabbitMQ) MemoryAlarm(ctx context.Context, on bool) error {
	watermark := []string{"0.4"} // its own default
	if on {
		watermark = []string{"absolute", "1MB"}
	}
	_, err := r.Control(ctx, append([]string{"set_vm_memory_high_watermark"}, watermark...)...)
	return err
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
