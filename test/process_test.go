package test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// process is a running server process. One goroutine waits for its end.
type process struct {
	t        *testing.T
	command  *exec.Cmd
	lifeline io.Closer // closed, or with this process gone, the server stops
	ended    chan struct{}
	err      error // of Wait; valid once ended
}

// startProcess starts a server as a process, on ports that stay the same over
// restarts.
func startProcess(t *testing.T, settings map[string]string, crash string) *server {
	t.Helper()
	s := newServer(t, settings)
	ports := freePorts(t, 4)
	for i, name := range []string{"http.listen", "websocket.listen", "tcp.listen", "admin.listen"} {
		s.settings[name] = ports[i]
	}
	s.at(ports[0], ports[1], ports[2])
	t.Cleanup(s.kill)
	s.startProcess(crash)
	return s
}

func (s *server) startProcess(crash string) {
	s.t.Helper()
	order, err := json.Marshal(processOrder{Settings: s.settings, Crash: crash})
	if err != nil {
		s.t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), processVariable+"="+string(order))
	command.Stdout, command.Stderr = s.log, s.log
	lifeline, err := command.StdinPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{t: s.t, command: command, lifeline: lifeline, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = command.Wait()
	}()
	s.process = p
	s.began++
	if err := ready(s.settings["admin.listen"], p.ended); err != nil {
		s.t.Fatal(err)
	}
}

// kill is kill -9, which the server does not notice. It returns once the process
// is gone.
func (s *server) kill() {
	s.web.CloseIdleConnections()
	if s.process == nil {
		return
	}
	s.process.command.Process.Kill() //nolint:errcheck // it may have died
	s.process.wait()
	s.process = nil
}

// crashed waits until the server has died by itself, by SIGKILL.
func (s *server) crashed() {
	s.t.Helper()
	s.process.wait()
	var exit *exec.ExitError
	if !errors.As(s.process.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.t.Fatalf("the server ended with %v, not at its crash point", s.process.err)
	}
	s.process = nil
}

// terminate is SIGTERM; the server must end by itself, without an error.
func (p *process) terminate() {
	p.t.Helper()
	p.command.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have died
	p.wait()
	if p.err != nil {
		p.t.Errorf("the server stopped with %v", p.err)
	}
}

func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.command.Process.Kill() //nolint:errcheck // it may have died
		<-p.ended
		p.t.Errorf("the server did not end")
	}
	p.lifeline.Close()
}
