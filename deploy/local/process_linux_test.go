package local

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentVariable makes the test binary a process that starts a program, says its
// id, and then does nothing until it is killed.
const parentVariable = "IM_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) == "" {
		m.Run()
		return
	}
	p, err := launch(exec.Command("sleep", "1000"))
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, p.pid())
	<-p.done
}

// What was started ends with whoever started it, also where that is killed, and
// also where it is paused itself.
func TestNothingOutlivesAKillNine(t *testing.T) {
	for _, paused := range []bool{false, true} {
		parent := exec.Command(os.Args[0])
		parent.Env = append(os.Environ(), parentVariable+"=1")
		output, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(output).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		child, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || !runs(child) {
			t.Fatalf("the child is process %q", line)
		}
		if paused {
			if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		parent.Wait() //nolint:errcheck // it was killed
		gone(t, child)
	}
}

// runs reports whether a process is there and more than a memory of its parent's.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func gone(t *testing.T, pid int) {
	t.Helper()
	late := time.After(10 * time.Second)
	for every := time.NewTicker(10 * time.Millisecond); runs(pid); {
		select {
		case <-every.C:
		case <-late:
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // the test has failed
			t.Fatalf("process %d outlived whoever started it", pid)
		}
	}
}
