package http

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

type changeProfileRequest struct {
	ChangeKey
	Body struct {
		Nickname     *string `json:"nickname" doc:"At most 128 bytes."`
		AvatarFileID *string `json:"avatar_file_id"`
		Bio          *string `json:"bio" doc:"At most 1 KiB."`
	}
}

type passwordBody struct {
	Old string `json:"old"`
	New string `json:"new" doc:"8 to 128 bytes."`
}

type changeAccountRequest struct {
	ID   string `path:"id" doc:"A user_id."`
	Body struct {
		Disabled *bool `json:"disabled"`
	}
}

func (s *Server) accountRoutes(api huma.API) {
	register(s, api, operation("change-profile", http.MethodPatch, "/v1/users/me", "Users", byToken, "Change one's profile",
		"What is left out stays. One's other devices get an entry profile."), s.changeProfile)
	register(s, api, operation("change-password", http.MethodPut, "/v1/users/me/password", "Users", byToken, "Change one's password",
		"All other devices are signed out and their connections closed (revoked). A wrong old one is forbidden."), s.changePassword)
	leave := operation("delete-account", http.MethodDelete, "/v1/users/me", "Users", byToken, "Delete one's account",
		"For good: all groups are left (one's own go to an admin, or the member longest in; where there is nobody else they are dissolved), "+
			"all devices are signed out and their connections closed (revoked), password and profile are gone, the name stays taken. "+
			"What was sent stays with those who got it. Who has no answer may ask again, also with a token that has ended so.")
	leave.Middlewares = huma.Middlewares{s.requireFormerToken}
	register(s, api, leave, s.deleteAccount)
}

func (s *Server) changeProfile(ctx context.Context, in *changeProfileRequest) (*nothing, error) {
	if nickname := in.Body.Nickname; nickname != nil && !printed(*nickname, im.MaxNicknameBytes) {
		return nil, invalid("a nickname has at most %d bytes and no control characters", im.MaxNicknameBytes)
	}
	return nil, s.changeOwn(ctx, in.IdempotencyKey, &imv1.OwnChange{What: &imv1.OwnChange_Profile{Profile: &imv1.ProfileChange{
		Nickname: in.Body.Nickname, AvatarFileId: in.Body.AvatarFileID, Bio: in.Body.Bio,
	}}})
}

// changePassword stores the new one before it signs the others out: who logs in with
// the old one meanwhile is found out afterwards (stillRight). A repeat, to which the old
// one is wrong already, finishes the work.
func (s *Server) changePassword(ctx context.Context, in *request[passwordBody]) (*nothing, error) {
	caller := callerOf(ctx)
	if !im.ValidPassword(in.Body.New) {
		return nil, invalid("a password has 8 to 128 bytes")
	}
	user, err := s.userByID(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	if wait := s.names.take(user.Username, s.config.Now()); wait > 0 {
		return nil, im.Retry(im.RateLimited, wait, "too many attempts with this password")
	}
	repeat, err := s.mayChange(ctx, &user, in.Body)
	if im.AsError(err).Code != im.Forbidden { // only failures count
		s.names.give(user.Username)
	}
	if err != nil {
		return nil, err
	}
	if !repeat {
		hash, err := s.hashing.hash(ctx, in.Body.New)
		if err != nil {
			return nil, err
		}
		if err := again(func() error { return s.Accounts.ChangeAccount(ctx, user.ID, im.AccountChange{PasswordHash: &hash}) }); err != nil {
			return nil, wrap("store password", err)
		}
	}
	return nil, s.signOutAll(ctx, user.ID, caller.DeviceID)
}

// mayChange judges the old password; repeat: the new one is in force already.
func (s *Server) mayChange(ctx context.Context, user *im.User, body passwordBody) (repeat bool, err error) {
	right, err := s.hashing.verify(ctx, user.PasswordHash, body.Old)
	if err != nil || right {
		return false, err
	}
	if repeat, err = s.hashing.verify(ctx, user.PasswordHash, body.New); err != nil || repeat {
		return repeat, err
	}
	return false, im.Errorf(im.Forbidden, "the old password is wrong")
}

// signOutAll signs out all devices of a user but one, if it is named.
func (s *Server) signOutAll(ctx context.Context, userID, but string) error {
	devices, err := s.Devices.DevicesOf(ctx, userID)
	if err != nil {
		return wrap("list devices", err)
	}
	devices = slices.DeleteFunc(devices, func(d im.Device) bool { return d.DeviceID == but })
	return s.revoke(ctx, devices...)
}

// deleteAccount leaves the groups first: where that fails there is still an account,
// whose user tries again. Groups that it was put into meanwhile are left afterwards.
func (s *Server) deleteAccount(ctx context.Context, _ *nothing) (*nothing, error) {
	userID := callerOf(ctx).UserID
	if err := s.mayDelete(ctx); err != nil {
		return nil, err
	}
	if err := s.leaveGroups(ctx); err != nil {
		return nil, err
	}
	if err := again(func() error { return s.Accounts.ChangeAccount(ctx, userID, im.AccountChange{Delete: true}) }); err != nil {
		return nil, wrap("delete account", err)
	}
	if err := s.signOutAll(ctx, userID, ""); err != nil {
		return nil, err
	}
	return nil, s.leaveGroups(ctx)
}

// mayDelete refuses a device that is signed out, unless it is by the deletion that it asks
// for again: who has signed a stolen device out has it do nothing more.
func (s *Server) mayDelete(ctx context.Context) error {
	caller := callerOf(ctx)
	user, err := s.userByID(ctx, caller.UserID)
	if err != nil || user.Deleted {
		return err
	}
	device, err := s.anyDevice(ctx, caller.DeviceID)
	if err == nil && !signedIn(device, caller) {
		return revokedToken()
	}
	return err
}

// disableUser is the operator's: a business takes an account out of use, or gives it
// back.
func (s *Server) disableUser(ctx context.Context, in *changeAccountRequest) (*nothing, error) {
	if in.Body.Disabled == nil {
		return nil, invalid("disabled must be given")
	}
	user, err := s.userByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if user.Deleted {
		return nil, im.Errorf(im.NotFound, "the account is deleted")
	}
	if err := again(func() error {
		return s.Accounts.ChangeAccount(ctx, user.ID, im.AccountChange{Disabled: in.Body.Disabled})
	}); err != nil {
		return nil, wrap("change account", err)
	}
	if !*in.Body.Disabled {
		return nil, nil
	}
	return nil, s.signOutAll(ctx, user.ID, "")
}

// stillRight judges an account again that has just been let in: what ended its sessions
// meanwhile did not know of this one, which is ended as well.
func (s *Server) stillRight(ctx context.Context, session *Session, deviceID string, judge func(*im.User) error) error {
	user, err := s.userByID(ctx, session.UserID)
	if err != nil {
		return err
	}
	refusal := judge(&user)
	if refusal == nil {
		return nil
	}
	token, ok := parseRefreshToken(s.config.RefreshSecret, session.RefreshToken)
	if !ok {
		return fmt.Errorf("our own refresh token can not be read")
	}
	if err := s.revoke(ctx, im.Device{UserID: user.ID, DeviceID: deviceID, Family: token.family}); err != nil {
		return err
	}
	return refusal
}

// enabled refuses an account that is disabled.
func enabled(user *im.User) error {
	if user.Disabled {
		return im.Errorf(im.Forbidden, "the account is disabled")
	}
	return nil
}
