// Package test holds the stories that need a whole server: everything here goes
// through public surfaces, over real sockets. Where a story needs a server that can
// be killed, it runs im itself.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// built is im as the processes of these stories run it.
var built struct {
	once   sync.Once
	dir    string
	binary string
	err    error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove what was built:", err)
			status = max(status, 1)
		}
		os.Exit(status)
	}))
}

// program returns im, built with the tag fault, so that it can be told to die, and
// with the race detector where this test has it.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "im-test-"); built.err != nil { //nolint:usetesting // it outlives this test
			return
		}
		built.binary = filepath.Join(built.dir, "im")
		arguments := []string{"build", "-tags", "fault", "-o", built.binary}
		if hasRaceDetector() {
			arguments = append(arguments, "-race")
		}
		if output, err := exec.Command("go", append(arguments, "../cmd/im")...).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build im: %w: %s", err, output)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.binary
}

func hasRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
