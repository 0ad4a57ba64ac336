package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Login judges an auth frame: the token, the device that it was issued for, and
// from where the session resumes.
func (s *Server) Login(ctx context.Context, r *imv1.LoginRequest) (*imv1.LoginReply, error) {
	reply, err := s.login(ctx, r)
	if err == nil {
		return reply, nil
	}
	var refusal *im.Error
	if !errors.As(err, &refusal) {
		s.complain(s.log, "log in", "error", err)
		refusal = im.Retry(im.Unavailable, retrySoon, "the store does not answer")
	}
	return &imv1.LoginReply{Error: errorBody(refusal)}, nil
}

func (s *Server) login(ctx context.Context, r *imv1.LoginRequest) (*imv1.LoginReply, error) {
	auth := r.Auth
	claims, err := s.tokens.Verify(auth.GetToken())
	if err != nil {
		return nil, err
	}
	if !r.Renew && (auth.DeviceId != claims.DeviceID || auth.Platform != claims.Platform) {
		return nil, im.Errorf(im.Forbidden, "the token was issued for another device or platform")
	}
	if !r.Renew && (auth.Start != "" && auth.Start != "oldest" && auth.Start != "newest" || auth.GetLastSeq() < 0) {
		return nil, im.Errorf(im.Invalid, "start must be oldest or newest, last_seq not negative")
	}
	state, err := s.store.LoginState(ctx, claims.UserID, claims.DeviceID)
	if errors.Is(err, im.ErrNotFound) {
		return nil, im.Errorf(im.Unauthenticated, "no such user or device")
	}
	if err != nil {
		return nil, fmt.Errorf("read login state: %w", err)
	}
	if state.Device.Family != claims.Family || state.User.Disabled {
		return nil, im.Errorf(im.Unauthenticated, "the token has been revoked")
	}
	reply := &imv1.LoginReply{
		UserId: claims.UserID, DeviceId: claims.DeviceID, Platform: claims.Platform,
		InboxEpoch: s.info.InboxEpoch, ExpiresAtMs: claims.ExpiresAtMs, Head: state.Head, Grant: im.Grant(claims.Family),
	}
	if r.Renew {
		return reply, nil
	}
	return reply, s.resume(ctx, auth, &state, reply)
}

// resume decides where a session starts: at last_seq, else at the device's cursor,
// else, for a new device, where start says; that one is stored.
func (s *Server) resume(ctx context.Context, auth *imv1.Auth, state *im.LoginState, reply *imv1.LoginReply) error {
	from := state.Cursor.Seq
	switch {
	case auth.LastSeq != nil:
		from = auth.GetLastSeq()
	case state.HasCursor:
	case auth.Start == "newest":
		from = state.Head
	default:
		from = state.Floor
	}
	foreign := auth.InboxEpoch != "" && auth.InboxEpoch != s.info.InboxEpoch
	if foreign || from > state.Head || from < state.Floor {
		reply.TooLong, reply.ResumeFrom = true, state.Head
		return nil
	}
	reply.ResumeFrom = from
	if auth.LastSeq != nil || state.HasCursor {
		return nil
	}
	cursor := im.Cursor{UserID: state.User.ID, DeviceID: state.Device.DeviceID, Seq: from, ReceiptedSeq: from}
	if err := s.store.CommitInbox(ctx, &im.InboxCommit{Cursors: []im.Cursor{cursor}}); err != nil {
		return fmt.Errorf("store a first cursor: %w", err)
	}
	return nil
}
