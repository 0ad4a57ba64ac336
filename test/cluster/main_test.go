// Package cluster holds the stories that need a whole cluster of processes on real
// engines: what its servers do for each other, and what users see while one part
// after the other is killed, paused and cut off. Load comes from package bench
// through the gateway API, as clients would put it on; package check judges it.
package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// What is due to come back after a fault does so within the longer of the two times
// after which a silent server is taken for dead, and something for the work itself.
// An operator has them longer; here they are short so that the stories are.
const (
	leaseTTL  = 5 * time.Second
	heartbeat = 2 * time.Second
	recovery  = max(leaseTTL, heartbeat) + 5*time.Second
)

// patience bounds every wait of the stories. It is long because machines are busy;
// nothing waits for it to pass.
const patience = time.Minute

// cluster is the one of this test binary, with links between its parts, and its log.
type cluster struct {
	*local.Cluster
	log string // file
}

// starter starts a cluster once. A story leaves it whole.
type starter struct {
	once    sync.Once
	dir     string
	cluster *cluster
	err     error
}

var shared starter

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the cluster:", err)
		code = 1
	}
	os.Exit(code)
}

// givenACluster returns the cluster of all stories, with every server running.
func givenACluster(t *testing.T) *cluster {
	t.Helper()
	return shared.given(t)
}

func (s *starter) given(t *testing.T) *cluster {
	t.Helper()
	if missing := local.HasEngines(); missing != nil {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skipf("%v (IM_TEST_REQUIRE=all makes this a failure)", missing)
	}
	s.once.Do(s.start)
	if s.err != nil {
		t.Fatal(s.err)
	}
	c := s.cluster
	from := c.logged()
	t.Cleanup(func() {
		text := c.logSince(from)
		if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic: ") {
			t.Error("a server has raced or panicked")
		}
		if t.Failed() {
			t.Logf("the servers' log:\n%s", text[max(0, len(text)-20000):])
		}
	})
	return c
}

func (s *starter) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if s.dir, s.err = os.MkdirTemp("", "im-cluster-test-"); s.err != nil {
		return
	}
	binary := filepath.Join(s.dir, "im")
	if s.err = build(ctx, binary); s.err != nil {
		return
	}
	c := &cluster{log: filepath.Join(s.dir, "servers.log")}
	if c.Cluster, s.err = local.StartEngines(ctx, local.Options{Dir: s.dir, Binary: binary, Links: true, Settings: map[string]string{
		"registry.ttl": leaseTTL.String(), "queue.heartbeat": heartbeat.String(),
	}}); s.err != nil {
		return
	}
	s.cluster = c
	if s.err = c.StartServers(ctx, nil); s.err != nil {
		s.err = fmt.Errorf("%w; the servers' log:\n%s", s.err, c.logSince(0))
	}
}

// build makes the servers. IM_TEST_RACE=1 gives them the race detector, with which a
// machine must be fast, and left alone, for them to recover in time.
func build(ctx context.Context, binary string) error {
	arguments := []string{"build", "-o", binary}
	if os.Getenv("IM_TEST_RACE") == "1" {
		arguments = append(arguments, "-race")
	}
	output, err := exec.CommandContext(ctx, "go", append(arguments, "../../cmd/im")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build im: %w: %s", err, output)
	}
	return nil
}

func (s *starter) stop() error {
	if s.cluster != nil {
		if err := s.cluster.Stop(); err != nil {
			return err
		}
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// logged returns how long the servers' log is.
func (c *cluster) logged() int64 {
	info, err := os.Stat(c.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (c *cluster) logSince(from int64) string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(text[min(from, int64(len(text))):])
}
