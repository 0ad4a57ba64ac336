package sqlite

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

const (
	putDevice = `INSERT INTO devices (user, device, platform, family, created_ms) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (user, device) DO UPDATE SET platform = excluded.platform, family = excluded.family`
	deviceColumns = "platform, family, created_ms, name, push_provider, push_token"
	selectDevice  = "SELECT " + deviceColumns + " FROM devices WHERE user = ? AND device = ?"
	selectDevices = "SELECT " + deviceColumns + ", device FROM devices WHERE user = ?"
	selectFamily  = "SELECT family FROM devices WHERE user = ? AND device = ?"
	nameDevice    = "UPDATE devices SET name = ? WHERE user = ? AND device = ?"
	pushDevice    = "UPDATE devices SET push_provider = ?, push_token = ? WHERE user = ? AND device = ?"
	selectCursor  = "SELECT seq, receipted_seq FROM cursors WHERE user = ? AND device = ?"
	signOut       = `UPDATE devices SET family = '', push_provider = '', push_token = ''
		WHERE user = ? AND device = ? AND family = ?`
	insertRefresh = "INSERT INTO refreshes (family, generation, at_ms) VALUES (?, ?, ?)"
	lastRefresh   = "SELECT generation, at_ms FROM refreshes WHERE family = ? ORDER BY generation DESC LIMIT 1"
	selectRefresh = "SELECT generation, at_ms FROM refreshes WHERE family = ? AND generation = ?"
	pruneRefresh  = "DELETE FROM refreshes WHERE family = ? AND generation < ? AND at_ms < ?"

	// The newest generations of a family are kept, and the older ones for a while.
	keptGenerations = 2
	keptMs          = 60_000
)

// PutDevice adds a device, or gives an existing one a new platform and family.
func (s *Store) PutDevice(ctx context.Context, d im.Device) error {
	return s.write(ctx, "put device", func(t *tx) error {
		user, err := t.userKey(d.UserID)
		if err != nil {
			return err
		}
		return t.exec(putDevice, user, packID(d.DeviceID), d.Platform, d.Family, d.CreatedAtMs)
	})
}

// Device returns a device, or im.ErrNotFound.
func (s *Store) Device(ctx context.Context, userID, deviceID string) (device im.Device, err error) {
	err = s.read(ctx, "read device", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		device, err = loadDevice(c, user, userID, deviceID)
		return err
	})
	return device, err
}

func loadDevice(c *conn, user int64, userID, deviceID string) (im.Device, error) {
	device := im.Device{UserID: userID, DeviceID: deviceID}
	found, err := c.one(selectDevice, func(r row) { device = deviceOf(r, userID, deviceID) }, user, packID(deviceID))
	if err == nil && !found {
		err = fmt.Errorf("%w: device %q of user %q", im.ErrNotFound, deviceID, userID)
	}
	return device, err
}

// deviceOf is the device of a row of deviceColumns.
func deviceOf(r row, userID, deviceID string) im.Device {
	return im.Device{
		UserID: userID, DeviceID: deviceID, Platform: r.text(0), Family: r.text(1), CreatedAtMs: r.int(2),
		Name: r.text(3), Push: im.Push{Provider: r.text(4), Token: r.text(5)},
	}
}

// DevicesOf returns the devices of a user, those signed out included, in any order.
func (s *Store) DevicesOf(ctx context.Context, userID string) (devices []im.Device, err error) {
	err = s.read(ctx, "read devices", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		return c.each(selectDevices, func(r row) bool {
			devices = append(devices, deviceOf(r, userID, unpackID(r, 6)))
			return true
		}, user)
	})
	return devices, err
}

// ChangeDevice changes a device; im.ErrNotFound when there is none.
func (s *Store) ChangeDevice(ctx context.Context, userID, deviceID string, change im.DeviceChange) error {
	return s.write(ctx, "change device", func(t *tx) error {
		user, err := t.users.key(t.conn, userID)
		if err != nil {
			return err
		}
		if _, err := loadDevice(t.conn, user, userID, deviceID); err != nil {
			return err
		}
		if change.Name != nil {
			if err := t.exec(nameDevice, *change.Name, user, packID(deviceID)); err != nil {
				return err
			}
		}
		if change.Push == nil {
			return nil
		}
		return t.exec(pushDevice, change.Push.Provider, change.Push.Token, user, packID(deviceID))
	})
}

// SignOut clears the families of devices, and where they are woken, of those that still have
// the family given.
func (s *Store) SignOut(ctx context.Context, devices ...im.Device) error {
	return s.write(ctx, "sign out", func(t *tx) error {
		for i := range devices {
			user, err := t.users.key(t.conn, devices[i].UserID)
			if err != nil {
				return err
			}
			if err := t.exec(signOut, user, packID(devices[i].DeviceID), devices[i].Family); err != nil {
				return err
			}
		}
		return nil
	})
}

// InsertRefresh adds a generation to a family; im.ErrDuplicate when another
// request was faster. Generations that nobody may use any more are forgotten.
func (s *Store) InsertRefresh(ctx context.Context, r im.Refresh) error {
	return s.write(ctx, "insert refresh", func(t *tx) error {
		if err := t.exec(insertRefresh, r.Family, r.Generation, r.AtMs); err != nil {
			return err
		}
		return t.exec(pruneRefresh, r.Family, r.Generation-keptGenerations, r.AtMs-keptMs)
	})
}

// LastRefresh returns a family's highest generation, or im.ErrNotFound.
func (s *Store) LastRefresh(ctx context.Context, family string) (im.Refresh, error) {
	return s.oneRefresh(ctx, lastRefresh, family)
}

// Refresh returns one generation of a family, or im.ErrNotFound.
func (s *Store) Refresh(ctx context.Context, family string, generation int64) (im.Refresh, error) {
	return s.oneRefresh(ctx, selectRefresh, family, generation)
}

func (s *Store) oneRefresh(ctx context.Context, query, family string, more ...any) (refresh im.Refresh, err error) {
	err = s.read(ctx, "read refresh", func(c *conn) error {
		found, err := c.one(query, func(r row) {
			refresh = im.Refresh{Family: family, Generation: r.int(0), AtMs: r.int(1)}
		}, append([]any{family}, more...)...)
		if err == nil && !found {
			err = fmt.Errorf("%w: refresh family", im.ErrNotFound)
		}
		return err
	})
	return refresh, err
}

// LoginState returns everything about a user's device as of one moment;
// im.ErrNotFound when there is no such user or device.
func (s *Store) LoginState(ctx context.Context, userID, deviceID string) (state im.LoginState, err error) {
	err = s.snapshot(ctx, "read login state", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		found, err := c.one(selectUser, func(r row) { state.User = userOf(r) }, user)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: user %q", im.ErrNotFound, userID)
		}
		if state.Device, err = loadDevice(c, user, userID, deviceID); err != nil {
			return err
		}
		state.Cursor = im.Cursor{UserID: userID, DeviceID: deviceID}
		state.HasCursor, err = c.one(selectCursor, func(r row) {
			state.Cursor.Seq, state.Cursor.ReceiptedSeq = r.int(0), r.int(1)
		}, user, packID(deviceID))
		if err != nil {
			return err
		}
		return loadHead(c, user, &state.InboxHead)
	})
	return state, err
}

// Families returns the refresh families of devices, one for each, in the order asked; empty
// for one that is signed out or not there.
func (s *Store) Families(ctx context.Context, devices []im.DeviceKey) ([]string, error) {
	families := make([]string, len(devices))
	err := s.read(ctx, "read families", func(c *conn) error {
		for i, d := range devices {
			user, err := s.users.key(c, d.UserID)
			if err != nil {
				return err
			}
			if _, err := c.one(selectFamily, func(r row) { families[i] = r.text(0) }, user, packID(d.DeviceID)); err != nil {
				return err
			}
		}
		return nil
	})
	return families, err
}
