package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// witness reads a user's inbox by HTTP, from its beginning, once the devices have
// gone. It is judged as a device of the user: it must have seen what they saw.
type witness struct {
	user     *user
	recorded *check.Device
	log      *check.Log
	token    string
	last     int64
}

// witnessDevice is the device that a witness is to the server: one without sessions.
const witnessDevice = "check-http"

func newWitness(r *run, u *user) *witness {
	w := &witness{user: u, recorded: r.history.Device(u.id, witnessDevice)}
	w.log = w.recorded.Log()
	return w
}

// pull reads what is new.
func (w *witness) pull(ctx context.Context, r *run) error {
	for first := true; ; first = false {
		page, err := w.page(ctx, r)
		if err != nil {
			return fmt.Errorf("read the inbox of %s by HTTP: %w", w.user.id, err)
		}
		at := r.now()
		if first {
			w.log.Resumed(check.Resume{At: at, From: w.last, Last: w.last, HasLast: true, Head: page.GetHead(), TooLong: page.GetTooLong()})
		}
		if page.GetTooLong() {
			return fmt.Errorf("read the inbox of %s by HTTP: it is no longer whole", w.user.id)
		}
		for _, entry := range page.GetEntries() {
			r.record(w.log, at, entry)
			w.last = max(w.last, entry.GetSeq())
		}
		w.log.Head(at, page.GetHead())
		if !page.GetHasMore() || len(page.GetEntries()) == 0 {
			return nil
		}
	}
}

// page asks for the next page until there is an answer, for as long as the run is
// patient.
func (w *witness) page(ctx context.Context, r *run) (*imv1.SyncReply, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Patience)
	defer cancel()
	for wait := leastPause; ; wait = min(2*wait, mostPause) {
		page, err := w.ask(ctx, r)
		var refusal *im.Error
		switch {
		case err == nil:
			return page, nil
		case errors.As(err, &refusal) && refusal.Code == im.Unauthenticated:
			w.token = ""
		case refusal != nil && refusal.Code.Final():
			return nil, err
		}
		if !sleep(ctx, wait) {
			return nil, err
		}
	}
}

// ask asks once, with a token that it gets where it has none.
func (w *witness) ask(ctx context.Context, r *run) (page *imv1.SyncReply, err error) {
	if w.token == "" {
		tokens, err := r.serviceTokens(ctx, w.user, witnessDevice, platforms[len(platforms)-1])
		if err != nil {
			return nil, err
		}
		w.token = tokens.AccessToken
	}
	err = r.servers.call(ctx, w.token, func(ctx context.Context, api *client.API) (err error) {
		after := w.last
		page, err = api.Inbox(ctx, client.InboxQuery{After: &after, Limit: im.MaxPage})
		return err
	})
	return page, err
}

// sleep waits; false when the context ends first.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
