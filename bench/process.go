package bench

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is the unit of CPU times in /proc, per second; fixed on Linux.
const clockTicks = 100

// process is the server under test, as far as it can be looked into: by its PIDs on
// this machine, one or, of a cluster, several, or by its metrics.
type process struct {
	pids    []int
	metrics string
}

func newProcess(pids []int, metrics string) *process { return &process{pids, metrics} }

// memory returns the resident memory in bytes, 0 when it is not known.
func (p *process) memory(ctx context.Context) int64 {
	if len(p.pids) == 0 && p.metrics != "" {
		return memoryFrom(ctx, p.metrics)
	}
	return p.resident()
}

// resident is memory as far as it is known without asking the server.
func (p *process) resident() (bytes int64) {
	for _, pid := range p.pids {
		bytes += memoryOf(fmt.Sprintf("/proc/%d/status", pid))
	}
	return bytes
}

func memoryOf(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	_, line, _ := strings.Cut(string(data), "\nVmRSS:")
	if fields := strings.Fields(line); len(fields) > 0 {
		kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
		return kilobytes << 10
	}
	return 0
}

func memoryFrom(ctx context.Context, url string) int64 {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			bytes, _ := strconv.ParseFloat(value, 64)
			return int64(bytes)
		}
	}
	return 0
}

// cpu returns the CPU time used so far, 0 when it is not known.
func (p *process) cpu() (used time.Duration) {
	for _, pid := range p.pids {
		used += cpuOf(pid)
	}
	return used
}

func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest) // from field 3 on; utime is 14, stime 15
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks
}

// ownCPU returns the CPU time that this process has used.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// IdleResult is what idle connections cost the server; zero where it is not known.
type IdleResult struct {
	Connections int     `json:"connections"`
	Before      int64   `json:"memory_before"` // bytes resident
	After       int64   `json:"memory_after"`
	Each        float64 `json:"bytes_per_connection"`
}

func newIdleResult(before, after int64, connections int) IdleResult {
	cost := IdleResult{Connections: connections, Before: before, After: after}
	if before > 0 && after > 0 && connections > 0 {
		cost.Each = float64(after-before) / float64(connections)
	}
	return cost
}
