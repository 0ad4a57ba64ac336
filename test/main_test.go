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

// program is im as the processes of these stories run it: with the tag fault, so that
// it can be told to die. It is built once.
type program struct {
	race bool
	once sync.Once
	dir  string
	err  error
}

var (
	plain = program{}
	racy  = program{race: true}
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		for _, p := range []*program{&plain, &racy} {
			if err := os.RemoveAll(p.dir); err != nil {
				fmt.Fprintln(os.Stderr, "remove what was built:", err)
				status = max(status, 1)
			}
		}
		os.Exit(status)
	}))
}

// serverProgram is im for a server of all roles: with the race detector where this test has it.
func serverProgram(t *testing.T) string {
	t.Helper()
	if hasRaceDetector() {
		return racy.path(t)
	}
	return plain.path(t)
}

// clusterProgram is im for many servers at once: with the race detector where
// IM_TEST_RACE=1 asks for it, for it makes them three times as heavy.
func clusterProgram(t *testing.T) string {
	t.Helper()
	if os.Getenv("IM_TEST_RACE") == "1" {
		return racy.path(t)
	}
	return plain.path(t)
}

func (p *program) path(t *testing.T) string {
	t.Helper()
	p.once.Do(func() { p.err = p.build() })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return filepath.Join(p.dir, "im")
}

func (p *program) build() (err error) {
	if p.dir, err = os.MkdirTemp("", "im-test-"); err != nil {
		return err
	}
	arguments := []string{"build", "-tags", "fault", "-o", filepath.Join(p.dir, "im")}
	if p.race {
		arguments = append(arguments, "-race")
	}
	if output, err := exec.Command("go", append(arguments, "../cmd/im")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build im: %w: %s", err, output)
	}
	return nil
}

func hasRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
