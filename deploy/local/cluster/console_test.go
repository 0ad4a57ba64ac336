package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// fake is a part whose process has an id of its own each time.
type fake struct {
	pid     int
	process chan struct{}
	refuses error
}

func (f *fake) Start(context.Context) error {
	if f.process == nil && f.refuses == nil {
		f.pid++
		f.process = make(chan struct{})
	}
	return f.refuses
}

func (f *fake) Stop() error { f.Kill(); return nil }
func (f *fake) PID() int    { return f.pid }

func (f *fake) Kill() {
	if f.process != nil && f.pid == 100 { // the other has ended by itself
		close(f.process)
	}
	f.process = nil
}

func (f *fake) Ended() <-chan struct{} { return f.process }

// said collects what the console writes, and tells when some text has come.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *said) await(t *testing.T, text string) {
	t.Helper()
	for {
		s.mu.Lock()
		got := s.text.String()
		s.mu.Unlock()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-s.more:
		case <-t.Context().Done():
			t.Fatalf("said %q, want %q in it", got, text)
		}
	}
}

// What has ended by itself is said, and started again when that is typed; what was
// ended on purpose is not news.
func TestTheConsoleRestartsWhatHasEnded(t *testing.T) {
	server := &fake{pid: 1, process: make(chan struct{})}
	broker := &fake{pid: 100, process: make(chan struct{})}
	out := &said{more: make(chan struct{}, 1)}
	k := &console{out: out, parts: map[string]part{}, ending: make(chan ending)}
	k.add("transfer-1", server)
	k.add("rabbitmq", broker)
	in, typed := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); k.serve(ctx, in) }()
	enter := func(line string) { io.WriteString(typed, line+"\n") } //nolint:errcheck // a pipe of ours

	close(server.process)
	out.await(t, `transfer-1 has ended; "restart transfer-1"`)
	enter("list")
	out.await(t, "transfer-1   does not run\n  rabbitmq     runs as process 100\n")
	enter("restart transfer-1")
	out.await(t, "cluster: transfer-1: runs as process 2\n")
	enter("kill rabbitmq")
	out.await(t, "cluster: rabbitmq: does not run\n")
	enter("restart nothing")
	out.await(t, "NAME is one of transfer-1, rabbitmq.\n")
	typed.Close()
	cancel()
	<-served
	if strings.Contains(out.text.String(), "rabbitmq has ended") {
		t.Errorf("what was asked for is news: %s", &out.text)
	}

	broker.refuses = errors.New("no port")
	if err := k.do(t.Context(), []string{"restart", "rabbitmq"}); err == nil {
		t.Error("a start that failed is no error")
	}
}
