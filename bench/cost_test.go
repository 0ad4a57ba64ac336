package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fakeProcess is set for a test binary that is to be a fake server and nothing
// else, so that the generator's own CPU time can be told from the server's.
const fakeProcess = "IM_BENCH_FAKE_SERVER"

// serveFake runs a fake server until standard input ends.
func serveFake() {
	s := newFakeServer(none, 0)
	defer s.close()
	_, err := fmt.Fprintln(os.Stdout, s.http.URL)
	must(err)
	_, err = io.Copy(io.Discard, os.Stdin)
	must(err)
}

// startFake runs a fake server in a process of its own and returns its URL and PID.
func startFake(t testing.TB) (string, int) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), fakeProcess+"=1")
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), command.Process.Pid
}

// BenchmarkGenerator tells what a message costs the generator itself: one send, its
// ack, its echo and its delivery, recorded; the judgement is not in it.
func BenchmarkGenerator(b *testing.B) {
	for _, transport := range []string{TCP, WebSocket} {
		for _, form := range []string{Protobuf, JSON, Text} {
			if transport == TCP && form == Text {
				continue
			}
			b.Run(transport+"/"+form, func(b *testing.B) {
				url, pid := startFake(b)
				config := Config{
					Mode: Pairs, Server: url, ServiceKey: "key", Transport: transport, Form: form, PIDs: []int{pid},
					Messages: max(1, b.N/100), Duration: time.Hour,
				}
				report, err := Run(b.Context(), config, Progress{})
				if err != nil || !report.Verdict.OK() {
					b.Fatal(err, report)
				}
				b.ReportMetric(report.Generator.PerMessage, "cpu-us/msg")
				b.ReportMetric(report.ServerCost.PerMessage, "server-cpu-us/msg")
				b.ReportMetric(report.PerSecond.Acked, "msg/s")
				b.ReportMetric(report.Ack.P99, "ack-p99-ms")
			})
		}
	}
}

// BenchmarkOpenLoop tells what a message costs the generator where nothing can be
// batched: 1,000 a second over 100 senders.
func BenchmarkOpenLoop(b *testing.B) {
	url, pid := startFake(b)
	for b.Loop() {
		config := Config{Mode: Rate, Server: url, ServiceKey: "key", PIDs: []int{pid}, Duration: 3 * time.Second}
		report, err := Run(b.Context(), config, Progress{})
		if err != nil || !report.Verdict.OK() {
			b.Fatal(err, report)
		}
		b.ReportMetric(report.Generator.PerMessage, "cpu-us/msg")
		b.ReportMetric(report.Lag.P99*1000, "lag-p99-us")
		b.ReportMetric(report.Delivery.P99*1000, "delivery-p99-us")
	}
}
