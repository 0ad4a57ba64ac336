package http

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// ChangeKey makes a change repeatable.
type ChangeKey struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"A repeat with the same key is done once and answered as the first; 1 to 64 bytes."`
}

// GroupPath names a group.
type GroupPath struct {
	ID string `path:"id" doc:"A group_id."`
}

type newGroup struct {
	Name      string   `json:"name" doc:"1 to 128 bytes."`
	MemberIDs []string `json:"member_ids" doc:"User ids; the caller is a member too, and the owner. At most 500 members in all."`
}

type createGroupRequest struct {
	ChangeKey
	Body newGroup
}

// MadeGroup names a new group.
type MadeGroup struct {
	GroupID        string `json:"group_id"`
	ConversationID string `json:"conversation_id"`
}

// groupSettings are changed one by one: what is left out stays.
type groupSettings struct {
	Name         *string `json:"name" doc:"1 to 128 bytes."`
	AvatarFileID *string `json:"avatar_file_id" doc:"A file_id; empty = none."`
	Announcement *string `json:"announcement" doc:"At most 4 KiB."`
	History      *string `json:"history" enum:"joined,all" doc:"What a new member may read of what was before: nothing, or all."`
	Join         *string `json:"join" enum:"invite,request,open,closed" doc:"invite: any member adds others. request: who asks is let in by the owner or an admin, and these add others. open: who asks is in, and any member adds others. closed: the owner and the admins add others."`
	MuteAll      *bool   `json:"mute_all" doc:"Only the owner and the admins may send."`
}

type changeGroupRequest struct {
	GroupPath
	ChangeKey
	Body groupSettings
}

type changeOwnerRequest struct {
	GroupPath
	ChangeKey
	Body userIDBody
}

type dissolveRequest struct {
	GroupPath
	ChangeKey
}

// GroupView is what a group's members see of it.
type GroupView struct {
	GroupID      string `json:"group_id"`
	Name         string `json:"name,omitempty"`
	AvatarFileID string `json:"avatar_file_id,omitempty"`
	Announcement string `json:"announcement,omitempty"`
	History      string `json:"history,omitempty" enum:"joined,all"`
	Join         string `json:"join,omitempty" enum:"invite,request,open,closed"`
	MuteAll      bool   `json:"mute_all,omitempty"`
	Dissolved    bool   `json:"dissolved,omitempty"`
}

// GroupDetail is a group as one of its members sees it.
type GroupDetail struct {
	GroupView
	ConversationID string `json:"conversation_id"`
	OwnerID        string `json:"owner_id"`
	Members        int32  `json:"members" doc:"How many."`
	Role           string `json:"role" enum:"owner,admin,member" doc:"One's own."`
}

func (s *Server) groupRoutes(api huma.API) {
	create := operation("create-group", http.MethodPost, "/v1/groups", "Groups", byToken, "Make a group",
		"The caller is its owner. Where a user does not exist nothing is made.")
	create.DefaultStatus = http.StatusCreated
	register(s, api, create, s.createGroup)
	register(s, api, operation("get-group", http.MethodGet, "/v1/groups/{id}", "Groups", byToken, "Read a group", "For its members."), s.readGroup)
	register(s, api, operation("change-group", http.MethodPatch, "/v1/groups/{id}", "Groups", byToken, "Change a group's settings",
		"For the owner and the admins. What is left out stays."), s.changeGroup)
	register(s, api, operation("change-group-owner", http.MethodPut, "/v1/groups/{id}/owner", "Groups", byToken, "Give a group away",
		"For the owner, who becomes an admin. To a member."), s.changeOwner)
	register(s, api, operation("dissolve-group", http.MethodDelete, "/v1/groups/{id}", "Groups", byToken, "Dissolve a group",
		"For the owner. Its members keep what they have seen."), s.dissolveGroup)
}

func (s *Server) createGroup(ctx context.Context, in *createGroupRequest) (*answer[MadeGroup], error) {
	caller := callerOf(ctx)
	id := im.NewID()
	if in.IdempotencyKey != "" { // a repeat makes the same group
		id = im.DerivedID("group", caller.UserID, caller.DeviceID, in.IdempotencyKey)
	}
	data := dataOf(map[string]any{"name": in.Body.Name})
	if err := s.change(ctx, in.IdempotencyKey, id, im.ActionCreated, in.Body.MemberIDs, data); err != nil {
		return nil, err
	}
	return reply(MadeGroup{id, im.GroupConversation(id)}), nil
}

func (s *Server) readGroup(ctx context.Context, in *GroupPath) (*answer[GroupDetail], error) {
	state, own, err := s.groupAsMember(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	view, err := groupOf(&state.Conversation)
	if err != nil {
		return nil, err
	}
	detail := GroupDetail{
		GroupView: *view, ConversationID: state.ID, Members: int32(len(state.Members)), Role: own.Role, //nolint:gosec // at most 500
	}
	if at := slices.IndexFunc(state.Members, func(m im.Member) bool { return im.Role(m.Role) == im.RoleOwner }); at >= 0 {
		detail.OwnerID = state.Members[at].UserID
	}
	return reply(detail), nil
}

func (s *Server) changeGroup(ctx context.Context, in *changeGroupRequest) (*nothing, error) {
	wanted := map[string]any{}
	for key, value := range map[string]*string{
		"name": in.Body.Name, "avatar_file_id": in.Body.AvatarFileID, "announcement": in.Body.Announcement,
		"history": in.Body.History, "join": in.Body.Join,
	} {
		if value != nil {
			wanted[key] = *value
		}
	}
	if in.Body.MuteAll != nil {
		wanted["mute_all"] = *in.Body.MuteAll
	}
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionChanged, nil, dataOf(wanted))
}

func (s *Server) changeOwner(ctx context.Context, in *changeOwnerRequest) (*nothing, error) {
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionOwner, []string{in.Body.UserID}, nil)
}

func (s *Server) dissolveGroup(ctx context.Context, in *dissolveRequest) (*nothing, error) {
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionDissolved, nil, nil)
}

// change has something done to a group by the pipeline, where it has its place among
// the group's messages.
func (s *Server) change(ctx context.Context, key, groupID string, action im.Action, userIDs []string, data *structpb.Struct) error {
	if key != "" && !im.ValidClientID(key) {
		return invalidKey()
	}
	encoded, err := (&imv1.GroupChange{
		ClientId: key, GroupId: groupID, Membership: &imv1.Membership{Action: string(action), UserIds: userIDs, Data: data},
	}).MarshalVT()
	if err != nil {
		return invalid("the request holds text that is not UTF-8")
	}
	_, err = s.publish(ctx, &imv1.Publish{What: &imv1.Publish_Change{Change: encoded}, StampClientId: true, B3: s.messageTrace(ctx, "")})
	return err
}

func invalidKey() error {
	return invalid("an Idempotency-Key has 1 to %d bytes and no control characters", im.MaxClientIDBytes)
}

// dataOf is a membership's data; nil for none.
func dataOf(values map[string]any) *structpb.Struct {
	data, err := structpb.NewStruct(values)
	if err != nil { // text that is not UTF-8, which the JSON decoder has not let through
		return nil
	}
	return data
}

// groupAsMember returns a group's state and the caller's stay in it; im.NotFound to who
// is not a member.
func (s *Server) groupAsMember(ctx context.Context, groupID string) (*im.ConversationState, im.Member, error) {
	notFound := im.Errorf(im.NotFound, "there is no such group")
	if !im.ValidID(groupID) {
		return nil, im.Member{}, notFound
	}
	states, err := s.Histories.Conversations(ctx, []string{im.GroupConversation(groupID)})
	if err != nil {
		return nil, im.Member{}, wrap("read group", err)
	}
	state := &states[0]
	at := slices.IndexFunc(state.Members, func(m im.Member) bool { return m.UserID == callerOf(ctx).UserID })
	if !state.Exists || at < 0 {
		return nil, im.Member{}, notFound
	}
	return state, state.Members[at], nil
}

func settingsOf(c *im.Conversation) (*imv1.GroupSettings, error) {
	settings := &imv1.GroupSettings{}
	return settings, wrap("decode a group's settings", settings.UnmarshalVT(c.Settings))
}

func groupOf(c *im.Conversation) (*GroupView, error) {
	settings, err := settingsOf(c)
	return &GroupView{
		GroupID: c.Key, Name: settings.Name, AvatarFileID: settings.AvatarFileId, Announcement: settings.Announcement,
		History: settings.History, Join: settings.Join, MuteAll: settings.MuteAll, Dissolved: settings.Dissolved,
	}, err
}
