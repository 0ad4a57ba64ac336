package http

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

// refreshToken is a place in a refresh family. It is not stored: who knows the
// secret can write the successor of a token again, which is how an answer that
// was lost is given once more.
//
// Its text is family.generation.user.device.mac, the last three in base64url;
// the MAC is HMAC-SHA256 of all before it.
type refreshToken struct {
	family     string
	generation int64
	userID     string
	deviceID   string
}

var base64URL = base64.RawURLEncoding.Strict()

func (t refreshToken) next() refreshToken {
	t.generation++
	return t
}

func (t refreshToken) sign(secret []byte) string {
	said := t.family + "." + strconv.FormatInt(t.generation, 10) + "." + base64URL.EncodeToString([]byte(t.userID)) + "." + base64URL.EncodeToString([]byte(t.deviceID))
	return said + "." + base64URL.EncodeToString(refreshMAC(secret, said))
}

func refreshMAC(secret []byte, said string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("im refresh token\x00" + said))
	return mac.Sum(nil)
}

// parseRefreshToken returns what a token says, false if it is none of ours.
func parseRefreshToken(secret []byte, text string) (t refreshToken, ok bool) {
	end := strings.LastIndexByte(text, '.')
	if end < 0 {
		return t, false
	}
	mac, err := base64URL.DecodeString(text[end+1:])
	if err != nil || !hmac.Equal(mac, refreshMAC(secret, text[:end])) {
		return t, false
	}
	parts := strings.Split(text[:end], ".")
	if len(parts) != 4 {
		return t, false
	}
	generation, err1 := strconv.ParseInt(parts[1], 10, 64)
	userID, err2 := base64URL.DecodeString(parts[2])
	deviceID, err3 := base64URL.DecodeString(parts[3])
	return refreshToken{parts[0], generation, string(userID), string(deviceID)}, errors.Join(err1, err2, err3) == nil
}

func (s *Server) refresh(ctx context.Context, in *request[refreshBody]) (*answer[Session], error) {
	token, ok := parseRefreshToken(s.config.RefreshSecret, in.Body.RefreshToken)
	if !ok {
		return nil, im.Errorf(im.Unauthenticated, "the refresh token is not valid")
	}
	device, err := s.Devices.Device(ctx, token.userID, token.deviceID)
	switch {
	case errors.Is(err, im.ErrNotFound), err == nil && device.Family != token.family:
		return nil, im.Errorf(im.Unauthenticated, "the refresh token has been revoked")
	case err != nil:
		return nil, wrap("look up device", err)
	}
	switch user, err := s.userByID(ctx, token.userID); {
	case im.AsError(err).Code == im.NotFound, err == nil && user.Disabled:
		return nil, im.Errorf(im.Unauthenticated, "the account is gone or disabled")
	case err != nil:
		return nil, err
	}
	successor, err := s.rotate(ctx, token)
	if err != nil {
		return nil, err
	}
	session, err := s.sessionOf(successor, device.Platform)
	if err != nil {
		return nil, err
	}
	return reply(session), nil
}

// rotate replaces a token by its successor. The row of the next generation
// decides a race between two requests: who loses it reads again and finds the
// token replaced just now.
func (s *Server) rotate(ctx context.Context, token refreshToken) (refreshToken, error) {
	var lost error
	for range 3 {
		last, err := s.Devices.LastRefresh(ctx, token.family)
		if err != nil && !errors.Is(err, im.ErrNotFound) {
			return token, wrap("look up refresh family", err)
		}
		now := s.config.Now()
		switch {
		case last.Generation < token.generation: // a restored store has forgotten it
			return token, im.Errorf(im.Unauthenticated, "the refresh token is not known")
		case last.Generation == token.generation && now.Sub(time.UnixMilli(last.AtMs)) >= s.config.RefreshTTL:
			return token, im.Errorf(im.Unauthenticated, "the refresh token has expired")
		case last.Generation == token.generation:
			next := im.Refresh{Family: token.family, Generation: token.next().generation, AtMs: now.UnixMilli()}
			err := s.Devices.InsertRefresh(ctx, next)
			if err == nil {
				im.CrashPoint(im.CrashTokenReplaced)
				return token.next(), nil
			}
			if !errors.Is(err, im.ErrDuplicate) && !errors.Is(err, im.ErrUnknown) {
				return token, wrap("replace refresh token", err)
			}
			lost = err
		default:
			return s.successor(ctx, token, now)
		}
	}
	return token, fmt.Errorf("%w: %v", im.Retry(im.Unavailable, time.Second, "the refresh token could not be replaced"), lost) //nolint:errorlint // for the log
}

// successor answers a token that has been replaced: with the same one again for as
// long as the answer to the replacement may have been lost.
func (s *Server) successor(ctx context.Context, token refreshToken, now time.Time) (refreshToken, error) {
	next, err := s.Devices.Refresh(ctx, token.family, token.next().generation)
	switch {
	case err == nil && now.Sub(time.UnixMilli(next.AtMs)) < refreshGrace:
		return token.next(), nil
	case err == nil, errors.Is(err, im.ErrNotFound): // replaced so long ago that the store has forgotten it
		return token, s.reused(ctx, token)
	}
	return token, wrap("look up refresh token", err)
}

// reused answers a token that was replaced long ago: somebody has a copy.
func (s *Server) reused(ctx context.Context, token refreshToken) error {
	s.log.Warn("refresh token used again, family revoked", "user_id", token.userID, "device_id", token.deviceID)
	if err := s.revoke(ctx, im.Device{UserID: token.userID, DeviceID: token.deviceID, Family: token.family}); err != nil {
		return err
	}
	return im.Errorf(im.Unauthenticated, "the refresh token was used before; sign in again")
}
