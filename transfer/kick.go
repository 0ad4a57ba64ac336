package transfer

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// kickCall is a Kick on its way to the partition's goroutine; closed has room for
// its answer.
type kickCall struct {
	request *imv1.KickRequest
	closed  chan int32
}

// Kick closes live sessions of a user whose inbox partition is owned here;
// FAILED_PRECONDITION when it is not.
func (s *Server) Kick(ctx context.Context, r *imv1.KickRequest) (*imv1.KickReply, error) {
	box := s.inboxOf(r.UserId)
	if box == nil {
		return nil, status.Error(codes.FailedPrecondition, "the user's inbox partition is owned elsewhere")
	}
	call := &kickCall{request: r, closed: make(chan int32, 1)}
	select {
	case box.controls <- controls{kick: call}:
	case <-box.done:
		return nil, status.Error(codes.FailedPrecondition, "the user's inbox partition has been given up")
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	select {
	case closed := <-call.closed:
		return &imv1.KickReply{Closed: closed}, nil
	case <-box.done:
		return nil, status.Error(codes.FailedPrecondition, "the user's inbox partition has been given up")
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
