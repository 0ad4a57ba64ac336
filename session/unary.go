package session

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// attemptPatience is how long one transfer has to answer a unary call before
	// another is tried: it may be paused.
	attemptPatience = 2 * time.Second
	// callPatience bounds a unary call over all attempts.
	callPatience = 5 * time.Second
	// silentFor is how long a transfer that has not answered is asked last.
	silentFor = 10 * time.Second
	// maxPulls is how many pages a server asks for at once; more wait for their turn,
	// which their patience does not count. If all sessions asked at once after an
	// outage, each would wait for the store behind all the others, give up, and ask
	// again, and none would ever be served.
	maxPulls = 64
	// ownerPatience is the longest time between two tries to reach an owner.
	ownerPatience = 500 * time.Millisecond
)

// Login has an auth judged by any transfer, the owner of nothing in particular.
// An im.Unavailable error when none answers.
func (l *Link) Login(ctx context.Context, request *imv1.LoginRequest) (*imv1.LoginReply, error) {
	return unary(ctx, l, nil, request, imv1.TransferClient.Login)
}

// Pull reads a page of an inbox from any transfer, its owner first. An
// im.Unavailable error when none answers.
func (l *Link) Pull(ctx context.Context, request *imv1.PullRequest) (*imv1.PullReply, error) {
	select {
	case l.pulls <- struct{}{}:
		defer func() { <-l.pulls }()
	case <-ctx.Done():
		return nil, errUnanswered()
	}
	owner, _ := l.parts[im.Partition(request.UserId, len(l.parts))].owned()
	return unary(ctx, l, owner, request, imv1.TransferClient.Pull)
}

type method[Q, A any] func(imv1.TransferClient, context.Context, Q, ...grpc.CallOption) (A, error)

// unary tries the transfers one after the other.
func unary[Q, A any](ctx context.Context, l *Link, first *stream, request Q, call method[Q, A]) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	for ctx.Err() == nil {
		up := l.room.wait()
		var refusal error // of one transfer: its clock or its secret may be wrong, and no other's
		for _, st := range l.candidates(first) {
			answer, err := attempt(ctx, st, request, call)
			if err == nil {
				return answer, nil
			}
			if !retryable(status.Code(err)) {
				l.log.Error("call a transfer", "transfer", st.peer.server.ID, "error", err)
				refusal = err
			}
		}
		if refusal != nil {
			var none A
			return none, im.AsError(refusal)
		}
		if patience := l.patience(); patience > 0 && ctx.Err() == nil {
			waitEither(ctx, up, min(patience, ownerPatience))
			continue
		}
		break
	}
	var none A
	return none, errNoTransfer()
}

// attempt asks one transfer, and notes whether it answers: a paused one would
// otherwise cost every call that it gets first its patience.
func attempt[Q, A any](ctx context.Context, st *stream, request Q, call method[Q, A]) (A, error) {
	bounded, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	answer, err := call(st.client, bounded, request, grpc.ForceCodecV2(codec.New()))
	if bounded.Err() != nil && ctx.Err() == nil {
		st.silent.Store(time.Now().Add(silentFor).UnixNano())
	}
	return answer, err
}

// candidates are all live streams: first in front, the others from a different one
// each time, and those last that have been silent.
func (l *Link) candidates(first *stream) []*stream {
	streams := l.live()
	if n := len(streams); n > 1 {
		turn := int(l.turns.Add(1) % uint64(n)) //nolint:gosec // small
		streams = append(streams[turn:], streams[:turn]...)
	}
	now := time.Now().UnixNano()
	place := func(st *stream) int {
		switch {
		case st.silent.Load() > now:
			return 2
		case st == first:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(streams, func(a, b *stream) int { return place(a) - place(b) })
	return streams
}

func retryable(code codes.Code) bool {
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

// waitEither waits for a channel to be closed, a time to pass or the context.
func waitEither(ctx context.Context, done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}
