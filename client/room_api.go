package client

import (
	"context"
	"fmt"
	"net/url"
)

// Room is a room as everybody sees it.
type Room struct {
	RoomID         string
	ConversationID string
	Name           string
	OwnerID        string // the user who made it; empty: the operator did
	MuteAll        bool
	Head           int64 // highest conversation seq
	Online         int   // sessions that are in it
}

func roomPath(roomID string, rest ...string) string {
	path := "/v1/rooms/" + url.PathEscape(roomID)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// CreateRoom makes a room and returns its conversation id: with the service key, or as a
// user where the server lets users.
func (a *API) CreateRoom(ctx context.Context, roomID, name string) (string, error) {
	var answer struct {
		ConversationID string `json:"conversation_id"`
	}
	err := a.call(ctx, "POST", "/v1/rooms", nil, map[string]string{"room_id": roomID, "name": name}, &answer)
	return answer.ConversationID, err
}

// Room returns a room.
func (a *API) Room(ctx context.Context, roomID string) (Room, error) {
	var answer struct {
		Room
		RoomID         string `json:"room_id"`
		ConversationID string `json:"conversation_id"`
		OwnerID        string `json:"owner_id"`
		MuteAll        bool   `json:"mute_all"`
		Head           number `json:"head"`
	}
	err := a.call(ctx, "GET", roomPath(roomID), nil, nil, &answer)
	room := answer.Room
	room.RoomID, room.ConversationID, room.OwnerID = answer.RoomID, answer.ConversationID, answer.OwnerID
	room.MuteAll, room.Head = answer.MuteAll, int64(answer.Head)
	return room, err
}

// RoomChanges are what ChangeRoom sets; nil leaves it as it is.
type RoomChanges struct {
	Name    *string `json:"name,omitempty"`
	MuteAll *bool   `json:"mute_all,omitempty"`
}

// ChangeRoom changes a room: for its owner, and the service key; as all that follows.
func (a *API) ChangeRoom(ctx context.Context, roomID string, changes RoomChanges) error {
	return a.call(ctx, "PATCH", roomPath(roomID), nil, changes, nil)
}

// DissolveRoom ends a room.
func (a *API) DissolveRoom(ctx context.Context, roomID string) error {
	return a.call(ctx, "DELETE", roomPath(roomID), nil, nil, nil)
}

// Restriction is what keeps a user from a room, or quiet in it.
type Restriction struct {
	UserID  string
	UntilMs int64 // Unix milliseconds; 0 = until it is taken back
}

// BanFromRoom bans a user from a room until a time, Unix milliseconds; 0 = until UnbanInRoom.
func (a *API) BanFromRoom(ctx context.Context, roomID, userID string, untilMs int64) error {
	return a.call(ctx, "PUT", roomPath(roomID, "bans", userID), nil, untilBody(untilMs), nil)
}

// UnbanInRoom takes a ban back.
func (a *API) UnbanInRoom(ctx context.Context, roomID, userID string) error {
	return a.call(ctx, "DELETE", roomPath(roomID, "bans", userID), nil, nil, nil)
}

// MuteInRoom keeps a user from sending to a room until a time, Unix milliseconds; 0 =
// until UnmuteInRoom.
func (a *API) MuteInRoom(ctx context.Context, roomID, userID string, untilMs int64) error {
	return a.call(ctx, "PUT", roomPath(roomID, "mutes", userID), nil, untilBody(untilMs), nil)
}

// UnmuteInRoom takes a mute back.
func (a *API) UnmuteInRoom(ctx context.Context, roomID, userID string) error {
	return a.call(ctx, "DELETE", roomPath(roomID, "mutes", userID), nil, nil, nil)
}

func untilBody(untilMs int64) map[string]string {
	if untilMs == 0 {
		return map[string]string{}
	}
	return map[string]string{"until_ms": fmt.Sprint(untilMs)}
}

// Banned returns a page of who is banned from a room, by user id, and the cursor of the next
// page.
func (a *API) Banned(ctx context.Context, roomID, cursor string, limit int) ([]Restriction, string, error) {
	return a.restrictions(ctx, roomPath(roomID, "bans"), cursorValues(cursor, limit))
}

// Muted returns a page of who is muted in a room, likewise.
func (a *API) Muted(ctx context.Context, roomID, cursor string, limit int) ([]Restriction, string, error) {
	return a.restrictions(ctx, roomPath(roomID, "mutes"), cursorValues(cursor, limit))
}

func (a *API) restrictions(ctx context.Context, path string, page url.Values) ([]Restriction, string, error) {
	var answer struct {
		Users []struct {
			UserID  string `json:"user_id"`
			UntilMs number `json:"until_ms"`
		} `json:"users"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", path, page, nil, &answer)
	list := make([]Restriction, 0, len(answer.Users))
	for _, user := range answer.Users {
		list = append(list, Restriction{user.UserID, int64(user.UntilMs)})
	}
	return list, answer.Next, err
}
