package client

import (
	"context"
	"net/url"
)

// Device is one of the user's devices that are signed in.
type Device struct {
	DeviceID     string
	Platform     string // web, desktop, ios, android, tablet or other
	Name         string
	Current      bool   // the one that asks
	CreatedAtMs  int64  // when it signed in first, Unix milliseconds
	Cursor       int64  // the inbox seq up to which it has acknowledged
	PushProvider string // empty: nothing wakes it
}

func devicePath(deviceID string) string { return "/v1/devices/" + url.PathEscape(deviceID) }

// Devices returns a page of one's devices, by device id, and the cursor of the next
// page, empty at the end. A limit of 0 is 50, at most 200.
func (a *API) Devices(ctx context.Context, cursor string, limit int) ([]Device, string, error) {
	var answer struct {
		Devices []struct {
			DeviceID     string `json:"device_id"`
			Platform     string `json:"platform"`
			Name         string `json:"name"`
			Current      bool   `json:"current"`
			CreatedAtMs  number `json:"created_at_ms"`
			Cursor       number `json:"cursor"`
			PushProvider string `json:"push_provider"`
		} `json:"devices"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", "/v1/devices", cursorValues(cursor, limit), nil, &answer)
	devices := make([]Device, 0, len(answer.Devices))
	for _, d := range answer.Devices {
		devices = append(devices, Device{d.DeviceID, d.Platform, d.Name, d.Current, int64(d.CreatedAtMs), int64(d.Cursor), d.PushProvider})
	}
	return devices, answer.Next, err
}

// NameDevice gives one of one's devices a name; empty takes it away.
func (a *API) NameDevice(ctx context.Context, deviceID, name string) error {
	return a.call(ctx, "PATCH", devicePath(deviceID), nil, map[string]string{"name": name}, nil)
}

// SetPush says by which provider, and under which token of it, the device that asks is
// woken; both empty: by none.
func (a *API) SetPush(ctx context.Context, deviceID, provider, token string) error {
	body := map[string]string{"push_provider": provider, "push_token": token}
	return a.call(ctx, "PATCH", devicePath(deviceID), nil, body, nil)
}

// SignOutDevice ends the tokens of one of one's devices and closes its live session.
func (a *API) SignOutDevice(ctx context.Context, deviceID string) error {
	return a.call(ctx, "DELETE", devicePath(deviceID), nil, nil, nil)
}

// SignOutOthers is SignOutDevice for all of one's devices but the one that asks.
func (a *API) SignOutOthers(ctx context.Context) error {
	return a.call(ctx, "DELETE", "/v1/devices", nil, nil, nil)
}

// Connection is a line of the journal of one's connections.
type Connection struct {
	SessionID   string
	DeviceID    string
	Platform    string
	Transport   string // websocket or tcp
	Remote      string // host and port that it came from
	Client      string // what the client said it is
	UserAgent   string
	OnlineAtMs  int64  // Unix milliseconds
	OfflineAtMs int64  // 0 = it is live, or lost and nobody knows since when
	Reason      string // why it ended: a disconnect code, left or lost; empty while it is live
}

// ConnectionsQuery asks for a page of the journal, those that began last first.
type ConnectionsQuery struct {
	UserID   string // whose, with the service key as the token; empty = one's own
	DeviceID string // empty = of all devices
	Cursor   string
	Limit    int // 0 = 50, at most 200
}

// Connections returns a page of the journal of connections, and the cursor of the next
// page, empty at the end.
func (a *API) Connections(ctx context.Context, query ConnectionsQuery) ([]Connection, string, error) {
	values := pageValues(query.Limit)
	for key, value := range map[string]string{"user_id": query.UserID, "device_id": query.DeviceID, "cursor": query.Cursor} {
		if value != "" {
			values.Set(key, value)
		}
	}
	path := "/v1/connections"
	if query.UserID != "" {
		path = "/v1/service/connections"
	}
	var answer struct {
		Connections []struct {
			SessionID   string `json:"session_id"`
			DeviceID    string `json:"device_id"`
			Platform    string `json:"platform"`
			Transport   string `json:"transport"`
			Remote      string `json:"remote"`
			Client      string `json:"client"`
			UserAgent   string `json:"user_agent"`
			OnlineAtMs  number `json:"online_at_ms"`
			OfflineAtMs number `json:"offline_at_ms"`
			Reason      string `json:"reason"`
		} `json:"connections"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", path, values, nil, &answer)
	connections := make([]Connection, 0, len(answer.Connections))
	for _, c := range answer.Connections {
		connections = append(connections, Connection{
			c.SessionID, c.DeviceID, c.Platform, c.Transport, c.Remote, c.Client, c.UserAgent,
			int64(c.OnlineAtMs), int64(c.OfflineAtMs), c.Reason,
		})
	}
	return connections, answer.Next, err
}
