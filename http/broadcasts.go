package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/content"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// defaultPerSecond is the speed of a broadcast that names none.
	defaultPerSecond = 100
	// systemName is the user that broadcasts come from, made when the first is: a name that
	// nobody can register.
	systemName = "~system"
)

// broadcastTo says whom a broadcast is for: one of them.
type broadcastTo struct {
	All     bool     `json:"all,omitempty" doc:"Every user."`
	RoomID  string   `json:"room_id,omitempty" doc:"All who are in a room."`
	UserIDs []string `json:"user_ids,omitempty" doc:"These users, at most 10,000."`
}

type broadcastRequest struct {
	ChangeKey
	Body struct {
		To        broadcastTo                            `json:"to"`
		Content   protoBody[imv1.Content, *imv1.Content] `json:"content"`
		PerSecond int                                    `json:"per_second" doc:"Messages per second, 1 to 10,000; 0 = 100."`
		Priority  int                                    `json:"priority" doc:"0 to 9; of several the highest goes first."`
	}
}

// BroadcastPath names a broadcast.
type BroadcastPath struct {
	ID string `path:"id" doc:"A broadcast_id."`
}

// BroadcastView is a broadcast and how far it is.
type BroadcastView struct {
	BroadcastID string      `json:"broadcast_id"`
	State       string      `json:"state" enum:"running,cancelled,done"`
	To          broadcastTo `json:"to"`
	PerSecond   int32       `json:"per_second"`
	Priority    int32       `json:"priority"`
	CreatedAtMs int64Text   `json:"created_at_ms"`
	Sent        int64Text   `json:"sent" doc:"Messages that are stored."`
	Refused     int64Text   `json:"refused" doc:"Messages that could not be: to users who block, are disabled or not there."`
}

// BroadcastList is a page of the broadcasts.
type BroadcastList struct {
	Broadcasts []BroadcastView `json:"broadcasts" nullable:"false" doc:"The newest first, without their users."`
	Next       string          `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

func (s *Server) broadcastRoutes(api huma.API) {
	create := operation("create-broadcast", http.MethodPost, "/v1/admin/broadcast", "Service", byServiceKey, "Send to many",
		"To all users, to a room or to users. It is kept, and goes on after a crash; nobody gets it twice.")
	create.DefaultStatus = http.StatusCreated
	register(s, api, create, s.createBroadcast)
	register(s, api, operation("list-broadcasts", http.MethodGet, "/v1/admin/broadcast", "Service", byServiceKey, "List broadcasts",
		"The newest first."), s.listBroadcasts)
	register(s, api, operation("get-broadcast", http.MethodGet, "/v1/admin/broadcast/{id}", "Service", byServiceKey, "Read a broadcast",
		"And how far it is."), s.readBroadcast)
	register(s, api, operation("cancel-broadcast", http.MethodDelete, "/v1/admin/broadcast/{id}", "Service", byServiceKey, "Cancel a broadcast",
		"What has been sent stays."), s.cancelBroadcast)
}

func (s *Server) createBroadcast(ctx context.Context, in *broadcastRequest) (*answer[BroadcastView], error) {
	b, err := s.newBroadcast(in)
	if err != nil {
		return nil, err
	}
	if err := s.roomForBroadcast(ctx); err != nil {
		if _, unknown := s.Broadcasts.Broadcast(ctx, b.ID); in.IdempotencyKey != "" && unknown == nil { // it has its place
			return s.repeatedBroadcast(ctx, b)
		}
		return nil, err
	}
	if b.SenderID, err = s.systemUser(ctx); err != nil {
		return nil, err
	}
	switch err := s.Broadcasts.InsertBroadcast(ctx, b); {
	case errors.Is(err, im.ErrDuplicate):
		return s.repeatedBroadcast(ctx, b)
	case errors.Is(err, im.ErrUnknown):
		s.broadcaster.begin(b.ID) // if it is there, it is ours
		return nil, im.Retry(im.Unavailable, defaultRetry, "it is not known whether it is kept")
	case err != nil:
		return nil, wrap("keep broadcast", err)
	}
	s.broadcaster.begin(b.ID)
	return reply(broadcastView(b)), nil
}

// roomForBroadcast refuses when as many are running as may. Servers that are asked at the
// same moment may begin one each beyond that.
func (s *Server) roomForBroadcast(ctx context.Context) error {
	running, err := s.Broadcasts.RunningBroadcasts(ctx)
	if err == nil && len(running) >= im.MaxRunningBroadcasts {
		return im.Retry(im.RateLimited, defaultRetry, fmt.Sprintf("%d broadcasts are running", len(running)))
	}
	return wrap("look for broadcasts", err)
}

// newBroadcast judges a request for a broadcast.
func (s *Server) newBroadcast(in *broadcastRequest) (im.Broadcast, error) {
	to, none := in.Body.To, im.Broadcast{}
	if in.IdempotencyKey != "" && !im.ValidClientID(in.IdempotencyKey) {
		return none, invalidKey()
	}
	if one := []bool{to.All, to.RoomID != "", len(to.UserIDs) > 0}; len(slices.DeleteFunc(one, func(is bool) bool { return !is })) != 1 {
		return none, invalid("to must name all, a room or users")
	}
	if len(to.UserIDs) > im.MaxBroadcastUsers {
		return none, im.Errorf(im.TooLarge, "at most %d users at once", im.MaxBroadcastUsers)
	}
	users := slices.Compact(slices.Sorted(slices.Values(to.UserIDs)))
	if slices.ContainsFunc(users, func(id string) bool { return !im.ValidID(id) }) || to.RoomID != "" && !im.ValidID(to.RoomID) {
		return none, invalid("ids have 1 to %d bytes and no control characters", im.MaxIDBytes)
	}
	if in.Body.PerSecond < 0 || in.Body.PerSecond > im.MaxBroadcastPerSecond || in.Body.Priority < 0 || in.Body.Priority > im.MaxBroadcastPriority {
		return none, invalid("per_second is 1 to %d, or 0 for the default; priority is 0 to %d", im.MaxBroadcastPerSecond, im.MaxBroadcastPriority)
	}
	said, err := encodeContent(in.Body.Content.message)
	id := im.NewID()
	if in.IdempotencyKey != "" {
		id = im.DerivedID("broadcast", in.IdempotencyKey)
	}
	return im.Broadcast{
		ID: id, All: to.All, RoomID: to.RoomID, UserIDs: users, Content: said,
		PerSecond: orElse(in.Body.PerSecond, defaultPerSecond), Priority: in.Body.Priority, CreatedAtMs: s.nowMs(),
	}, err
}

// encodeContent judges what a broadcast says as the pipeline will, once and not for each
// receiver, and encodes it. It can not refer to a message: no two receivers share one.
func encodeContent(said *imv1.Content) ([]byte, error) {
	if err := content.Validate(said, nil); err != nil {
		return nil, err
	}
	if said.ReplyTo != 0 || said.ThreadId != 0 || said.ForwardedFrom != 0 {
		return nil, invalid("a broadcast refers to no other message")
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(said) // a repeat is known by it
	return encoded, wrap("encode content", err)
}

// systemUser returns the user that broadcasts come from.
func (s *Server) systemUser(ctx context.Context) (string, error) {
	user := im.User{ID: im.NewID(), Username: systemName, Nickname: "System", CreatedAtMs: s.nowMs()}
	users, _, err := s.Accounts.EnsureUsers(ctx, []im.User{user})
	if err != nil {
		return "", wrap("make the system's user", err)
	}
	return users[0].ID, nil
}

// repeatedBroadcast answers a repeat as the first, or refuses another with its key.
func (s *Server) repeatedBroadcast(ctx context.Context, b im.Broadcast) (*answer[BroadcastView], error) {
	kept, err := s.Broadcasts.Broadcast(ctx, b.ID)
	if err != nil {
		return nil, wrap("read broadcast", err)
	}
	same := kept.All == b.All && kept.RoomID == b.RoomID && slices.Equal(kept.UserIDs, b.UserIDs) &&
		slices.Equal(kept.Content, b.Content) && kept.PerSecond == b.PerSecond && kept.Priority == b.Priority
	if !same {
		return nil, im.Errorf(im.Conflict, "the Idempotency-Key was used for another broadcast")
	}
	if kept.State == im.BroadcastRunning {
		s.broadcaster.begin(kept.ID) // the first time it may have been kept behind our look
	}
	return reply(broadcastView(kept)), nil
}

func broadcastView(b im.Broadcast) BroadcastView {
	return BroadcastView{
		BroadcastID: b.ID, State: b.State.String(), To: broadcastTo{All: b.All, RoomID: b.RoomID, UserIDs: b.UserIDs},
		PerSecond: int32(b.PerSecond), Priority: int32(b.Priority), //nolint:gosec // thousands at most
		CreatedAtMs: int64Text(b.CreatedAtMs), Sent: int64Text(b.Sent), Refused: int64Text(b.Refused),
	}
}

func (s *Server) broadcastByID(ctx context.Context, id string) (im.Broadcast, error) {
	b, err := s.Broadcasts.Broadcast(ctx, id)
	if errors.Is(err, im.ErrNotFound) {
		return b, im.Errorf(im.NotFound, "there is no such broadcast")
	}
	return b, wrap("read broadcast", err)
}

func (s *Server) readBroadcast(ctx context.Context, in *BroadcastPath) (*answer[BroadcastView], error) {
	b, err := s.broadcastByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return reply(broadcastView(b)), nil
}

func (s *Server) listBroadcasts(ctx context.Context, in *PageQuery) (*answer[BroadcastList], error) {
	from, limit, err := behindPlace[im.BroadcastCursor](in)
	if err != nil {
		return nil, err
	}
	all, err := s.Broadcasts.LatestBroadcasts(ctx, from, limit+1)
	if err != nil {
		return nil, wrap("list broadcasts", err)
	}
	list := BroadcastList{Broadcasts: make([]BroadcastView, 0, len(all))}
	if len(all) > limit {
		all = all[:limit]
		list.Next = placeCursor(im.BroadcastCursor{CreatedAtMs: all[limit-1].CreatedAtMs, ID: all[limit-1].ID})
	}
	for _, b := range all {
		list.Broadcasts = append(list.Broadcasts, broadcastView(b))
	}
	return reply(list), nil
}

// cancelBroadcast stops one that is running behind the part that is on its way; one that is
// over stays.
func (s *Server) cancelBroadcast(ctx context.Context, in *BroadcastPath) (*nothing, error) {
	if _, err := s.broadcastByID(ctx, in.ID); err != nil {
		return nil, err
	}
	return nil, wrap("cancel broadcast", s.Broadcasts.RaiseBroadcast(ctx, in.ID, im.BroadcastProgress{State: im.BroadcastCancelled}))
}
