package jwt_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	golangjwt "github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/jwt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	secret = bytes.Repeat([]byte("k"), jwt.MinSecretBytes)
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	alice  = im.Claims{
		UserID: "u1", DeviceID: "d1", Platform: "web", Family: "f1",
		ExpiresAtMs: start.Add(15 * time.Minute).UnixMilli(),
	}
)

func tokens(t *testing.T, config jwt.Config) *jwt.Tokens {
	t.Helper()
	made, err := jwt.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestATokenSaysWhatWasIssuedUntilItEnds(t *testing.T) {
	now := start
	made := tokens(t, jwt.Config{Secret: secret, Now: func() time.Time { return now }})
	token, err := made.Issue(alice)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := made.Verify(token); err != nil || got != alice {
		t.Fatalf("Verify = %+v, %v; want %+v", got, err, alice)
	}
	now = start.Add(15*time.Minute - time.Second)
	if _, err := made.Verify(token); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	now = start.Add(15 * time.Minute)
	refused(t, "after its end", made, token)
}

func TestEveryTokenIsAnother(t *testing.T) {
	made := tokens(t, jwt.Config{Secret: secret, Now: func() time.Time { return start }})
	first, _ := made.Issue(alice)
	second, _ := made.Issue(alice)
	if first == second {
		t.Error("two tokens are the same: there is no jti")
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	now := func() time.Time { return start }
	made := tokens(t, jwt.Config{Secret: secret, Now: now})
	good, _ := made.Issue(alice)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	issue := func(config jwt.Config) string {
		config.Now = now
		token, _ := tokens(t, config).Issue(alice)
		return token
	}
	sign := func(method golangjwt.SigningMethod, claims golangjwt.MapClaims) string {
		token, err := golangjwt.NewWithClaims(method, claims).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	whole := golangjwt.MapClaims{
		"iss": "im", "aud": "im", "sub": "u1", "device": "d1", "family": "f1", "exp": start.Add(time.Hour).Unix(),
	}
	for name, token := range map[string]string{
		"nothing":           "",
		"no token":          "a.b.c",
		"no signature":      parts[0] + "." + parts[1] + ".",
		"algorithm none":    none + "." + parts[1] + ".",
		"another secret":    issue(jwt.Config{Secret: bytes.Repeat([]byte("x"), 32)}),
		"another issuer":    issue(jwt.Config{Secret: secret, Issuer: "other"}),
		"another audience":  issue(jwt.Config{Secret: secret, Audience: "other"}),
		"another algorithm": sign(golangjwt.SigningMethodHS512, whole),
		"no end":            sign(golangjwt.SigningMethodHS256, golangjwt.MapClaims{"iss": "im", "aud": "im", "sub": "u1", "device": "d1", "family": "f1"}),
		"no device":         sign(golangjwt.SigningMethodHS256, golangjwt.MapClaims{"iss": "im", "aud": "im", "sub": "u1", "family": "f1", "exp": whole["exp"]}),
		"padded":            good + "=",
	} {
		refused(t, name, made, token)
	}
	if _, err := made.Verify(sign(golangjwt.SigningMethodHS256, whole)); err != nil {
		t.Errorf("the whole set of claims: %v", err)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for name, config := range map[string]jwt.Config{
		"short secret": {Secret: secret[:31]},
	} {
		if _, err := jwt.New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := tokens(t, jwt.Config{Secret: secret}).Issue(im.Claims{UserID: "u1"}); err == nil {
		t.Error("claims without a device: issued")
	}
}

func refused(t *testing.T, name string, made *jwt.Tokens, token string) {
	t.Helper()
	_, err := made.Verify(token)
	var refusal *im.Error
	if !errors.As(err, &refusal) || refusal.Code != im.Unauthenticated {
		t.Errorf("%s: got %v, want %s", name, err, im.Unauthenticated)
	}
}
