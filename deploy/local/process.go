// Package local starts the real services that a cluster needs, on this machine and
// for this process only: each on ports, data folders and names of its own, so that
// it disturbs no other, and stopped by its own process id.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a program that we started. Its end is always collected.
type process struct {
	cmd       *exec.Cmd
	lastWords func() string // what it wrote last, once it has ended
	done      chan struct{} // closed when it has ended
	err       error         // set before done is closed
}

// startProcess starts a program whose output is appended to a file.
func startProcess(cmd *exec.Cmd, output string) (*process, error) {
	file, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own descriptor
	cmd.Stdout, cmd.Stderr = file, file
	p, err := launch(cmd)
	p.lastWords = func() string { return endOf(output) }
	return p, err
}

// launch starts a program that ends when this process does, however that ends. What
// the system watches for this is the thread that started the program, so that one
// waits for its end.
func launch(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = endingWithUs(syscall.SIGKILL)
	}
	p := &process{cmd: cmd, lastWords: func() string { return "" }, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			defer close(p.done)
			p.err = cmd.Wait()
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// until asks again every 100 ms until something is so, the context ends or the
// program does.
func (p *process) until(ctx context.Context, so func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-p.done:
			return errors.Join(errors.New("it ended too early: …"+p.lastWords()), p.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// endOf returns the end of a file, as far as it can be read.
func endOf(file string) string {
	const most = 2000
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// kill ends the program at once and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// stop asks the program to end, and makes it after a time.
func (p *process) stop(patience time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		p.kill()
		return fmt.Errorf("process %d did not end within %s and was killed", p.pid(), patience)
	}
}
