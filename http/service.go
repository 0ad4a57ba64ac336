package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

// maxServiceUsers bounds one request.
const maxServiceUsers = 1000

type newUsers struct {
	Users []newUser `json:"users" maxItems:"1000"`
}

type newUser struct {
	Username string `json:"username" doc:"1 to 64 of a-z 0-9 . _ -; capitals are lowered."`
	Nickname string `json:"nickname" doc:"At most 128 bytes."`
}

// MadeUsers are users in the order asked.
type MadeUsers struct {
	Users []MadeUser `json:"users" nullable:"false"`
}

// MadeUser is a user that exists now.
type MadeUser struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	Created  bool   `json:"created" doc:"It was made now."`
}

type deviceOf struct {
	UserID   string `json:"user_id"`
	DeviceID string `json:"device_id" doc:"1 to 64 bytes."`
	Platform string `json:"platform" enum:"web,desktop,ios,android,tablet,other"`
}

func (s *Server) serviceRoutes(api huma.API) {
	if s.Broadcasts != nil {
		s.broadcastRoutes(api)
	}
	register(s, api, operation("ensure-users", http.MethodPost, "/v1/service/users", "Service", byServiceKey, "Make users",
		"At most 1,000, made where missing, without a password; answered in the order asked."), s.ensureUsers)
	register(s, api, operation("issue-tokens", http.MethodPost, "/v1/service/tokens", "Service", byServiceKey, "Sign a device in",
		"What log-in answers, for a business that has accounts of its own."), s.issueTokens)
	s.serviceAccountRoutes(api)
}

func (s *Server) serviceAccountRoutes(api huma.API) {
	register(s, api, operation("disable-user", http.MethodPatch, "/v1/service/users/{id}", "Service", byServiceKey, "Disable an account, or enable it",
		"Disabled: all devices are signed out and their connections closed (revoked); nobody logs in. The name stays taken."), s.disableUser)
}

func (s *Server) ensureUsers(ctx context.Context, in *request[newUsers]) (*answer[MadeUsers], error) {
	if len(in.Body.Users) > maxServiceUsers {
		return nil, invalid("at most %d users at once", maxServiceUsers)
	}
	wanted := make([]im.User, len(in.Body.Users))
	for i, asked := range in.Body.Users {
		user, err := s.newUser(asked.Username, asked.Nickname)
		if err != nil {
			return nil, invalid("users[%d]: %s", i, im.AsError(err).Message)
		}
		wanted[i] = user
	}
	made := MadeUsers{Users: make([]MadeUser, 0, len(wanted))}
	if len(wanted) == 0 {
		return reply(made), nil
	}
	users, created, err := s.Accounts.EnsureUsers(ctx, wanted)
	if err != nil {
		return nil, wrap("make users", err)
	}
	for i, user := range users {
		made.Users = append(made.Users, MadeUser{user.ID, user.Username, created[i]})
	}
	return reply(made), nil
}

func (s *Server) issueTokens(ctx context.Context, in *request[deviceOf]) (*answer[Session], error) {
	if err := checkDevice(in.Body.DeviceID, in.Body.Platform); err != nil {
		return nil, err
	}
	user, err := s.userByID(ctx, in.Body.UserID)
	if err != nil {
		return nil, err
	}
	if err := enabled(&user); err != nil {
		return nil, err
	}
	session, err := s.openSession(ctx, user.ID, in.Body.DeviceID, in.Body.Platform)
	if err != nil {
		return nil, err
	}
	if err := s.stillRight(ctx, &session, in.Body.DeviceID, enabled); err != nil {
		return nil, err
	}
	return reply(session), nil
}
