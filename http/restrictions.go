package http

import (
	"context"
	"math"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// RoomUserPath names a user in a room.
type RoomUserPath struct {
	RoomPath
	UserID string `path:"user_id" doc:"A user_id."`
}

type restrictRequest struct {
	RoomUserPath
	ChangeKey
	Body struct {
		UntilMs int64Text `json:"until_ms" doc:"Unix milliseconds; left out = until it is taken back."`
	}
}

type freeRequest struct {
	RoomUserPath
	ChangeKey
}

type restrictionsQuery struct {
	RoomPath
	PageQuery
}

// Restrictions is a page of users who may not do something in a room.
type Restrictions struct {
	Users []Restriction `json:"users" nullable:"false" doc:"By user_id."`
	Next  string        `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// Restriction is one user who may not, for a time.
type Restriction struct {
	UserID  string    `json:"user_id"`
	UntilMs int64Text `json:"until_ms,omitempty" doc:"Unix milliseconds; left out = until it is taken back."`
}

func (s *Server) restrictionRoutes(api huma.API) {
	const whose = "For the room's owner, and the service key."
	add := func(id, method, path, summary, description string) huma.Operation {
		return byEither(operation(id, method, "/v1/rooms/{id}/"+path, "Rooms", byToken, summary, description))
	}
	register(s, api, add("list-banned", http.MethodGet, "bans", "List who is banned from a room", whose), s.listBanned)
	register(s, api, add("ban", http.MethodPut, "bans/{user_id}", "Ban a user from a room", whose+" Their sessions have left it."), s.ban)
	register(s, api, add("lift-ban", http.MethodDelete, "bans/{user_id}", "Take a ban back", whose), s.liftBan)
	register(s, api, add("list-muted", http.MethodGet, "mutes", "List who is muted in a room", whose), s.listMuted)
	register(s, api, add("mute", http.MethodPut, "mutes/{user_id}", "Mute a user in a room", whose), s.mute)
	register(s, api, add("lift-mute", http.MethodDelete, "mutes/{user_id}", "Take a mute back", whose), s.liftMute)
}

func (s *Server) ban(ctx context.Context, in *restrictRequest) (*nothing, error) {
	data := dataOf(map[string]any{"banned_until_ms": untilText(in.Body.UntilMs)})
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionRemoved, []string{in.UserID}, data)
}

func (s *Server) liftBan(ctx context.Context, in *freeRequest) (*nothing, error) {
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionChanged, []string{in.UserID}, dataOf(map[string]any{"banned_until_ms": "0"}))
}

func (s *Server) mute(ctx context.Context, in *restrictRequest) (*nothing, error) {
	data := dataOf(map[string]any{"muted_until_ms": untilText(in.Body.UntilMs)})
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionMuted, []string{in.UserID}, data)
}

func (s *Server) liftMute(ctx context.Context, in *freeRequest) (*nothing, error) {
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionMuted, []string{in.UserID}, dataOf(map[string]any{"muted_until_ms": "0"}))
}

func (s *Server) listBanned(ctx context.Context, in *restrictionsQuery) (*answer[Restrictions], error) {
	return s.listRestricted(ctx, in, (*imv1.RoomSettings).GetBanned)
}

func (s *Server) listMuted(ctx context.Context, in *restrictionsQuery) (*answer[Restrictions], error) {
	return s.listRestricted(ctx, in, (*imv1.RoomSettings).GetMuted)
}

func (s *Server) listRestricted(ctx context.Context, in *restrictionsQuery, which func(*imv1.RoomSettings) []*imv1.RoomRestriction) (*answer[Restrictions], error) {
	_, settings, err := s.roomByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !byService(ctx) && settings.OwnerId != callerOf(ctx).UserID {
		return nil, im.Errorf(im.Forbidden, "that is for the owner of the room")
	}
	inForce := slices.DeleteFunc(which(settings), func(r *imv1.RoomRestriction) bool { return r.UntilMs <= s.nowMs() })
	page, next, err := sortedPage(&in.PageQuery, inForce, func(r **imv1.RoomRestriction) string { return (*r).UserId })
	if err != nil {
		return nil, err
	}
	list := Restrictions{Users: []Restriction{}, Next: next}
	for _, r := range page {
		shown := Restriction{UserID: r.UserId, UntilMs: int64Text(r.UntilMs)}
		if r.UntilMs == math.MaxInt64 {
			shown.UntilMs = 0
		}
		list.Users = append(list.Users, shown)
	}
	return reply(list), nil
}
