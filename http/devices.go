package http

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

// DevicePath names a device of the caller.
type DevicePath struct {
	ID string `path:"id" doc:"A device_id of one's own."`
}

// DeviceList is a page of a user's devices.
type DeviceList struct {
	Devices []DeviceView `json:"devices" nullable:"false" doc:"Those that are signed in, by device_id."`
	Next    string       `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// DeviceView is a device as its user sees it.
type DeviceView struct {
	DeviceID     string    `json:"device_id"`
	Platform     string    `json:"platform" enum:"web,desktop,ios,android,tablet,other"`
	Name         string    `json:"name,omitempty"`
	Current      bool      `json:"current,omitempty" doc:"The device that asks."`
	CreatedAtMs  int64Text `json:"created_at_ms" doc:"When it signed in first."`
	Cursor       int64Text `json:"cursor,omitempty" doc:"The inbox seq up to which it has acknowledged."`
	PushProvider string    `json:"push_provider,omitempty" doc:"Left out: nothing wakes it."`
}

type changeDeviceRequest struct {
	DevicePath
	Body struct {
		Name         *string `json:"name" doc:"At most 128 bytes."`
		PushProvider *string `json:"push_provider" doc:"At most 64 bytes, such as apns or fcm; with push_token, of the asking device alone. Both empty: nothing wakes it."`
		PushToken    *string `json:"push_token" doc:"What the provider has given the device; at most 4 KiB. It is shown to nobody."`
	}
}

func (s *Server) deviceRoutes(api huma.API) {
	register(s, api, operation("list-devices", http.MethodGet, "/v1/devices", "Devices", byToken, "List one's devices",
		"Those that are signed in."), s.listDevices)
	register(s, api, operation("change-device", http.MethodPatch, "/v1/devices/{id}", "Devices", byToken, "Name a device, or say how to wake it",
		"What is left out stays. What wakes a device is for itself to say, to others it is forbidden."), s.changeDevice)
	register(s, api, operation("delete-device", http.MethodDelete, "/v1/devices/{id}", "Devices", byToken, "Sign a device out",
		"Its tokens end at once and its connection is closed (revoked). Its cursor and its name stay for when it signs in again."), s.signOutDevice)
	register(s, api, operation("delete-other-devices", http.MethodDelete, "/v1/devices", "Devices", byToken, "Sign all other devices out",
		"All but the one that asks. Who has no answer may ask again."), s.signOutOthers)
}

func (s *Server) listDevices(ctx context.Context, in *PageQuery) (*answer[DeviceList], error) {
	caller := callerOf(ctx)
	devices, err := s.Devices.DevicesOf(ctx, caller.UserID)
	if err != nil {
		return nil, wrap("list devices", err)
	}
	devices = slices.DeleteFunc(devices, func(d im.Device) bool { return d.Family == "" })
	list := DeviceList{Devices: []DeviceView{}}
	if devices, list.Next, err = sortedPage(in, devices, func(d *im.Device) string { return d.DeviceID }); err != nil {
		return nil, err
	}
	cursors, err := s.cursorsOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		list.Devices = append(list.Devices, DeviceView{
			DeviceID: d.DeviceID, Platform: d.Platform, Name: d.Name, Current: d.DeviceID == caller.DeviceID,
			CreatedAtMs: int64Text(d.CreatedAtMs), Cursor: int64Text(cursors[d.DeviceID]), PushProvider: d.Push.Provider,
		})
	}
	return reply(list), nil
}

// cursorsOf returns the cursors of a user's devices, by device.
func (s *Server) cursorsOf(ctx context.Context, userID string) (map[string]int64, error) {
	rows, err := s.Devices.Cursors(ctx, []string{userID})
	if err != nil {
		return nil, wrap("read cursors", err)
	}
	cursors := make(map[string]int64, len(rows))
	for _, c := range rows {
		cursors[c.DeviceID] = c.Seq
	}
	return cursors, nil
}

func (s *Server) changeDevice(ctx context.Context, in *changeDeviceRequest) (*nothing, error) {
	caller, body := callerOf(ctx), &in.Body
	change := im.DeviceChange{Name: body.Name}
	if body.Name != nil && !printed(*body.Name, im.MaxDeviceNameBytes) {
		return nil, invalid("a name has at most %d bytes and no control characters", im.MaxDeviceNameBytes)
	}
	if body.PushProvider != nil || body.PushToken != nil {
		push, err := pushOf(body.PushProvider, body.PushToken)
		if err != nil {
			return nil, err
		}
		change.Push = &push
	}
	if change == (im.DeviceChange{}) {
		return nil, invalid("name, or push_provider and push_token, must be given")
	}
	device, err := s.deviceByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if change.Push != nil && device.DeviceID != caller.DeviceID {
		return nil, im.Errorf(im.Forbidden, "what wakes a device it says itself")
	}
	err = again(func() error { return s.Devices.ChangeDevice(ctx, caller.UserID, in.ID, change) })
	return nil, wrap("change device", err)
}

// deviceByID returns a device of the caller that is signed in.
func (s *Server) deviceByID(ctx context.Context, deviceID string) (im.Device, error) {
	device, err := s.anyDevice(ctx, deviceID)
	if err == nil && device.Family == "" {
		return device, noSuchDevice()
	}
	return device, err
}

// anyDevice returns a device of the caller, also one that is signed out.
func (s *Server) anyDevice(ctx context.Context, deviceID string) (im.Device, error) {
	if !im.ValidID(deviceID) {
		return im.Device{}, noSuchDevice()
	}
	device, err := s.Devices.Device(ctx, callerOf(ctx).UserID, deviceID)
	if errors.Is(err, im.ErrNotFound) {
		return device, noSuchDevice()
	}
	return device, wrap("look up device", err)
}

func noSuchDevice() error { return im.Errorf(im.NotFound, "you have no such device") }

// pushOf is where a device is to be woken. Provider and token go together.
func pushOf(provider, token *string) (im.Push, error) {
	if provider == nil || token == nil || (*provider == "") != (*token == "") {
		return im.Push{}, invalid("push_provider and push_token go together")
	}
	if !printed(*provider, im.MaxPushProviderBytes) || !printed(*token, im.MaxPushTokenBytes) {
		return im.Push{}, invalid("push_provider has at most %d bytes, push_token %d, and no control characters",
			im.MaxPushProviderBytes, im.MaxPushTokenBytes)
	}
	return im.Push{Provider: *provider, Token: *token}, nil
}

// printed reports whether a text is short enough and can be shown.
func printed(text string, most int) bool {
	return len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, control)
}

// signOutDevice may be asked for again by who has no answer: the tokens have ended then,
// and the connection is closed once more.
func (s *Server) signOutDevice(ctx context.Context, in *DevicePath) (*nothing, error) {
	device, err := s.anyDevice(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.revoke(ctx, device)
}

func (s *Server) signOutOthers(ctx context.Context, _ *nothing) (*nothing, error) {
	caller := callerOf(ctx)
	return nil, s.signOutAll(ctx, caller.UserID, caller.DeviceID)
}
