package http

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// kickInterval is between two attempts to close a connection.
	kickInterval = 200 * time.Millisecond
	// kicksAtOnce is how many connections are closed at a time.
	kicksAtOnce = 16
)

type login struct {
	Username string `json:"username"`
	Password string `json:"password"`
	DeviceID string `json:"device_id" doc:"The device's own, kept for good; 1 to 64 bytes."`
	Platform string `json:"platform" enum:"web,desktop,ios,android,tablet,other"`
}

type refreshBody struct {
	RefreshToken string `json:"refresh_token"`
}

// Session is what a log-in and a refresh answer.
type Session struct {
	AccessToken  string `json:"access_token" doc:"For Authorization: Bearer and for auth frames."`
	RefreshToken string `json:"refresh_token" doc:"For one use; the answer to it has the next one."`
	ExpiresIn    int32  `json:"expires_in" doc:"Seconds until the access token ends."`
	UserID       string `json:"user_id"`
}

func (s *Server) sessionRoutes(api huma.API) {
	register(s, api, operation("create-session", http.MethodPost, "/v1/sessions", "Sessions", byNobody, "Log in",
		"The tokens are bound to device and platform. Logging in again with a device ends its former tokens; a connection that "+
			"it has open may stay until its token expires, unless the device connects again."), s.logIn)
	register(s, api, operation("refresh-session", http.MethodPost, "/v1/sessions/refresh", "Sessions", byNobody, "Refresh the tokens",
		"A token replaced less than 30 s ago answers with the same successor. Any older use means that it was stolen: all of the "+
			"device's tokens end and its connection is closed (revoked)."), s.refresh)
	leave := operation("delete-session", http.MethodDelete, "/v1/sessions/current", "Sessions", byToken, "Sign out",
		"The device's tokens end at once and its connection is closed (revoked). Who has no answer may ask again, also with a "+
			"token that has ended so.")
	leave.Middlewares = huma.Middlewares{s.requireFormerToken}
	register(s, api, leave, s.signOut)
}

func (s *Server) logIn(ctx context.Context, in *request[login]) (*answer[Session], error) {
	if err := checkDevice(in.Body.DeviceID, in.Body.Platform); err != nil {
		return nil, err
	}
	name, _ := im.NormalUsername(in.Body.Username) // "" for what is no name: nobody's, counted as one
	from := network(recordOf(ctx).remote)
	if wait := s.admit(from, name, s.config.Now()); wait > 0 {
		return nil, im.Retry(im.RateLimited, wait, "too many attempts to log in")
	}
	user, err := s.checkPassword(ctx, name, in.Body.Password)
	if im.AsError(err).Code != im.Unauthenticated { // only failures count
		s.origins.give(from)
		s.names.give(name)
	}
	if err != nil {
		return nil, err
	}
	session, err := s.openSession(ctx, user.ID, in.Body.DeviceID, in.Body.Platform)
	if err != nil {
		return nil, err
	}
	err = s.stillRight(ctx, &session, in.Body.DeviceID, func(now *im.User) error {
		if now.PasswordHash != user.PasswordHash {
			return wrongLogin()
		}
		return enabled(now)
	})
	if err != nil {
		return nil, err
	}
	return reply(session), nil
}

// admit counts an attempt to log in against its address and its name, or says how
// long to wait. What one of them refuses does not count against the other: else
// one address could lock out every name.
func (s *Server) admit(from, name string, now time.Time) time.Duration {
	if wait := s.origins.take(from, now); wait > 0 {
		return wait
	}
	wait := s.names.take(name, now)
	if wait > 0 {
		s.origins.give(from)
	}
	return wait
}

// checkPassword finds who has this name and password. A wrong name takes as long
// as a wrong password: one look-up and one hash.
func (s *Server) checkPassword(ctx context.Context, name, password string) (im.User, error) {
	user, err := s.Accounts.UserByName(ctx, name)
	if err != nil && !errors.Is(err, im.ErrNotFound) {
		return im.User{}, wrap("look up user name", err)
	}
	right, err := s.hashing.verify(ctx, user.PasswordHash, password)
	switch {
	case err != nil:
		return im.User{}, err
	case !right || user.ID == "":
		return im.User{}, wrongLogin()
	}
	return user, enabled(&user) // of one that is deleted no password is right
}

func wrongLogin() error {
	return im.Errorf(im.Unauthenticated, "the username or the password is wrong")
}

func checkDevice(deviceID, platform string) error {
	if !im.ValidID(deviceID) {
		return invalid("a device_id has 1 to %d bytes and no control characters", im.MaxIDBytes)
	}
	if !im.ValidPlatform(platform) {
		return invalid("the platform is not web, desktop, ios, android, tablet or other")
	}
	return nil
}

// openSession signs a device in with a new family. The family's first generation
// is stored before the device says that it has it.
func (s *Server) openSession(ctx context.Context, userID, deviceID, platform string) (Session, error) {
	token := refreshToken{family: im.NewID(), generation: 1, userID: userID, deviceID: deviceID}
	now := s.nowMs()
	first := im.Refresh{Family: token.family, Generation: token.generation, AtMs: now}
	err := again(func() error { return s.Devices.InsertRefresh(ctx, first) })
	if err != nil && !errors.Is(err, im.ErrDuplicate) { // our own, for the family is random
		return Session{}, wrap("begin refresh family", err)
	}
	im.CrashPoint(im.CrashFamilyBegun)
	device := im.Device{UserID: userID, DeviceID: deviceID, Platform: platform, Family: token.family, CreatedAtMs: now}
	if err := again(func() error { return s.Devices.PutDevice(ctx, device) }); err != nil {
		return Session{}, wrap("sign device in", err)
	}
	return s.sessionOf(token, platform)
}

// again repeats a write whose outcome is not known, once.
func again(write func() error) error {
	err := write()
	if errors.Is(err, im.ErrUnknown) {
		err = write()
	}
	return err
}

// sessionOf issues an access token beside a refresh token.
func (s *Server) sessionOf(token refreshToken, platform string) (Session, error) {
	access, err := s.Tokens.Issue(im.Claims{
		UserID: token.userID, DeviceID: token.deviceID, Platform: platform, Family: token.family,
		ExpiresAtMs: s.config.Now().Add(s.config.AccessTTL).UnixMilli(),
	})
	if err != nil {
		return Session{}, wrap("issue access token", err)
	}
	return Session{
		AccessToken: access, RefreshToken: token.sign(s.config.RefreshSecret),
		ExpiresIn: int32(s.config.AccessTTL / time.Second), UserID: token.userID, //nolint:gosec // a token's life
	}, nil
}

func (s *Server) signOut(ctx context.Context, _ *nothing) (*nothing, error) {
	caller := callerOf(ctx)
	return nil, s.revoke(ctx, im.Device{UserID: caller.UserID, DeviceID: caller.DeviceID, Family: caller.Family})
}

// revoke ends the families of devices, of one user, and then the connections that came in
// with them. All are signed out before the first connection is closed, for which its owner
// may have to be waited for.
func (s *Server) revoke(ctx context.Context, devices ...im.Device) error {
	err := again(func() error { return s.Devices.SignOut(ctx, devices...) })
	if err != nil {
		return wrap("sign devices out", err)
	}
	im.CrashPoint(im.CrashSignedOut)
	var closing errgroup.Group
	closing.SetLimit(kicksAtOnce)
	for i := range devices {
		closing.Go(func() error {
			return s.kick(ctx, &imv1.KickRequest{
				UserId: devices[i].UserID, DeviceId: devices[i].DeviceID, Grant: im.Grant(devices[i].Family),
				Code: string(im.Revoked), Reason: "the device was signed out",
			})
		})
	}
	return wrap("close the devices' connections", closing.Wait())
}

// kick closes connections. It tries again for as long as the request may take:
// the caller could not, for their tokens have ended.
func (s *Server) kick(ctx context.Context, kick *imv1.KickRequest) error {
	for {
		_, err := s.Pipeline.Kick(ctx, kick)
		if err == nil || im.AsError(err).Code.Final() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(kickInterval):
		}
	}
}
