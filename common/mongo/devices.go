package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

type deviceDocument struct {
	Platform  string `bson:"platform"`
	Family    string `bson:"family"`
	CreatedMs int64  `bson:"created_ms"`
	DeviceID  string `bson:"device_id"`
	Name      string `bson:"name"`
	Provider  string `bson:"push_provider"`
	Token     string `bson:"push_token"`
}

func (d *deviceDocument) device(userID string) im.Device {
	return im.Device{
		UserID: userID, DeviceID: d.DeviceID, Platform: d.Platform, Family: d.Family, CreatedAtMs: d.CreatedMs,
		Name: d.Name, Push: im.Push{Provider: d.Provider, Token: d.Token},
	}
}

// PutDevice adds a device, or gives an existing one a new platform and family.
func (s *Store) PutDevice(ctx context.Context, d im.Device) error {
	return wrap("put device", s.raise(ctx, s.devices, []mongo.WriteModel{upsert(deviceKey(d.UserID, d.DeviceID), bson.D{
		{Key: "$set", Value: bson.D{{Key: "platform", Value: d.Platform}, {Key: "family", Value: d.Family}}},
		{Key: "$setOnInsert", Value: bson.D{{Key: "created_ms", Value: d.CreatedAtMs}}},
	})}))
}

// Device returns a device, or im.ErrNotFound.
func (s *Store) Device(ctx context.Context, userID, deviceID string) (im.Device, error) {
	row, err := one[deviceDocument](ctx, s.devices, query{filter: deviceKey(userID, deviceID).filter()})
	row.DeviceID = deviceID
	return row.device(userID), wrap("read device", notFound(err, "device %q of user %q", deviceID, userID))
}

// DevicesOf returns the devices of a user, those signed out included, in any order.
func (s *Store) DevicesOf(ctx context.Context, userID string) (devices []im.Device, err error) {
	rows, err := find[deviceDocument](ctx, s.devices, query{filter: bson.D{{Key: "user_id", Value: userID}}})
	for i := range rows {
		devices = append(devices, rows[i].device(userID))
	}
	return devices, wrap("read devices", err)
}

// Families returns the refresh families of devices, one for each, in the order asked; empty
// for one that is signed out or not there.
func (s *Store) Families(ctx context.Context, devices []im.DeviceKey) ([]string, error) {
	families := make([]string, len(devices))
	if len(devices) == 0 {
		return families, nil
	}
	ids := make([]string, len(devices))
	for i, d := range devices {
		ids[i] = deviceKey(d.UserID, d.DeviceID).id
	}
	rows, err := find[struct {
		ID     string `bson:"_id"`
		Family string `bson:"family"`
	}](ctx, s.devices, query{filter: bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, fields: ascending("family")})
	if err != nil {
		return nil, wrap("read families", err)
	}
	found := make(map[string]string, len(rows))
	for _, row := range rows {
		found[row.ID] = row.Family
	}
	for i, id := range ids {
		families[i] = found[id]
	}
	return families, nil
}

// ChangeDevice changes a device; im.ErrNotFound when there is none: devices are never
// deleted, so one that is found first is there.
func (s *Store) ChangeDevice(ctx context.Context, userID, deviceID string, change im.DeviceChange) error {
	if _, err := s.Device(ctx, userID, deviceID); err != nil {
		return err
	}
	var columns bson.D
	if change.Name != nil {
		columns = append(columns, bson.E{Key: "name", Value: *change.Name})
	}
	if change.Push != nil {
		columns = append(columns, bson.E{Key: "push_provider", Value: change.Push.Provider}, bson.E{Key: "push_token", Value: change.Push.Token})
	}
	if columns == nil {
		return nil
	}
	update := mongo.NewUpdateOneModel().SetFilter(deviceKey(userID, deviceID).filter()).SetUpdate(bson.D{{Key: "$set", Value: columns}})
	return wrap("change device", s.raise(ctx, s.devices, []mongo.WriteModel{update}))
}

// SignOut clears the families of devices, and where they are woken, of those that still have
// the family given.
func (s *Store) SignOut(ctx context.Context, devices ...im.Device) error {
	update := bson.D{{Key: "$set", Value: bson.D{
		{Key: "family", Value: ""}, {Key: "push_provider", Value: ""}, {Key: "push_token", Value: ""},
	}}}
	models := make([]mongo.WriteModel, 0, len(devices))
	for i := range devices {
		d := &devices[i]
		filter := append(deviceKey(d.UserID, d.DeviceID).filter(), bson.E{Key: "family", Value: d.Family})
		models = append(models, mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(update))
	}
	return wrap("sign out", s.raise(ctx, s.devices, models))
}

type refreshDocument struct {
	Family     string `bson:"family"`
	Generation int64  `bson:"generation"`
	AtMs       int64  `bson:"at_ms"`
}

// The newest generations of a family are kept, and the older ones for a while.
const (
	keptGenerations = 2
	keptMs          = 60_000
)

// InsertRefresh adds a generation to a family; im.ErrDuplicate when another
// request was faster. Generations that nobody may use any more are forgotten; when
// that fails, the next call does it.
func (s *Store) InsertRefresh(ctx context.Context, r im.Refresh) error {
	err := insert(ctx, s, s.refreshes, []refreshDocument{refreshDocument(r)})
	if err == nil && r.Generation > keptGenerations+1 {
		_, _ = s.refreshes.DeleteMany(ctx, bson.D{
			{Key: "family", Value: r.Family},
			{Key: "generation", Value: bson.D{{Key: "$lt", Value: r.Generation - keptGenerations}}},
			{Key: "at_ms", Value: bson.D{{Key: "$lt", Value: r.AtMs - keptMs}}},
		})
	}
	return wrap("insert refresh", err)
}

// Refresh returns one generation of a family, or im.ErrNotFound.
func (s *Store) Refresh(ctx context.Context, family string, generation int64) (im.Refresh, error) {
	row, err := one[refreshDocument](ctx, s.refreshes, query{
		filter: bson.D{{Key: "family", Value: family}, {Key: "generation", Value: generation}},
	})
	return im.Refresh(row), wrap("read refresh", notFound(err, "generation %d of a refresh family", generation))
}

// LastRefresh returns a family's highest generation, or im.ErrNotFound.
func (s *Store) LastRefresh(ctx context.Context, family string) (im.Refresh, error) {
	row, err := one[refreshDocument](ctx, s.refreshes, query{
		filter: bson.D{{Key: "family", Value: family}}, sort: descending("generation"),
	})
	return im.Refresh(row), wrap("read refresh", notFound(err, "refresh family"))
}

// LoginState returns everything about a user's device; im.ErrNotFound when there
// is no such user or device. Its parts are read at once, each with majority.
func (s *Store) LoginState(ctx context.Context, userID, deviceID string) (state im.LoginState, err error) {
	state.Cursor = im.Cursor{UserID: userID, DeviceID: deviceID}
	parts := []func() error{
		func() error {
			row, err := one[userDocument](ctx, s.users, query{filter: byID(userID)})
			state.User = row.user()
			return notFound(err, "user %q", userID)
		},
		func() (err error) {
			state.Device, err = s.Device(ctx, userID, deviceID)
			return err
		},
		func() error {
			row, err := one[cursorDocument](ctx, s.cursors, query{filter: deviceKey(userID, deviceID).filter()})
			if errors.Is(err, mongo.ErrNoDocuments) {
				return nil
			}
			state.Cursor, state.HasCursor = row.cursor(), true
			return err
		},
		func() error {
			heads, err := s.Heads(ctx, []string{userID})
			if err == nil {
				state.InboxHead = heads[0]
			}
			return err
		},
	}
	err = each(len(parts), func(i int) error { return parts[i]() })
	return state, wrap("read login state", err)
}
