package transfer

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// What calls beside the way are refused with.
var (
	errStoreAway    = status.Error(codes.Unavailable, "the store does not answer")
	errTooManyUsers = status.Error(codes.InvalidArgument, "too many users at once")
)

// Record keeps what gateways tell of their connections. A gateway tells it again, to any
// transfer, until one has kept it.
func (s *Server) Record(ctx context.Context, r *imv1.RecordRequest) (*imv1.RecordReply, error) {
	rows := make([]im.Connection, 0, len(r.Connections))
	for _, c := range r.Connections {
		rows = append(rows, im.Connection{
			UserID: c.UserId, SessionID: c.SessionId, DeviceID: c.DeviceId, Platform: c.Platform, Transport: c.Transport,
			Remote: c.Remote, Client: c.Client, UserAgent: c.UserAgent,
			OnlineAtMs: c.OnlineAtMs, OfflineAtMs: c.OfflineAtMs, Reason: c.Reason,
		})
	}
	if len(rows) == 0 {
		return &imv1.RecordReply{}, nil
	}
	if err := s.store.RecordConnections(ctx, rows); err != nil {
		s.complain(s.log, "record connections", "error", err)
		return nil, errStoreAway
	}
	return &imv1.RecordReply{}, nil
}
