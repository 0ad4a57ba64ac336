package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"
)

// service is a server of one process that may be ended, started again and paused.
type service struct {
	name     string
	patience time.Duration // with one that is told to stop
	server   *process      // nil: it does not run
}

// PID returns the id of its process, or 0 when it does not run.
func (s *service) PID() int {
	if s.server == nil {
		return 0
	}
	return s.server.pid()
}

// runs reports whether it does; one whose process has ended by itself, or by another's
// hand, does not.
func (s *service) runs() bool {
	select {
	case <-s.Ended():
		s.server = nil
	default:
	}
	return s.server != nil
}

// Ended is closed when the process that runs now has ended; nil when none does.
func (s *service) Ended() <-chan struct{} {
	if s.server == nil {
		return nil
	}
	return s.server.done
}

// Stop ends it; one that does not run is no error. Its files stay.
func (s *service) Stop() error {
	if s.server == nil {
		return nil
	}
	if err := s.Resume(); err != nil { // a paused one would not hear it
		return err
	}
	err := s.server.stop(s.patience)
	s.server = nil
	return err
}

// Kill ends it as kill -9 does.
func (s *service) Kill() {
	if s.server != nil {
		s.server.kill()
		s.server = nil
	}
}

// Terminate asks it to stop and does not wait, as Await does.
func (s *service) Terminate() error { return s.signal(syscall.SIGTERM) }

// Await waits until it ends by itself, and returns how: nil, or an *exec.ExitError
// that says with which status or by which signal.
func (s *service) Await(ctx context.Context) error {
	if s.server == nil {
		return errors.New(s.name + " does not run")
	}
	select {
	case <-s.server.done:
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", s.name, ctx.Err())
	}
	err := s.server.err
	s.server = nil
	return err
}

// Pause stops it in its tracks, as SIGSTOP does: connections stay open and nothing
// is answered until Resume.
func (s *service) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (s *service) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *service) signal(signal os.Signal) error {
	if s.server == nil {
		return errors.New(s.name + " does not run")
	}
	if err := s.server.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", signal, s.name, err)
	}
	return nil
}

// health asks a server for /health, for a second at most; ok says that it answered
// 200, with which text.
func health(ctx context.Context, uri string) (text string, ok bool) {
	status, text := ask(ctx, uri+"/health")
	return text, status == http.StatusOK
}

// ask gets what is under a URL, for a second at most; a status of 0 is no answer.
func ask(ctx context.Context, url string) (status int, text string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, ""
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return 0, ""
	}
	return answer.StatusCode, string(body)
}
