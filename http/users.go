package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

type registration struct {
	Username string `json:"username" doc:"1 to 64 of a-z 0-9 . _ -; capitals are lowered."`
	Password string `json:"password" doc:"8 to 128 bytes."`
	Nickname string `json:"nickname" doc:"At most 128 bytes."`
}

type userIDBody struct {
	UserID string `json:"user_id"`
}

// UserProfile is what any user may know of another.
type UserProfile struct {
	UserID       string `json:"user_id"`
	Username     string `json:"username"`
	Nickname     string `json:"nickname,omitempty"`
	AvatarFileID string `json:"avatar_file_id,omitempty"`
	Bio          string `json:"bio,omitempty"`
	Deleted      bool   `json:"deleted,omitempty" doc:"The account is gone; of it there is only the id."`
}

// profileOf is what any user may know of one.
func profileOf(u *im.User) UserProfile {
	if u.Deleted {
		return UserProfile{UserID: u.ID, Deleted: true}
	}
	return UserProfile{UserID: u.ID, Username: u.Username, Nickname: u.Nickname, AvatarFileID: u.AvatarFileID, Bio: u.Bio}
}

type userQuery struct {
	Query string `query:"query" doc:"A user_id, or the beginning of a username; capitals are lowered."`
	PageQuery
}

// UserList is the answer to a search.
type UserList struct {
	Users []UserProfile `json:"users" nullable:"false" doc:"By username, but the one with just this id first."`
	Next  string        `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

type userPath struct {
	ID string `path:"id" doc:"A user_id."`
}

func (s *Server) userRoutes(api huma.API) {
	create := operation("create-user", http.MethodPost, "/v1/users", "Users", byNobody,
		"Register", "Makes an account. A name that is taken is a conflict.")
	create.DefaultStatus = http.StatusCreated
	register(s, api, create, s.createUser)
	register(s, api, operation("find-users", http.MethodGet, "/v1/users", "Users", byToken,
		"Find users", "By id, or by the beginning of their names; disabled accounts are not found."), s.findUsers)
	register(s, api, operation("get-user", http.MethodGet, "/v1/users/{id}", "Users", byToken,
		"Read a profile", "What others see of a user; me is oneself."), s.readProfile)
}

func (s *Server) createUser(ctx context.Context, in *request[registration]) (*answer[userIDBody], error) {
	if s.policy.Load().RefuseRegistration {
		return nil, im.Errorf(im.Forbidden, "registration is switched off")
	}
	user, err := s.newUser(in.Body.Username, in.Body.Nickname)
	if err != nil {
		return nil, err
	}
	if !im.ValidPassword(in.Body.Password) {
		return nil, invalid("a password has 8 to 128 bytes")
	}
	if wait := s.joins.take(network(recordOf(ctx).remote), s.config.Now()); wait > 0 {
		return nil, im.Retry(im.RateLimited, wait, "too many registrations from this address")
	}
	switch _, err := s.Accounts.UserByName(ctx, user.Username); { // before a hash is spent on it
	case err == nil:
		return nil, taken(user.Username)
	case !errors.Is(err, im.ErrNotFound):
		return nil, fmt.Errorf("look up user name: %w", err)
	}
	if user.PasswordHash, err = s.hashing.hash(ctx, in.Body.Password); err != nil {
		return nil, err
	}
	if err := s.insertUser(ctx, user); err != nil {
		return nil, err
	}
	im.CrashPoint(im.CrashUserMade)
	return reply(userIDBody{user.ID}), nil
}

// findUsers shows who has the id first, on the first page, and then those whose names
// begin so, by name: the one with just this name is the first of them.
func (s *Server) findUsers(ctx context.Context, in *userQuery) (*answer[UserList], error) {
	list := UserList{Users: []UserProfile{}}
	after, limit, err := in.behind()
	if err != nil {
		return nil, err
	}
	if in.Cursor == "" && im.ValidID(in.Query) {
		users, err := s.Accounts.UsersByID(ctx, []string{in.Query})
		if err != nil {
			return nil, fmt.Errorf("look up user: %w", err)
		}
		list.add(users)
	}
	prefix, ok := im.NormalUsername(in.Query)
	if !ok {
		return reply(list), nil
	}
	users, err := s.Accounts.UsersByPrefix(ctx, prefix, after, limit+1)
	if err != nil {
		return nil, fmt.Errorf("search users: %w", err)
	}
	if len(users) > limit {
		users = users[:limit]
		list.Next = keyCursor(users[limit-1].Username)
	}
	list.add(users)
	return reply(list), nil
}

func (l *UserList) add(users []im.User) {
	for i := range users {
		if !users[i].Disabled {
			l.Users = append(l.Users, profileOf(&users[i]))
		}
	}
}

// newUser checks what the client says of a user and gives them an id.
func (s *Server) newUser(name, nickname string) (im.User, error) {
	username, ok := im.NormalUsername(name)
	if !ok {
		return im.User{}, invalid("a username has 1 to 64 of a-z 0-9 . _ -")
	}
	if len(nickname) > im.MaxNicknameBytes || !utf8.ValidString(nickname) || strings.ContainsFunc(nickname, control) {
		return im.User{}, invalid("a nickname has at most %d bytes and no control characters", im.MaxNicknameBytes)
	}
	return im.User{ID: im.NewID(), Username: username, Nickname: nickname, CreatedAtMs: s.nowMs()}, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// insertUser adds a user. When the outcome is not known, whose id the name leads
// to tells it.
func (s *Server) insertUser(ctx context.Context, user im.User) error {
	err := s.Accounts.CreateUser(ctx, user)
	if !errors.Is(err, im.ErrDuplicate) && !errors.Is(err, im.ErrUnknown) {
		return wrap("create user", err)
	}
	stored, readErr := s.Accounts.UserByName(ctx, user.Username)
	switch {
	case readErr == nil && stored.ID == user.ID:
		return nil
	case readErr == nil:
		return taken(user.Username)
	}
	unknown := im.Retry(im.Unavailable, time.Second, "it is not known whether the user was made")
	return fmt.Errorf("%w: %v; read it again: %v", unknown, err, readErr) //nolint:errorlint // for the log
}

func taken(username string) error {
	return im.Errorf(im.Conflict, "the username %q is taken", username)
}

func (s *Server) readProfile(ctx context.Context, in *userPath) (*answer[UserProfile], error) {
	if in.ID == "me" {
		in.ID = callerOf(ctx).UserID
	}
	user, err := s.userByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return reply(profileOf(&user)), nil
}

// userByID returns a user; im.NotFound for an id that is nobody's.
func (s *Server) userByID(ctx context.Context, id string) (im.User, error) {
	notFound := im.Errorf(im.NotFound, "there is no such user")
	if !im.ValidID(id) {
		return im.User{}, notFound
	}
	users, err := s.Accounts.UsersByID(ctx, []string{id})
	if err != nil {
		return im.User{}, fmt.Errorf("look up user: %w", err)
	}
	if len(users) == 0 {
		return im.User{}, notFound
	}
	return users[0], nil
}

func (s *Server) nowMs() int64 { return s.config.Now().UnixMilli() }

// wrap adds the action to an error, and keeps nil.
func wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", action, err)
}
