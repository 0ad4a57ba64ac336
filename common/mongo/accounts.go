package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

type userDocument struct {
	ID           string `bson:"_id"`
	Username     string `bson:"username"`
	Nickname     string `bson:"nickname"`
	PasswordHash string `bson:"password"`
	CreatedMs    int64  `bson:"created_ms"`
	Disabled     bool   `bson:"disabled"`
	Deleted      bool   `bson:"deleted,omitempty"`
	AvatarFileID string `bson:"avatar,omitempty"`
	Bio          string `bson:"bio,omitempty"`
}

func userRow(u im.User) userDocument {
	return userDocument{u.ID, u.Username, u.Nickname, u.PasswordHash, u.CreatedAtMs, u.Disabled, u.Deleted, u.AvatarFileID, u.Bio}
}

func (d *userDocument) user() im.User {
	return im.User{
		ID: d.ID, Username: d.Username, Nickname: d.Nickname, PasswordHash: d.PasswordHash,
		CreatedAtMs: d.CreatedMs, Disabled: d.Disabled, Deleted: d.Deleted, AvatarFileID: d.AvatarFileID, Bio: d.Bio,
	}
}

// CreateUser adds a user; im.ErrDuplicate when the name or the id is taken.
func (s *Store) CreateUser(ctx context.Context, user im.User) error {
	return wrap("create user", insert(ctx, s, s.users, []userDocument{userRow(user)}))
}

// UserByName returns the user of a name, or im.ErrNotFound.
func (s *Store) UserByName(ctx context.Context, username string) (im.User, error) {
	row, err := one[userDocument](ctx, s.users, query{filter: bson.D{{Key: "username", Value: username}}})
	return row.user(), wrap("read user", notFound(err, "user name %q", username))
}

// UsersByID returns the users that exist among ids, each once.
func (s *Store) UsersByID(ctx context.Context, ids []string) (users []im.User, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := find[userDocument](ctx, s.users, byIDs(ids))
	for i := range rows {
		users = append(users, rows[i].user())
	}
	return users, wrap("read users", err)
}

// EnsureUsers makes the users whose names are missing, one by one as far as others
// are concerned. Of a name asked twice only the first may be reported as made.
func (s *Store) EnsureUsers(ctx context.Context, users []im.User) ([]im.User, []bool, error) {
	made := make([]bool, len(users))
	there, err := s.usersByName(ctx, users)
	if err != nil {
		return nil, nil, wrap("read users", err)
	}
	var rows []userDocument
	var places []int
	asked := make(map[string]bool)
	for i, u := range users {
		if _, is := there[u.Username]; is || asked[u.Username] {
			continue
		}
		asked[u.Username] = true
		rows, places = append(rows, userRow(u)), append(places, i)
	}
	refused, err := s.insertMissing(ctx, rows)
	if err != nil {
		return nil, nil, wrap("ensure users", err)
	}
	for k, i := range places {
		made[i] = !refused[k]
	}
	if len(rows) > 0 {
		if there, err = s.usersByName(ctx, users); err != nil {
			return nil, nil, wrap("read users made", err)
		}
	}
	all := make([]im.User, len(users))
	for i, u := range users {
		var is bool
		if all[i], is = there[u.Username]; !is {
			return nil, nil, fmt.Errorf("ensure users: %w: the id of %q is another's", im.ErrDuplicate, u.Username)
		}
	}
	return all, made, nil
}

func (s *Store) usersByName(ctx context.Context, users []im.User) (map[string]im.User, error) {
	byName := make(map[string]im.User, len(users))
	if len(users) == 0 {
		return byName, nil
	}
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.Username
	}
	rows, err := find[userDocument](ctx, s.users, query{
		filter: bson.D{{Key: "username", Value: bson.D{{Key: "$in", Value: names}}}}, limit: len(names),
	})
	for i := range rows {
		byName[rows[i].Username] = rows[i].user()
	}
	return byName, err
}

// insertMissing inserts every row that it can, in short bulks, since some servers
// lose count in long ones, and returns the places of those refused as duplicates.
func (s *Store) insertMissing(ctx context.Context, rows []userDocument) (map[int]bool, error) {
	refused := make(map[int]bool)
	for from := 0; from < len(rows); from += maxBulkForeign {
		part := rows[from:min(from+maxBulkForeign, len(rows))]
		_, err := s.users.InsertMany(ctx, part, options.InsertMany().SetOrdered(false))
		var bulk mongo.BulkWriteException
		if err != nil && (!errors.As(err, &bulk) || bulk.WriteConcernError != nil) {
			return nil, writeError(err, from > 0)
		}
		for _, failure := range bulk.WriteErrors {
			if !mongo.IsDuplicateKeyError(failure) {
				return nil, writeError(failure, true)
			}
			refused[from+failure.Index] = true
		}
	}
	return refused, nil
}

// UsersByPrefix returns up to limit users whose names begin with a prefix, by name,
// behind a name.
func (s *Store) UsersByPrefix(ctx context.Context, prefix, after string, limit int) (users []im.User, err error) {
	from := bson.E{Key: "$gte", Value: prefix}
	if after >= prefix {
		from = bson.E{Key: "$gt", Value: after}
	}
	rows, err := find[userDocument](ctx, s.users, query{
		filter: bson.D{{Key: "username", Value: bson.D{from, {Key: "$lt", Value: prefix + "\x7f"}}}},
		sort:   ascending("username"), limit: limit,
	})
	for i := range rows {
		users = append(users, rows[i].user())
	}
	return users, wrap("search users", err)
}

// ChangeAccount changes an account; im.ErrNotFound when there is none. One that is
// deleted stays so.
func (s *Store) ChangeAccount(ctx context.Context, userID string, change im.AccountChange) error {
	if _, err := one[userDocument](ctx, s.users, query{filter: byID(userID)}); err != nil {
		return wrap("change account", notFound(err, "user %q", userID))
	}
	var columns bson.D
	if change.PasswordHash != nil {
		columns = append(columns, bson.E{Key: "password", Value: *change.PasswordHash})
	}
	if change.Disabled != nil {
		columns = append(columns, bson.E{Key: "disabled", Value: *change.Disabled})
	}
	of := append(byID(userID), bson.E{Key: "deleted", Value: bson.D{{Key: "$ne", Value: true}}})
	if change.Delete {
		of = byID(userID)
		columns = bson.D{
			{Key: "deleted", Value: true}, {Key: "disabled", Value: true}, {Key: "password", Value: ""}, {Key: "nickname", Value: ""},
			{Key: "avatar", Value: ""}, {Key: "bio", Value: ""}, {Key: "nickname_seq", Value: int64(im.Forever)},
			{Key: "avatar_seq", Value: int64(im.Forever)}, {Key: "bio_seq", Value: int64(im.Forever)},
		}
	}
	if len(columns) == 0 {
		return nil
	}
	update := mongo.NewUpdateOneModel().SetFilter(of).SetUpdate(bson.D{{Key: "$set", Value: columns}})
	return wrap("change account", s.raise(ctx, s.users, []mongo.WriteModel{update}))
}
