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
// FAILED_PRECONDITION when it is not, and UNAVAILABLE when that is not known: the
// caller tries again, with who owns it then.
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
		return &imv1.KickReply{Closed: closed}, s.stillOwns(ctx, box)
	case <-box.done:
		return nil, status.Error(codes.FailedPrecondition, "the user's inbox partition has been given up")
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// stillOwns asks the store whether nobody has taken a partition since: an owner that
// was paused does not know, and the sessions to be closed may be attached to the
// next one by now.
func (s *Server) stillOwns(ctx context.Context, box *inbox) error {
	last, err := s.store.LastTerm(ctx, partitionName(TopicInbox, box.partition))
	switch {
	case err != nil:
		s.complain(s.log, "read who owns a partition", "error", err)
		return status.Error(codes.Unavailable, "the store does not answer")
	case last.Owner != s.config.ServerID:
		return status.Error(codes.FailedPrecondition, "the user's inbox partition was taken by another")
	}
	return nil
}
