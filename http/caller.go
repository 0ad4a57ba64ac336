package http

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

type callerKey struct{}

// callerOf returns who calls an operation that needs a token.
func callerOf(ctx context.Context) im.Claims {
	claims, _ := ctx.Value(callerKey{}).(im.Claims)
	return claims
}

// requireToken lets through who shows an access token of a device that is still
// signed in with it: signing out, or in again, ends a token at once.
func (s *Server) requireToken(ctx huma.Context, next func(huma.Context)) {
	s.letThrough(ctx, next, signedIn)
}

// requireFormerToken lets also through whose device has just been signed out: who was
// not told may ask again.
func (s *Server) requireFormerToken(ctx huma.Context, next func(huma.Context)) {
	s.letThrough(ctx, next, func(device im.Device, claims im.Claims) bool {
		return device.Family == "" || signedIn(device, claims)
	})
}

func signedIn(device im.Device, claims im.Claims) bool {
	return device.Family != "" && device.Family == claims.Family
}

type judgeDevice func(device im.Device, claims im.Claims) bool

func (s *Server) letThrough(ctx huma.Context, next func(huma.Context), may judgeDevice) {
	claims, err := s.authenticateInTurn(ctx.Context(), ctx.Header("Authorization"), may)
	if err != nil {
		answerProblem(ctx, refuse(ctx.Context(), err))
		return
	}
	rec := recordOf(ctx.Context())
	rec.userID = claims.UserID
	s.joinKnown(rec)
	next(huma.WithValue(ctx, callerKey{}, claims))
}

func (s *Server) authenticateInTurn(ctx context.Context, header string, may judgeDevice) (im.Claims, error) {
	if err := s.crowd.enter(ctx); err != nil {
		return im.Claims{}, err
	}
	defer s.crowd.leave()
	return s.authenticate(ctx, header, may)
}

func (s *Server) authenticate(ctx context.Context, header string, may judgeDevice) (im.Claims, error) {
	token, ok := bearer(header)
	if !ok {
		return im.Claims{}, im.Errorf(im.Unauthenticated, "an access token is needed: Authorization: Bearer …")
	}
	claims, err := s.Tokens.Verify(token)
	if err != nil {
		return im.Claims{}, err
	}
	device, err := s.Devices.Device(ctx, claims.UserID, claims.DeviceID)
	switch {
	case errors.Is(err, im.ErrNotFound), err == nil && !may(device, claims):
		return im.Claims{}, revokedToken()
	case err != nil:
		return im.Claims{}, err
	}
	return claims, nil
}

func revokedToken() error { return im.Errorf(im.Unauthenticated, "the token has been revoked") }

// requireServiceKey lets through who shows the service key.
func (s *Server) requireServiceKey(ctx huma.Context, next func(huma.Context)) {
	key, ok := bearer(ctx.Header("Authorization"))
	if !ok || !sameSecret(key, s.config.ServiceKey) {
		answerProblem(ctx, refuse(ctx.Context(), im.Errorf(im.Unauthenticated, "the service key is needed")))
		return
	}
	s.joinKnown(recordOf(ctx.Context()))
	next(ctx)
}

type operatorKey struct{}

// byService reports whether the caller has shown the service key.
func byService(ctx context.Context) bool { return ctx.Value(operatorKey{}) != nil }

// serviceDevice stands for a device where the operator acts, who has none.
const serviceDevice = "service"

// requireEither lets through who shows an access token, or the service key.
func (s *Server) requireEither(ctx huma.Context, next func(huma.Context)) {
	if key, ok := bearer(ctx.Header("Authorization")); ok && s.config.ServiceKey != "" && sameSecret(key, s.config.ServiceKey) {
		s.joinKnown(recordOf(ctx.Context()))
		next(huma.WithValue(huma.WithValue(ctx, operatorKey{}, true), callerKey{}, im.Claims{DeviceID: serviceDevice}))
		return
	}
	s.requireToken(ctx, next)
}

// sameSecret compares in a time that tells neither content nor length.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// bearer takes the token out of an Authorization header.
func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// answerProblem answers from a middleware.
func answerProblem(ctx huma.Context, problem *Problem) {
	for name, values := range problem.GetHeaders() {
		for _, value := range values {
			ctx.SetHeader(name, value)
		}
	}
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetStatus(problem.Status)
	json.NewEncoder(ctx.BodyWriter()).Encode(problem) //nolint:errcheck // the client has gone
}
