package test

import (
	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

const password = "correct horse"

// An account is made, and its owner not told: the name is taken, by that owner.
func whoRegisters(s *scene) {
	s.arm()
	name := "carol-" + im.NewID()
	if id, err := s.api().Register(s.t.Context(), name, password, ""); err == nil {
		s.t.Fatalf("the server died, but answered %s", id)
	}
	s.dies()
	_, err := again(s.t, func() (string, error) { return s.api().Register(s.t.Context(), name, password, "") })
	if codeOf(err) != im.Conflict {
		s.t.Errorf("registering again: %v, want a conflict", err)
	}
	if _, err := s.logIn(name); err != nil {
		s.t.Errorf("log in with what was registered: %v", err)
	}
	s.talk().areServed()
}

func (s *scene) logIn(name string) (client.Tokens, error) {
	return again(s.t, func() (client.Tokens, error) { return s.api().Login(s.t.Context(), name, password, "d", "other") })
}

// given makes an account and logs it in.
func (s *scene) given() (name string, tokens client.Tokens) {
	s.t.Helper()
	name = "carol-" + im.NewID()
	_, err := s.api().Register(s.t.Context(), name, password, "")
	if err == nil {
		tokens, err = s.logIn(name)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return name, tokens
}

// A device logs in again and is not told: its former tokens stand until it is.
func whoLogsIn(s *scene) {
	name, former := s.given()
	s.arm()
	if _, err := s.api().Login(s.t.Context(), name, password, "d", "other"); err == nil {
		s.t.Fatal("the server died, but answered")
	}
	s.dies()
	if _, err := s.refreshed(former); err != nil {
		s.t.Errorf("the former tokens are refused: %v", err)
	}
	tokens, err := s.logIn(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.refreshed(former); codeOf(err) != im.Unauthenticated {
		s.t.Errorf("the former tokens after a log-in: %v", err)
	}
	if _, err := s.refreshed(tokens); err != nil {
		s.t.Errorf("the new tokens are refused: %v", err)
	}
	s.talk().areServed()
}

func (s *scene) refreshed(tokens client.Tokens) (client.Tokens, error) {
	return again(s.t, func() (client.Tokens, error) { return s.api().Refresh(s.t.Context(), tokens.RefreshToken) })
}

// A refresh token is replaced and its owner not told: it is answered with the same
// successor again.
func whoRefreshes(s *scene) {
	_, first := s.given()
	s.arm()
	if _, err := s.api().Refresh(s.t.Context(), first.RefreshToken); err == nil {
		s.t.Fatal("the server died, but answered")
	}
	s.dies()
	second, err := s.refreshed(first)
	if err != nil {
		s.t.Fatalf("the retry is refused: %v", err)
	}
	if same, err := s.refreshed(first); err != nil || same.RefreshToken != second.RefreshToken {
		s.t.Errorf("another retry is answered with another token, or %v", err)
	}
	if _, err := s.refreshed(second); err != nil {
		s.t.Errorf("the successor is refused: %v", err)
	}
	s.talk().areServed()
}

// A device signs out and is not told: it tries again, and its connection is closed.
func whoSignsOut(s *scene) {
	_, tokens := s.given()
	s.arm()
	conn, _ := s.enter(authOf(tokens, "d", "other"))
	api := s.api().WithToken(tokens.AccessToken)
	if err := api.SignOut(s.t.Context()); err == nil {
		s.t.Fatal("the server died, but answered")
	}
	s.dies()
	if _, err := again(s.t, func() (int, error) { return 0, api.SignOut(s.t.Context()) }); err != nil {
		s.t.Errorf("the retry is refused: %v", err)
	}
	for err := error(nil); err == nil; { // by the retry, or with the server
		_, err = conn.next()
	}
	if d := conn.goodbye; d != nil && d.GetCode() != string(im.Revoked) {
		s.t.Errorf("the connection was closed for %s", d.GetCode())
	}
	if _, err := s.refreshed(tokens); codeOf(err) != im.Unauthenticated {
		s.t.Errorf("the tokens after signing out: %v", err)
	}
	s.talk().areServed()
}
