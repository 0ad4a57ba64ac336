package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/common/jwt"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestSigningOutClosesTheLiveSession(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		users := s.users("alice")
		tokens := s.tokens(users[0], "a", "ios")
		other, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[0], "w", "web"), "w", "web"))
		live, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "a", "ios"))
		web := s.api().WithToken(tokens.AccessToken)
		if err := web.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		live.endsWith(im.Revoked)

		again, err := s.dial(t, transport.websocket, transport.form)
		if err != nil {
			t.Fatal(err)
		}
		err = again.request(wire.OpAuth, authOf(tokens, "a", "ios"), wire.OpAuthReply, &imv1.AuthReply{})
		if codeOf(err) != im.Unauthenticated {
			t.Errorf("%s: the token of who signed out: %v", transport.name, err)
		}
		again.endsWith(im.DisconnectUnauthenticated)
		if _, err := web.SendMessage(t.Context(), text(users[0], "m", "hello")); codeOf(err) != im.Unauthenticated {
			t.Errorf("by HTTP: %v", err)
		}
		if _, err := s.api().Refresh(t.Context(), tokens.RefreshToken); codeOf(err) != im.Unauthenticated {
			t.Errorf("refresh: %v", err)
		}
		if head := other.heartbeat(); head != 0 {
			t.Errorf("round %d: the other device's head is %d", i, head)
		}
	}
}

// The SDK stays away once it has been signed out.
func TestTheSDKStaysAwayAfterSigningOut(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice")
	r := record(t, s)
	alice := r.device(users[0], "a", "ios", binaryTCP)
	if err := alice.client.API().SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.until("its end", func() bool { return len(alice.ends) > 0 })
	if end := alice.ends[0]; !end.Final || end.Code != im.Revoked {
		t.Errorf("ended with %+v", end)
	}
}

// shortLived is an access token like another one that ends sooner.
func (s *server) shortLived(t *testing.T, tokens client.Tokens, life time.Duration) client.Tokens {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.settings["data_dir"], "auth.key"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jwt.New(jwt.Config{Secret: bytes.TrimSpace(key)})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := signer.Verify(tokens.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	claims.ExpiresAtMs = time.Now().Add(life).UnixMilli()
	if tokens.AccessToken, err = signer.Issue(claims); err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestATokenThatExpiresEndsTheSession(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			users := s.users(fmt.Sprint("user", i))
			auth := authOf(s.shortLived(t, s.tokens(users[0], "a", "ios"), 3*time.Second), "a", "ios")
			live, reply := s.raw(t, transport.websocket, transport.form, auth)
			if reply.GetExpiresIn() < 1 || reply.GetExpiresIn() > 3 {
				t.Errorf("expires_in is %d", reply.GetExpiresIn())
			}
			live.endsWith(im.TokenExpired)
			late, err := s.dial(t, transport.websocket, transport.form)
			if err != nil {
				t.Fatal(err)
			}
			auth = authOf(s.shortLived(t, s.tokens(users[0], "a", "ios"), -time.Second), "a", "ios")
			if err := late.request(wire.OpAuth, auth, wire.OpAuthReply, &imv1.AuthReply{}); codeOf(err) != im.Unauthenticated {
				t.Errorf("an expired token: %v", err)
			}
			late.endsWith(im.DisconnectUnauthenticated)
		})
	}
}

// A session that shows a new token outlives its first one; refused, the old one
// stands.
func TestRenewingTheTokenOfALiveSession(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob", "carol")
	tokens := s.tokens(users[0], "a", "ios")
	live, _ := s.phone(t, s.shortLived(t, tokens, 3*time.Second), "a")
	refused, _ := s.phone(t, s.shortLived(t, s.tokens(users[1], "b", "ios"), 3*time.Second), "b")
	for name, c := range map[string]struct {
		auth *imv1.Auth
		code im.Code
	}{
		"garbage":          {authOf(client.Tokens{AccessToken: "garbage"}, "b", "ios"), im.Unauthenticated},
		"another user":     {authOf(s.tokens(users[2], "b", "ios"), "b", "ios"), im.Forbidden},
		"another device":   {authOf(s.tokens(users[1], "b2", "ios"), "b2", "ios"), im.Forbidden},
		"another platform": {authOf(s.tokens(users[1], "b3", "web"), "b3", "web"), im.Forbidden},
	} {
		if err := refused.request(wire.OpAuth, c.auth, wire.OpAuthReply, &imv1.AuthReply{}); codeOf(err) != c.code {
			t.Errorf("renewed with %s: %v, want %s", name, err, c.code)
		}
	}
	renewal := authOf(tokens, "a", "ios")
	last := int64(1 << 40) // is ignored
	renewal.LastSeq = &last
	var reply imv1.AuthReply
	live.call(wire.OpAuth, renewal, wire.OpAuthReply, &reply)
	if reply.GetUserId() != users[0] || reply.GetExpiresIn() < 60 || reply.GetTooLong() {
		t.Errorf("renewal = %v", &reply)
	}
	refused.endsWith(im.TokenExpired)
	live.heartbeat()
	sayMany(t, live, users[0], 0, 1)
	live.untilMessages(1)
}

// The SDK renews by itself, and nobody notices.
func TestTheSDKRenewsItsToken(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"auth.access_token_ttl": "6s"})
	users := s.users("alice", "bob")
	r := record(t, s)
	watch, _ := s.raw(t, false, wire.JSON, authOf(s.tokens(users[1], "w", "web"), "w", "web"))
	alice := r.device(users[0], "a", "ios", textSocket)
	watch.endsWith(im.TokenExpired)
	alice.until("a renewal", func() bool { return len(alice.tokens) >= 1 })
	alice.say(users[1], 1)
	alice.untilAcked()
	alice.until("a renewal after the first token's end", func() bool { return len(alice.tokens) >= 2 })
	if len(alice.ends) != 0 || alice.sessions != 1 {
		t.Errorf("%d sessions, ended by %v", alice.sessions, alice.ends)
	}
}
