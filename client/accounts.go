package client

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Tokens are what a log-in gives: they belong to one user, device and platform.
type Tokens struct {
	UserID       string    `json:"user_id"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token,omitempty"` // used once; empty = cannot be refreshed
	ExpiresAt    time.Time `json:"expires_at"`              // when AccessToken ends; zero = not known
}

// User is an account as others see it.
type User struct {
	UserID       string `json:"user_id"`
	Username     string `json:"username"`
	Nickname     string `json:"nickname"`
	AvatarFileID string `json:"avatar_file_id,omitempty"`
	Bio          string `json:"bio,omitempty"`
	Deleted      bool   `json:"deleted,omitempty"` // of it there is only the id
}

// ProfileChanges are what ChangeProfile sets; nil leaves it as it is.
type ProfileChanges struct {
	Nickname     *string `json:"nickname,omitempty"`
	AvatarFileID *string `json:"avatar_file_id,omitempty"`
	Bio          *string `json:"bio,omitempty"`
}

// Gateway is a live server to connect to.
type Gateway struct {
	ServerID string `json:"server_id"`
	Address  string `json:"address"`
	URL      string `json:"url"` // ws://…/ws or tcp://…
}

type tokenAnswer struct {
	UserID       string `json:"user_id"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    number `json:"expires_in"`
}

func (t tokenAnswer) tokens(asked time.Time) Tokens {
	tokens := Tokens{UserID: t.UserID, AccessToken: t.AccessToken, RefreshToken: t.RefreshToken}
	if t.ExpiresIn > 0 {
		tokens.ExpiresAt = asked.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	return tokens
}

// tokensFrom makes a call that answers with tokens. Their end is counted from
// before the call, so that it is never thought to be later than it is.
func (a *API) tokensFrom(ctx context.Context, path string, in any) (Tokens, error) {
	asked := time.Now()
	var answer tokenAnswer
	if err := a.call(ctx, "POST", path, nil, in, &answer); err != nil {
		return Tokens{}, err
	}
	return answer.tokens(asked), nil
}

// Register makes an account and returns its user id; im.Conflict when the name is
// taken.
func (a *API) Register(ctx context.Context, username, password, nickname string) (string, error) {
	var answer User
	err := a.call(ctx, "POST", "/v1/users", nil, map[string]string{
		"username": username, "password": password, "nickname": nickname,
	}, &answer)
	return answer.UserID, err
}

// Login gets tokens for a device; im.Unauthenticated for a wrong name or
// password.
func (a *API) Login(ctx context.Context, username, password, deviceID, platform string) (Tokens, error) {
	return a.tokensFrom(ctx, "/v1/sessions", map[string]string{
		"username": username, "password": password, "device_id": deviceID, "platform": platform,
	})
}

// Refresh turns a refresh token into new tokens. Called again within 30 s, as
// after a lost answer, it gives the same ones.
func (a *API) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	return a.tokensFrom(ctx, "/v1/sessions/refresh", map[string]string{"refresh_token": refreshToken})
}

// SignOut ends the tokens in use and closes the device's live session.
func (a *API) SignOut(ctx context.Context) error {
	return a.call(ctx, "DELETE", "/v1/sessions/current", nil, nil, nil)
}

// Gateway asks for a live server of a transport ("websocket" or "tcp"), if
// possible none of those excluded; im.Unavailable when there is none.
func (a *API) Gateway(ctx context.Context, transport string, exclude []string) (Gateway, error) {
	var gateway Gateway
	err := a.call(ctx, "GET", "/v1/gateway", url.Values{"transport": {transport}, "exclude": exclude}, nil, &gateway)
	return gateway, err
}

// User returns the account of a user id, or im.NotFound.
func (a *API) User(ctx context.Context, userID string) (User, error) {
	var user User
	err := a.call(ctx, "GET", "/v1/users/"+url.PathEscape(userID), nil, nil, &user)
	return user, err
}

// FindUsers returns the accounts that have exactly this user name: one or none.
func (a *API) FindUsers(ctx context.Context, username string) ([]User, error) {
	users, _, err := a.SearchUsers(ctx, username, "", 2) // one may have it for an id
	return slices.DeleteFunc(users, func(u User) bool { return !strings.EqualFold(u.Username, username) }), err
}

// SearchUsers returns a page of the accounts that have this id, or whose user names
// begin so, by name, and the cursor of the next page, empty at the end. A limit of 0 is
// 50, at most 200.
func (a *API) SearchUsers(ctx context.Context, query, cursor string, limit int) ([]User, string, error) {
	var answer struct {
		Users []User `json:"users"`
		Next  string `json:"next"`
	}
	values := cursorValues(cursor, limit)
	values.Set("query", query)
	err := a.call(ctx, "GET", "/v1/users", values, nil, &answer)
	return answer.Users, answer.Next, err
}

// ChangeProfile changes what others see of oneself.
func (a *API) ChangeProfile(ctx context.Context, changes ProfileChanges) error {
	return a.call(ctx, "PATCH", "/v1/users/me", nil, changes, nil)
}

// ChangePassword changes one's password and signs all other devices out; im.Forbidden
// where the old one is wrong.
func (a *API) ChangePassword(ctx context.Context, old, fresh string) error {
	return a.call(ctx, "PUT", "/v1/users/me/password", nil, map[string]string{"old": old, "new": fresh}, nil)
}

// DeleteAccount deletes one's account, for good, and signs all devices out.
func (a *API) DeleteAccount(ctx context.Context) error {
	return a.call(ctx, "DELETE", "/v1/users/me", nil, nil, nil)
}

// DisableUser takes an account out of use, or gives it back. It needs the service key
// as the token.
func (a *API) DisableUser(ctx context.Context, userID string, disabled bool) error {
	return a.call(ctx, "PATCH", "/v1/service/users/"+url.PathEscape(userID), nil, map[string]bool{"disabled": disabled}, nil)
}

// NewUser is an account to be made by EnsureUsers.
type NewUser struct {
	Username string `json:"username"`
	Nickname string `json:"nickname,omitempty"`
}

// EnsuredUser is an account that EnsureUsers has found or made.
type EnsuredUser struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	Created  bool   `json:"created"`
}

// EnsureUsers makes the accounts that are missing, at most 1,000 in a call, and
// returns all in the order asked. It needs the service key as the token.
func (a *API) EnsureUsers(ctx context.Context, users []NewUser) ([]EnsuredUser, error) {
	var answer struct {
		Users []EnsuredUser `json:"users"`
	}
	err := a.call(ctx, "POST", "/v1/service/users", nil, map[string]any{"users": users}, &answer)
	return answer.Users, err
}

// ServiceTokens gets tokens for a user's device without a password. It needs the
// service key as the token.
func (a *API) ServiceTokens(ctx context.Context, userID, deviceID, platform string) (Tokens, error) {
	return a.tokensFrom(ctx, "/v1/service/tokens", map[string]string{
		"user_id": userID, "device_id": deviceID, "platform": platform,
	})
}
