package client

import (
	"context"
	"encoding/json"
	"net/url"

	"google.golang.org/protobuf/encoding/protojson"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// BroadcastTo says whom a broadcast is for: one of them.
type BroadcastTo struct {
	All     bool     `json:"all,omitempty"`
	RoomID  string   `json:"room_id,omitempty"`
	UserIDs []string `json:"user_ids,omitempty"` // at most 10,000
}

// Broadcast is a message to many and how far it is.
type Broadcast struct {
	BroadcastID string
	State       string // running, cancelled or done
	Sent        int64  // messages that are stored
	Refused     int64  // messages that could not be
}

type broadcastAnswer struct {
	BroadcastID string `json:"broadcast_id"`
	State       string `json:"state"`
	Sent        number `json:"sent"`
	Refused     number `json:"refused"`
}

func (a broadcastAnswer) broadcast() Broadcast {
	return Broadcast{a.BroadcastID, a.State, int64(a.Sent), int64(a.Refused)}
}

// Broadcast has a message sent to many, with the service key: so many per second (0 =
// 100), of several broadcasts the one of the highest priority, 0 to 9, first.
func (a *API) Broadcast(ctx context.Context, to BroadcastTo, content *imv1.Content, perSecond, priority int) (Broadcast, error) {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(content)
	if err != nil {
		return Broadcast{}, err
	}
	var answer broadcastAnswer
	err = a.call(ctx, "POST", "/v1/admin/broadcast", nil, map[string]any{
		"to": to, "content": json.RawMessage(encoded), "per_second": perSecond, "priority": priority,
	}, &answer)
	return answer.broadcast(), err
}

// ReadBroadcast returns how far a broadcast is.
func (a *API) ReadBroadcast(ctx context.Context, id string) (Broadcast, error) {
	var answer broadcastAnswer
	err := a.call(ctx, "GET", "/v1/admin/broadcast/"+url.PathEscape(id), nil, nil, &answer)
	return answer.broadcast(), err
}

// Broadcasts returns a page of all broadcasts, the newest first, and the cursor of the next
// page, empty at the end. A limit of 0 is 50, at most 200.
func (a *API) Broadcasts(ctx context.Context, cursor string, limit int) ([]Broadcast, string, error) {
	var answer struct {
		Broadcasts []broadcastAnswer `json:"broadcasts"`
		Next       string            `json:"next"`
	}
	err := a.call(ctx, "GET", "/v1/admin/broadcast", cursorValues(cursor, limit), nil, &answer)
	list := make([]Broadcast, 0, len(answer.Broadcasts))
	for _, b := range answer.Broadcasts {
		list = append(list, b.broadcast())
	}
	return list, answer.Next, err
}

// CancelBroadcast stops a broadcast. What has been sent stays.
func (a *API) CancelBroadcast(ctx context.Context, id string) error {
	return a.call(ctx, "DELETE", "/v1/admin/broadcast/"+url.PathEscape(id), nil, nil, nil)
}
