package sqlite

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

const (
	userColumns    = "k.id, u.username, u.nickname, u.password, u.created_ms, u.disabled"
	selectUser     = "SELECT " + userColumns + " FROM users u JOIN user_keys k ON k.key = u.user WHERE u.user = ?"
	selectUserName = "SELECT " + userColumns + " FROM users u JOIN user_keys k ON k.key = u.user WHERE u.username = ?"
	insertUser     = `INSERT INTO users (user, username, nickname, password, created_ms, disabled)
		VALUES (?, ?, ?, ?, ?, ?)`
)

func userOf(r row) im.User {
	return im.User{
		ID: r.text(0), Username: r.text(1), Nickname: r.text(2), PasswordHash: r.text(3),
		CreatedAtMs: r.int(4), Disabled: r.int(5) != 0,
	}
}

func (t *tx) insertUser(u *im.User) error {
	user, err := t.userKey(u.ID)
	if err != nil {
		return err
	}
	return t.exec(insertUser, user, u.Username, u.Nickname, u.PasswordHash, u.CreatedAtMs, u.Disabled)
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
