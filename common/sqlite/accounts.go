package sqlite

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

const (
	userColumns    = "k.id, u.username, u.nickname, u.password, u.created_ms, u.disabled, u.deleted, u.avatar, u.bio"
	selectUser     = "SELECT " + userColumns + " FROM users u JOIN user_keys k ON k.key = u.user WHERE u.user = ?"
	selectUserName = "SELECT " + userColumns + " FROM users u JOIN user_keys k ON k.key = u.user WHERE u.username = ?"
	selectLike     = "SELECT " + userColumns + ` FROM users u JOIN user_keys k ON k.key = u.user
		WHERE u.username > ? AND u.username >= ? AND u.username < ? ORDER BY u.username LIMIT ?`
	insertUser = `INSERT INTO users (user, username, nickname, password, created_ms, disabled, avatar, bio)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	setPassword = "UPDATE users SET password = ? WHERE user = ? AND NOT deleted" //nolint:gosec // a statement, no password
	setDisabled = "UPDATE users SET disabled = ? WHERE user = ? AND NOT deleted"
	deleteUser  = `UPDATE users SET deleted = 1, disabled = 1, password = '', nickname = '', avatar = '', bio = '',
		nickname_seq = ?, avatar_seq = ?, bio_seq = ? WHERE user = ?`
)

func userOf(r row) im.User {
	return im.User{
		ID: r.text(0), Username: r.text(1), Nickname: r.text(2), PasswordHash: r.text(3),
		CreatedAtMs: r.int(4), Disabled: r.int(5) != 0, Deleted: r.int(6) != 0, AvatarFileID: r.text(7), Bio: r.text(8),
	}
}

func (t *tx) insertUser(u *im.User) error {
	user, err := t.userKey(u.ID)
	if err != nil {
		return err
	}
	return t.exec(insertUser, user, u.Username, u.Nickname, u.PasswordHash, u.CreatedAtMs, u.Disabled, u.AvatarFileID, u.Bio)
}

// CreateUser adds a user; im.ErrDuplicate when the name or the id is taken.
func (s *Store) CreateUser(ctx context.Context, user im.User) error {
	return s.write(ctx, "create user", func(t *tx) error { return t.insertUser(&user) })
}

// UserByName returns the user of a name, or im.ErrNotFound.
func (s *Store) UserByName(ctx context.Context, username string) (user im.User, err error) {
	err = s.read(ctx, "read user", func(c *conn) error {
		found, err := c.one(selectUserName, func(r row) { user = userOf(r) }, username)
		if err == nil && !found {
			err = fmt.Errorf("%w: user name %q", im.ErrNotFound, username)
		}
		return err
	})
	return user, err
}

// UsersByID returns the users that exist among ids, each once.
func (s *Store) UsersByID(ctx context.Context, ids []string) (users []im.User, err error) {
	seen := make(map[string]bool, len(ids))
	err = s.read(ctx, "read users", func(c *conn) error {
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			key, err := s.users.key(c, id)
			if err != nil {
				return err
			}
			if _, err := c.one(selectUser, func(r row) { users = append(users, userOf(r)) }, key); err != nil {
				return err
			}
		}
		return nil
	})
	return users, err
}

// EnsureUsers makes the users whose names are missing, all in one transaction.
// Of a name asked twice only the first may be reported as made.
func (s *Store) EnsureUsers(ctx context.Context, users []im.User) ([]im.User, []bool, error) {
	there, made := make([]im.User, len(users)), make([]bool, len(users))
	err := s.write(ctx, "ensure users", func(t *tx) error {
		for i := range users {
			found, err := t.one(selectUserName, func(r row) { there[i] = userOf(r) }, users[i].Username)
			if err != nil {
				return err
			}
			if found {
				continue
			}
			if err := t.insertUser(&users[i]); err != nil {
				return err
			}
			there[i], made[i] = users[i], true
		}
		return nil
	})
	return there, made, err
}

// UsersByPrefix returns up to limit users whose names begin with a prefix, by name,
// behind a name.
func (s *Store) UsersByPrefix(ctx context.Context, prefix, after string, limit int) (users []im.User, err error) {
	err = s.read(ctx, "search users", func(c *conn) error {
		return c.each(selectLike, func(r row) bool {
			users = append(users, userOf(r))
			return true
		}, after, prefix, prefix+"\x7f", int64(limit))
	})
	return users, err
}

// ChangeAccount changes an account; im.ErrNotFound when there is none. One that is
// deleted stays so.
func (s *Store) ChangeAccount(ctx context.Context, userID string, change im.AccountChange) error {
	return s.write(ctx, "change account", func(t *tx) error {
		user, err := t.users.key(t.conn, userID)
		if err != nil {
			return err
		}
		found, err := t.one(selectUser, func(row) {}, user)
		switch {
		case err != nil:
			return err
		case !found:
			return fmt.Errorf("%w: user %q", im.ErrNotFound, userID)
		}
		return t.changeAccount(user, change)
	})
}

func (t *tx) changeAccount(user int64, change im.AccountChange) error {
	if change.PasswordHash != nil {
		if err := t.exec(setPassword, *change.PasswordHash, user); err != nil {
			return err
		}
	}
	if change.Disabled != nil {
		if err := t.exec(setDisabled, *change.Disabled, user); err != nil {
			return err
		}
	}
	if !change.Delete {
		return nil
	}
	return t.exec(deleteUser, int64(im.Forever), int64(im.Forever), int64(im.Forever), user)
}
