// Package jwt issues and judges access tokens: JSON Web Tokens signed with
// HMAC-SHA256, no other algorithm.
package jwt

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/im-transfer/im"
)

// MinSecretBytes is the least length of a secret: that of the MAC.
const MinSecretBytes = 32

// Config says how tokens are signed and what they must say.
type Config struct {
	Secret   []byte           // at least MinSecretBytes, of a random source
	Issuer   string           // iss; empty = "im"
	Audience string           // aud; empty = "im"
	Now      func() time.Time // nil = time.Now
}

// Tokens issues and verifies access tokens. Safe for concurrent use.
type Tokens struct {
	config Config
	parser *jwt.Parser
}

// claims are the registered claims (the subject is the user) and ours.
type claims struct {
	jwt.RegisteredClaims
	Device   string `json:"device"`
	Platform string `json:"platform"`
	Family   string `json:"family"`
}

// New returns Tokens. It refuses a short secret.
func New(config Config) (*Tokens, error) {
	if len(config.Secret) < MinSecretBytes {
		return nil, fmt.Errorf("token secret: %d bytes, at least %d are needed", len(config.Secret), MinSecretBytes)
	}
	config.Issuer = orElse(config.Issuer, "im")
	config.Audience = orElse(config.Audience, "im")
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Tokens{config: config, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(config.Issuer),
		jwt.WithAudience(config.Audience),
		jwt.WithTimeFunc(config.Now),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(),
	)}, nil
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Issue signs a token that says these claims. Its end is kept in whole seconds,
// rounded down.
func (t *Tokens) Issue(of im.Claims) (string, error) {
	if of.UserID == "" || of.DeviceID == "" || of.Family == "" {
		return "", errors.New("issue token: a user, a device and a family are needed")
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        im.NewID(),
			Issuer:    t.config.Issuer,
			Audience:  jwt.ClaimStrings{t.config.Audience},
			Subject:   of.UserID,
			IssuedAt:  jwt.NewNumericDate(t.config.Now()),
			ExpiresAt: jwt.NewNumericDate(time.UnixMilli(of.ExpiresAtMs)),
		},
		Device: of.DeviceID, Platform: of.Platform, Family: of.Family,
	}).SignedString(t.config.Secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// Verify returns what a token says. The answer to one that is not ours or has
// ended is an im.Unauthenticated error.
func (t *Tokens) Verify(token string) (im.Claims, error) {
	var said claims
	_, err := t.parser.ParseWithClaims(token, &said, func(*jwt.Token) (any, error) { return t.config.Secret, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return im.Claims{}, im.Errorf(im.Unauthenticated, "the token has expired")
	case err != nil, said.Subject == "", said.Device == "", said.Family == "":
		return im.Claims{}, im.Errorf(im.Unauthenticated, "the token is not valid")
	}
	return im.Claims{
		UserID: said.Subject, DeviceID: said.Device, Platform: said.Platform, Family: said.Family,
		ExpiresAtMs: said.ExpiresAt.UnixMilli(),
	}, nil
}
