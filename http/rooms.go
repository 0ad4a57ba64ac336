package http

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// RoomPath names a room.
type RoomPath struct {
	ID string `path:"id" doc:"A room_id."`
}

type createRoomRequest struct {
	ChangeKey
	Body struct {
		RoomID string `json:"room_id" doc:"1 to 64 bytes; left out = a new one."`
		Name   string `json:"name" doc:"1 to 128 bytes."`
	}
}

// MadeRoom names a new room.
type MadeRoom struct {
	RoomID         string `json:"room_id"`
	ConversationID string `json:"conversation_id"`
}

// RoomView is a room as everybody sees it.
type RoomView struct {
	RoomID         string    `json:"room_id"`
	ConversationID string    `json:"conversation_id"`
	Name           string    `json:"name"`
	OwnerID        string    `json:"owner_id,omitempty" doc:"The user who made it; left out where the operator did."`
	MuteAll        bool      `json:"mute_all,omitempty" doc:"Only the owner and the operator may send."`
	Head           int64Text `json:"head" doc:"Highest conversation seq."`
	Online         int32     `json:"online" doc:"Sessions that are in it."`
}

type changeRoomRequest struct {
	RoomPath
	ChangeKey
	Body struct {
		Name    *string `json:"name" doc:"1 to 128 bytes."`
		MuteAll *bool   `json:"mute_all" doc:"Only the owner and the operator may send."`
	}
}

type closeRoomRequest struct {
	RoomPath
	ChangeKey
}

func (s *Server) roomRoutes(api huma.API) {
	create := byEither(operation("create-room", http.MethodPost, "/v1/rooms", "Rooms", byToken, "Make a room",
		"With the service key, or as a user where the setting features.user_rooms allows: then the user is its owner. A room_id taken: conflict."))
	create.DefaultStatus = http.StatusCreated
	slices.Reverse(create.Security) // what will do by default stands first
	register(s, api, create, s.createRoom)
	register(s, api, byEither(operation("get-room", http.MethodGet, "/v1/rooms/{id}", "Rooms", byToken, "Read a room", "For everybody.")), s.readRoom)
	register(s, api, byEither(operation("change-room", http.MethodPatch, "/v1/rooms/{id}", "Rooms", byToken, "Change a room",
		"For its owner, and the service key. What is left out stays.")), s.changeRoom)
	register(s, api, byEither(operation("dissolve-room", http.MethodDelete, "/v1/rooms/{id}", "Rooms", byToken, "Dissolve a room",
		"For its owner, and the service key. All who are in it have left it.")), s.dissolveRoom)
	s.restrictionRoutes(api)
}

func (s *Server) createRoom(ctx context.Context, in *createRoomRequest) (*answer[MadeRoom], error) {
	if !byService(ctx) && !s.policy.Load().UserRooms {
		if s.config.ServiceKey == "" {
			return nil, im.Errorf(im.NotFound, "nobody makes rooms here")
		}
		return nil, im.Errorf(im.Forbidden, "rooms are made with the service key")
	}
	id := in.Body.RoomID
	if id == "" {
		id = im.NewID()
		if caller := callerOf(ctx); in.IdempotencyKey != "" { // a repeat makes the same room
			id = im.DerivedID("room", caller.UserID, caller.DeviceID, in.IdempotencyKey)
		}
	}
	data := dataOf(map[string]any{"name": in.Body.Name})
	if err := s.changeOfRoom(ctx, in.IdempotencyKey, id, im.ActionCreated, nil, data); err != nil {
		return nil, err
	}
	return reply(MadeRoom{id, im.RoomConversation(id)}), nil
}

func (s *Server) readRoom(ctx context.Context, in *RoomPath) (*answer[RoomView], error) {
	state, settings, err := s.roomByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	status, err := s.Pipeline.RoomStatus(ctx, &imv1.RoomStatusRequest{ConversationId: state.ID})
	if err != nil {
		return nil, err
	}
	return reply(RoomView{
		RoomID: in.ID, ConversationID: state.ID, Name: settings.Name, OwnerID: settings.OwnerId, MuteAll: settings.MuteAll,
		Head: int64Text(state.Head), Online: status.Online,
	}), nil
}

func (s *Server) changeRoom(ctx context.Context, in *changeRoomRequest) (*nothing, error) {
	wanted := map[string]any{}
	if in.Body.Name != nil {
		wanted["name"] = *in.Body.Name
	}
	if in.Body.MuteAll != nil {
		wanted["mute_all"] = *in.Body.MuteAll
	}
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionChanged, nil, dataOf(wanted))
}

func (s *Server) dissolveRoom(ctx context.Context, in *closeRoomRequest) (*nothing, error) {
	return nil, s.changeOfRoom(ctx, in.IdempotencyKey, in.ID, im.ActionDissolved, nil, nil)
}

// changeOfRoom has something done to a room by the pipeline, where it has its place among
// the room's messages.
func (s *Server) changeOfRoom(ctx context.Context, key, roomID string, action im.Action, userIDs []string, data *structpb.Struct) error {
	if key != "" && !im.ValidClientID(key) {
		return invalidKey()
	}
	encoded, err := (&imv1.RoomChange{
		ClientId: key, RoomId: roomID, ByService: byService(ctx),
		Membership: &imv1.Membership{Action: string(action), UserIds: userIDs, Data: data},
	}).MarshalVT()
	if err != nil {
		return invalid("the request holds text that is not UTF-8")
	}
	_, err = s.publish(ctx, &imv1.Publish{What: &imv1.Publish_Room{Room: encoded}, StampClientId: true, B3: s.messageTrace(ctx, "")})
	return err
}

// roomByID reads a room; im.NotFound where there is none, or none any more.
func (s *Server) roomByID(ctx context.Context, roomID string) (*im.ConversationState, *imv1.RoomSettings, error) {
	notFound := im.Errorf(im.NotFound, "there is no such room")
	if !im.ValidID(roomID) {
		return nil, nil, notFound
	}
	states, err := s.Histories.Conversations(ctx, []string{im.RoomConversation(roomID)})
	if err != nil {
		return nil, nil, wrap("read room", err)
	}
	settings := &imv1.RoomSettings{}
	if err := settings.UnmarshalVT(states[0].Settings); err != nil {
		return nil, nil, wrap("decode a room's settings", err)
	}
	if !states[0].Exists || settings.Dissolved {
		return nil, nil, notFound
	}
	return &states[0], settings, nil
}

// roomStay is that of a user in a room whose history they may read: all of it, while one
// of their sessions is in it.
func (s *Server) roomStay(ctx context.Context, userID, conversation string) ([]im.Member, error) {
	states, err := s.Histories.Conversations(ctx, []string{conversation})
	if err != nil {
		return nil, wrap("read room", err)
	}
	if !states[0].Exists {
		return nil, im.Errorf(im.NotFound, "there is no such conversation")
	}
	status, err := s.Pipeline.RoomStatus(ctx, &imv1.RoomStatusRequest{ConversationId: conversation, UserId: userID})
	if err != nil {
		return nil, err
	}
	if !status.Inside {
		return nil, im.Errorf(im.Forbidden, "a room's history is for who is in it")
	}
	return []im.Member{{ConversationID: conversation, UserID: userID, JoinedSeq: 1, LeftSeq: im.Forever}}, nil
}

// untilText is an end as a membership's data says it; 0 = one that does not come.
func untilText(ms int64Text) string {
	if ms == 0 {
		ms = math.MaxInt64
	}
	return strconv.FormatInt(int64(ms), 10)
}
