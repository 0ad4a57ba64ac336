package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// All connections of a server break at once: every device comes back and resumes, no
// message is lost, and it is told how long that took and how often they tried.
func TestAStormIsOverWhenAllAreBack(t *testing.T) {
	for _, transport := range []string{TCP, WebSocket} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			server := inTest(t, none, 0)
			config := server.config(Storm)
			config.Connect, config.Transport = 41, transport
			config.Strike = func(context.Context) error { server.breakAll(); return nil }

			report := mustRun(t, config)

			s := report.Storm
			if s == nil || s.Lost != 42 || s.Back != 42 || s.Called != 21 || !report.Verdict.OK() || report.Verdict.Acknowledged != 42 {
				t.Fatalf("%+v\n%s", s, verdictOf(t, report))
			}
			if s.Return.Count != 42 || s.Return.P50 < 250 || s.AllBack <= 0 || s.Tries.Mean < 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// breakAll cuts every connection.
func (s *fakeServer) breakAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sessions := range s.sessions {
		for session := range sessions {
			session.nc.Close()
		}
	}
}

func TestAStrikeThatFailsEndsTheRun(t *testing.T) {
	config := inTest(t, none, 0).config(Storm)
	failure := errors.New("it does not die")
	config.Connect, config.Strike = 2, func(context.Context) error { return failure }
	if _, err := Run(t.Context(), config, Progress{}); !errors.Is(err, failure) {
		t.Fatalf("%v", err)
	}
}

// A device waits for as long as a server asks it to, give or take a half, and else longer
// with each try.
func TestHowLongADeviceWaits(t *testing.T) {
	asked := 4 * time.Second
	for _, c := range []struct {
		err   error
		tries int
		about time.Duration
	}{
		{io.EOF, 0, 500 * time.Millisecond},
		{io.EOF, 2, 2 * time.Second},
		{io.EOF, 60, 10 * time.Second},
		{&disconnect{code: im.Draining, after: asked}, 7, asked},
		{fmt.Errorf("ask: %w", im.Retry(im.Unavailable, asked, "later")), 7, asked},
	} {
		if got := pauseAfter(c.err, c.tries); got < c.about/2 || got > c.about*3/2 {
			t.Errorf("%v after %v, try %d", got, c.err, c.tries)
		}
	}
}

// What a server ends with is counted by its kind, not by the ports in its text.
func TestKindsOfEnds(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for want, err := range map[string]error{
		"disconnected: draining": fmt.Errorf("x: %w", &disconnect{code: im.Draining}),
		"refused: unavailable":   im.Retry(im.Unavailable, time.Second, "later"),
		"connection reset":       fmt.Errorf("connection lost: %w", reset),
		"connection refused":     &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"connection closed":      fmt.Errorf("connection lost: %w", io.EOF),
		"timeout":                context.DeadlineExceeded,
		"another":                errors.New("another"),
	} {
		if got := kindOf(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A server that drains may say where to go; the gateway API is not asked then.
func TestADeviceGoesWhereItIsSent(t *testing.T) {
	g := &gateways{}
	for transport, want := range map[string]string{TCP: "tcp://there:1", WebSocket: "ws://there:1/ws"} {
		to := addressOf(&disconnect{code: im.Draining, address: "there:1"})
		found, err := g.find(t.Context(), &device{transport: transport, next: to})
		if err != nil || found.url.String() != want {
			t.Errorf("%v, %v", found.url, err)
		}
	}
	if addressOf(io.EOF) != "" {
		t.Error("a broken connection names no server")
	}
}
