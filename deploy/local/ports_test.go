package local

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A port is given to one program only, also before anything listens on it.
func TestPortsAreGivenOnce(t *testing.T) {
	var mu sync.Mutex
	given := map[int]bool{}
	var choosing sync.WaitGroup
	for range 4 {
		choosing.Go(func() {
			for range 10 {
				ports, err := FreePorts(25)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, port := range ports {
					if given[port] {
						t.Errorf("port %d was given twice", port)
					}
					given[port] = true
				}
				mu.Unlock()
			}
		})
	}
	choosing.Wait()
}

// Whoever never used a port does not keep it for ever.
func TestAnOldClaimEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "20000")
	for i, want := range []bool{true, false} {
		if ours, err := claim(file); err != nil || ours != want {
			t.Fatalf("claim %d: %v, %v", i, ours, err)
		}
	}
	long := time.Now().Add(-2 * claimed)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	if ours, err := claim(file); err != nil || !ours {
		t.Fatalf("an old claim did not end: %v, %v", ours, err)
	}
	if ours, err := claim(file); err != nil || ours {
		t.Fatalf("a claim that was taken over is not one: %v, %v", ours, err)
	}
}

// Who waits for a server that ends is told what it said last.
func TestTheLastWordsOfAServer(t *testing.T) {
	out := &lines{out: &output{to: new(strings.Builder)}}
	cmd := exec.Command("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; exit 3")
	cmd.Stdout = out
	p, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p.lastWords = out.lastWords
	err = p.until(t.Context(), func() bool { return false })
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 3 {
		t.Errorf("how it ended is not said: %v", err)
	}
	if !strings.Contains(err.Error(), "line 3\n") || !strings.Contains(err.Error(), "line 10") || strings.Contains(err.Error(), "line 2\n") {
		t.Errorf("not its last lines: %v", err)
	}
}
