package workload

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// callTimeout bounds one call to one http server.
const callTimeout = 10 * time.Second

// servers are the http servers of the system. A call goes to the one that answered
// last, and to the next where that does not.
type servers struct {
	transport *http.Transport
	apis      []*client.API
	current   atomic.Uint32
}

func newServers(urls []string) *servers {
	s := &servers{transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	web := &http.Client{Transport: s.transport}
	for _, url := range urls {
		s.apis = append(s.apis, client.NewAPI(strings.TrimSpace(url), web))
	}
	return s
}

// close gives the connections up.
func (s *servers) close() { s.transport.CloseIdleConnections() }

// once makes a call to one server, and remembers to try the next where it fails.
func (s *servers) once(ctx context.Context, token string, call func(context.Context, *client.API) error) error {
	at := s.current.Load()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := call(ctx, s.apis[int(at)%len(s.apis)].WithToken(token))
	if err != nil && !answered(err) {
		s.current.CompareAndSwap(at, at+1)
	}
	return err
}

// call makes a call that may be made more than once, to as many servers as it takes.
func (s *servers) call(ctx context.Context, token string, call func(context.Context, *client.API) error) error {
	var errs []error
	for range s.apis {
		err := s.once(ctx, token, call)
		if err == nil || answered(err) || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// insist makes a call that may be made more than once until it is answered, for as long as
// patience lasts: a refusal for now is none for good.
func (s *servers) insist(ctx context.Context, patience time.Duration, token string, call func(context.Context, *client.API) error) error {
	late := time.After(patience)
	for {
		err := s.call(ctx, token, call)
		if err == nil || answered(err) {
			return err
		}
		pause := leastPause
		var refusal *im.Error
		if errors.As(err, &refusal) {
			pause = min(max(pause, refusal.RetryAfter), mostPause)
		}
		select {
		case <-time.After(pause):
		case <-late:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// answered reports whether an error is the system's answer, rather than that of a
// server that can not serve.
func answered(err error) bool {
	var refusal *im.Error
	return errors.As(err, &refusal) && refusal.Code != im.Unavailable && refusal.Code != im.Internal
}
