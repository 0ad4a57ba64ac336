package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// result is what the cluster did.
type result struct {
	acknowledged float64 // messages per second
	deliveredP50 float64 // milliseconds
	deliveredP99 float64
	violations   int
	cpu          []usage
	profiles     []string
}

// usage is what a process used of the machine while it was measured.
type usage struct {
	name  string
	cores float64
}

// underLoad runs `im bench pairs` and looks at every process meanwhile.
func underLoad(ctx context.Context, c *local.Cluster, o options) (*result, error) {
	bench := exec.CommandContext(ctx, o.binary, "bench", "pairs", "--server", c.Server("http", 1).URL(), "--service-key", c.ServiceKey, //nolint:gosec // ours
		"--transport", "mixed", "--pairs", strconv.Itoa(o.pairs), "--window", strconv.Itoa(o.window), "--warmup", o.warmup.String(),
		"--duration", o.measured.String(), "--json", "-")
	var report bytes.Buffer
	begun := make(chan struct{})
	bench.Stdout, bench.Stderr = &report, &starting{begun: begun}
	if err := bench.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- bench.Wait() }()
	r := &result{}
	select {
	case err := <-ended:
		return nil, fmt.Errorf("im bench ended before its load: %w", err)
	case <-begun:
	}
	if err := r.observe(ctx, c, o, bench.Process.Pid); err != nil {
		return nil, err
	}
	if err := <-ended; err != nil && report.Len() == 0 { // a verdict that is not clean ends it with an error too
		return nil, fmt.Errorf("im bench: %w", err)
	}
	return r, r.read(report.Bytes())
}

// starting closes begun when the load begins, which is when progress has its first
// line of figures.
type starting struct {
	begun chan struct{}
	once  sync.Once
}

func (s *starting) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("acked")) {
		s.once.Do(func() { close(s.begun) })
	}
	return os.Stderr.Write(text)
}

// observe takes the profiles of the transfers and everybody's CPU time over half of
// the measured time.
func (r *result) observe(ctx context.Context, c *local.Cluster, o options, generator int) error {
	timer := time.NewTimer(o.warmup + o.measured/4)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	pids := []struct {
		name string
		pid  int
	}{{"im bench", generator}, {"RabbitMQ", c.RabbitMQ.PID()}, {"MongoDB", c.Mongo.PID()}, {"etcd", c.Etcd.PID()}}
	for _, server := range c.Servers {
		pids = append(pids, struct {
			name string
			pid  int
		}{server.Name(), server.PID()})
	}
	before, began := make([]time.Duration, len(pids)), time.Now()
	for i, p := range pids {
		before[i] = cpuTime(p.pid)
	}
	if err := r.profile(ctx, c, o); err != nil {
		return err
	}
	took := time.Since(began)
	for i, p := range pids {
		r.cpu = append(r.cpu, usage{p.name, float64(cpuTime(p.pid)-before[i]) / float64(took)})
	}
	return nil
}

// profile takes the transfers' CPU profiles at the same time.
func (r *result) profile(ctx context.Context, c *local.Cluster, o options) error {
	seconds := max(1, int(o.measured.Seconds()/2))
	errs := make(chan error)
	transfers := c.Role("transfer")
	for _, server := range transfers {
		file := filepath.Join(o.profiles, server.Name()+".prof")
		r.profiles = append(r.profiles, file)
		go func() {
			errs <- save(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", server.Admin(), seconds), file)
		}()
	}
	var first error
	for range transfers {
		if err := <-errs; err != nil && first == nil {
			first = fmt.Errorf("profile a transfer: %w", err)
		}
	}
	return first
}

func save(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// cpuTime returns the CPU time that a process has used, 0 when that is not known.
func cpuTime(pid int) time.Duration {
	const tick = 10 * time.Millisecond // fixed on Linux
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11]) // the kernel writes numbers
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// read takes the figures from a report of im bench.
func (r *result) read(report []byte) error {
	var figures struct {
		PerSecond struct {
			Acknowledged float64 `json:"acknowledged"`
		} `json:"per_second"`
		Delivery struct {
			P50 float64 `json:"p50_ms"`
			P99 float64 `json:"p99_ms"`
		} `json:"delivery"`
		Verdict struct {
			Totals map[string]int `json:"totals"`
		} `json:"verdict"`
	}
	if err := json.NewDecoder(bytes.NewReader(report)).Decode(&figures); err != nil {
		return fmt.Errorf("read the report of im bench: %w", err)
	}
	r.acknowledged, r.deliveredP50, r.deliveredP99 = figures.PerSecond.Acknowledged, figures.Delivery.P50, figures.Delivery.P99
	for _, n := range figures.Verdict.Totals {
		r.violations += n
	}
	return nil
}
