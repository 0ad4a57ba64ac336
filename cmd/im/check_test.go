package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	judge "github.com/im-transfer/im/check"
	"github.com/im-transfer/im/check/faults"
	"github.com/im-transfer/im/check/workload"
)

// TestMain makes the test binary the server that im check --local embedded starts: it
// starts itself again, as im all.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "all" {
		main()
		return
	}
	os.Exit(m.Run())
}

func check(t *testing.T, args ...string) error {
	t.Helper()
	command := newCheckCommand()
	command.SetOut(t.Output())
	command.SetErr(t.Output())
	command.SilenceUsage, command.SilenceErrors = true, true
	command.SetArgs(args)
	return command.ExecuteContext(t.Context())
}

// The server is killed again and again, and keeps its promises.
func TestCheckKillsItsOwnServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page, figures := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.json")
	err := check(t, "--local", "embedded", "--faults", "kill", "--faults-every", "2500ms", "--duration", "25s", "--users", "6", "--rate", "60", "--seed", "1",
		"--html", page, "--json", figures)
	if err != nil {
		t.Fatal(err)
	}
	var report workload.Report
	text, err := os.ReadFile(figures)
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Faults) < 3 || report.Disconnects["connection lost"] == 0 {
		t.Errorf("nothing was killed: %+v, %v", report.Faults, report.Disconnects)
	}
	if report.Verdict.Sent < 1000 || report.Verdict.Acknowledged != report.Verdict.Sent {
		t.Errorf("%d of %d messages acknowledged", report.Verdict.Acknowledged, report.Verdict.Sent)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "every promise kept") {
		t.Errorf("the page: %v\n%s", err, html)
	}
}

// A restart is the server's alone: what it runs on, its log among that, stays.
func TestARestartIsTheServersAlone(t *testing.T) {
	t.Parallel()
	system, err := startLocal(t.Context(), t.Output(), checkOptions{
		local: "embedded", brokers: 1, faults: faultOptions{kinds: []string{faults.Restart}, every: time.Second, lanes: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := system.end(t.Output(), nil); err != nil {
			t.Error(err)
		}
	}()
	mend, err := system.faults[0].Do(t.Context())
	if err == nil {
		err = mend(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(system.dir, "servers.log"))
	if starts := strings.Count(string(log), "http server listens"); err != nil || starts != 2 {
		t.Errorf("the log tells of %d starts: %v\n%s", starts, err, log)
	}
}

// The plan of a seed is always the same, and nothing is done.
func TestThePlanOfASeed(t *testing.T) {
	t.Parallel()
	plan := func(seed string) string {
		var out strings.Builder
		command := newCheckCommand()
		command.SetOut(&out)
		command.SetErr(t.Output())
		command.SetArgs([]string{"--local", "embedded", "--faults", "all", "--plan", "--duration", "1m", "--seed", seed})
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	one := plan("1")
	if again := plan("1"); one != again || !strings.Contains(one, "kill") || strings.Count(one, "\n") < 10 {
		t.Errorf("two plans of one seed:\n%s\n%s", one, again)
	}
	if one == plan("2") {
		t.Error("another seed, the same plan")
	}
}

func TestTheExitStatusIsTheVerdict(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for name, args := range map[string][]string{
		"nobody there":          {"--server", "http://127.0.0.1:1", "--service-key", "key"},
		"no key":                {"--data-dir", empty},
		"an unknown flag":       {"--everything"},
		"an argument":           {"everything"},
		"an unknown system":     {"--local", "moon"},
		"nothing to harm":       {"--faults", "all"},
		"a plan of nothing":     {"--local", "embedded", "--plan"},
		"no time between":       {"--local", "embedded", "--faults", "all", "--faults-every", "0s"},
		"no lane":               {"--local", "embedded", "--faults", "all", "--fault-lanes", "0"},
		"two brokers":           {"--local", "cluster", "--brokers", "2"},
		"brokers of nothing":    {"--local", "embedded", "--brokers", "3"},
		"an unknown fault":      {"--local", "embedded", "--faults", "kill,flood"},
		"a time below zero":     {"--server", "http://127.0.0.1:1", "--service-key", "key", "--duration", "-1s"},
		"more devices than six": {"--server", "http://127.0.0.1:1", "--service-key", "key", "--devices", "7"},
	} {
		if err := check(t, args...); err == nil || exitStatus(err) != exitUndecided {
			t.Errorf("%s: %v, exit status %d", name, err, exitStatus(err))
		}
	}
	broken := &workload.Report{}
	broken.Verdict.Totals = map[judge.Kind]int{"loss": 1}
	for want, report := range map[int]*workload.Report{
		0: {}, 1: broken, 2: {Undecided: []string{"why"}},
	} {
		err := outcomeError(report)
		if (err == nil) != (want == 0) || want > 0 && exitStatus(err) != want {
			t.Errorf("%s: %v, want exit status %d", report.Outcome(), err, want)
		}
	}
	if got := exitStatus(errors.Join(exitError{io.EOF, 1}, undecided(io.EOF))); got != 1 {
		t.Errorf("exit status %d of a broken promise and a system that would not stop", got)
	}
}
