package breaks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/check/workload"
)

// patience bounds a court's session, the compiler's time included.
const patience = 9 * time.Minute

// bench is im check: the real server as a process of its own, devices that talk over
// it, the judge.
type bench struct {
	kills bool // kill -9 every second or so
	kinds []check.Kind
}

func (c bench) String() string {
	if c.kills {
		return "im check, kill -9"
	}
	return "im check"
}

func (c bench) wants() (kinds []string) {
	for _, kind := range c.kinds {
		kinds = append(kinds, string(kind))
	}
	return kinds
}

func (c bench) try(t *testing.T, overlay string) string {
	t.Helper()
	dir := t.TempDir()
	binary, result := filepath.Join(dir, "im"), filepath.Join(dir, "report.json")
	if out, err := command(t, "go", "build", "-overlay", overlay, "-o", binary, "./cmd/im").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	args := []string{
		"check", "--local", "embedded", "--users", "6", "--devices", "2", "--rate", "250", "--duration", "4s", "--mishaps", "1s",
		"--patience", "4s", "--seed", "1", "--json", result,
	}
	if c.kills {
		args = append(args, "--faults", "kill", "--faults-every", "1200ms", "--duration", "6s")
	}
	run := command(t, binary, args...)
	run.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := run.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(result)
	if err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	var report workload.Report
	must(t, json.Unmarshal(text, &report))
	t.Logf("%d sent, %d acknowledged, %d times killed, undecided: %q, violations: %v",
		report.Verdict.Sent, report.Verdict.Acknowledged, len(report.Faults), report.Undecided, report.Verdict.Totals)
	if broken := len(report.Verdict.Totals) > 0; broken != (run.ProcessState.ExitCode() == 1) {
		t.Errorf("exit status %d", run.ProcessState.ExitCode())
	}
	var kinds []string
	for _, kind := range report.Verdict.Kinds() {
		kinds = append(kinds, string(kind))
	}
	return strings.Join(kinds, ", ")
}

// story is a test of ours that is to fail. Those of ./test run the real server.
type story struct {
	folder, test string
	flags        []string
	says         []string // any of them, in its output
}

func (c story) String() string { return "`" + c.test + "`" }

func (c story) wants() []string { return c.says }

func (c story) try(t *testing.T, overlay string) string {
	t.Helper()
	args := append([]string{"test", "-count=1", "-run", "^" + c.test + "$", c.folder}, c.flags...)
	tests := command(t, "go", args...)
	tests.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay) // also for what the test builds
	out, err := tests.CombinedOutput()
	switch {
	case err == nil:
		return ""
	case bytes.Contains(out, []byte("[build failed]")), !bytes.Contains(out, []byte("--- FAIL: "+c.test)):
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// model is the argument's test in transfer, which draws what happens. It has to find one
// of these promises broken.
func model(test string, promises ...string) story {
	var says []string
	for _, promise := range promises {
		says = append(says, "tests: "+promise, "("+promise+")")
	}
	return story{
		folder: "./transfer", test: test, says: says,
		flags: []string{"-args", "-rapid.checks=3000", "-rapid.nofailfile", "-rapid.shrinktime=5s"},
	}
}

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.WaitDelay = root, 5*time.Second
	return c
}
