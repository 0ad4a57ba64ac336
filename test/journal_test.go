package test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// journal asks for a user's connections until they are as many as are wanted, and all but
// live ones have ended: lines are told a second later.
func journal(t *testing.T, api *client.API, query client.ConnectionsQuery, live int, want int) []client.Connection {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		var all []client.Connection
		query.Limit = 2
		for query.Cursor = ""; ; {
			page, next, err := api.Connections(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page...)
			if query.Cursor = next; next == "" {
				break
			}
		}
		open := 0
		for _, c := range all {
			if c.Reason == "" {
				open++
			}
		}
		if len(all) == want && open == live {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("the journal is %+v", all)
		}
	}
}

// Every connection has its line in the journal: of which device, from where, how it
// introduced itself, from when to when, and why it ended.
func TestTheJournalOfConnections(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob")
	began := time.Now().UnixMilli()
	tokens := s.tokens(users[0], "desk", "desktop")
	api := s.api().WithToken(tokens.AccessToken)
	auth := authOf(tokens, "desk", "desktop")
	auth.Client = &imv1.ClientInfo{Name: "tester", Version: "7"}
	first, _ := s.raw(t, true, wire.Text, auth)
	second, _ := s.raw(t, false, wire.Proto, auth) // takes its place
	first.endsWith(im.Superseded)
	phone, reply := s.phone(t, s.tokens(users[0], "phone", "ios"), "phone")
	phone.leave()
	bob, _ := s.phone(t, s.tokens(users[1], "phone", "ios"), "phone")

	lines := journal(t, api, client.ConnectionsQuery{}, 1, 3)
	if lines[0].SessionID != reply.GetSessionId() || !slices.IsSortedFunc(lines, func(a, b client.Connection) int { return int(b.OnlineAtMs - a.OnlineAtMs) }) {
		t.Errorf("not the newest first: %+v", lines)
	}
	byReason := map[string]client.Connection{}
	for _, c := range lines {
		host, _, err := net.SplitHostPort(c.Remote)
		if err != nil || host != "127.0.0.1" || c.OnlineAtMs < began || c.OnlineAtMs > time.Now().UnixMilli() {
			t.Errorf("line %+v", c)
		}
		if c.Reason != "" && (c.OfflineAtMs < c.OnlineAtMs || c.OfflineAtMs > time.Now().UnixMilli()) {
			t.Errorf("it ended at %d: %+v", c.OfflineAtMs, c)
		}
		c.Remote, c.SessionID, c.OnlineAtMs, c.OfflineAtMs = "", "", 0, 0
		byReason[c.Reason] = c
	}
	for _, want := range []client.Connection{
		{DeviceID: "desk", Platform: "desktop", Transport: "websocket", Client: "tester/7", UserAgent: "Go-http-client/1.1", Reason: "superseded"},
		{DeviceID: "desk", Platform: "desktop", Transport: "tcp", Client: "tester/7"},
		{DeviceID: "phone", Platform: "ios", Transport: "tcp", Reason: "left"},
	} {
		got := byReason[want.Reason]
		if want.Transport == "websocket" {
			want.UserAgent = got.UserAgent // whatever gorilla says
		}
		if got != want {
			t.Errorf("line %+v, want %+v", got, want)
		}
	}
	journal(t, api, client.ConnectionsQuery{DeviceID: "desk"}, 1, 2)
	journal(t, api, client.ConnectionsQuery{DeviceID: "none"}, 0, 0)
	journal(t, s.service(), client.ConnectionsQuery{UserID: users[1]}, 1, 1)
	if _, _, err := api.Connections(t.Context(), client.ConnectionsQuery{UserID: users[1]}); codeOf(err) != im.Unauthenticated {
		t.Errorf("another user's journal by a token: %v", err)
	}
	if _, _, err := s.service().Connections(t.Context(), client.ConnectionsQuery{UserID: "nobody"}); codeOf(err) != im.NotFound {
		t.Errorf("the journal of nobody: %v", err)
	}

	// A stop ends what is live, and says so before the server has gone.
	second.heartbeat()
	bob.heartbeat()
	s.restart()
	for _, c := range journal(t, s.service(), client.ConnectionsQuery{UserID: users[0]}, 0, 3) {
		if c.Transport == "tcp" && c.DeviceID == "desk" && c.Reason != string(im.Draining) {
			t.Errorf("line %+v", c)
		}
	}
}

// Of a server that was killed nobody knows when its connections ended, but that they did.
func TestAKilledServersConnectionsAreLost(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	ann := s.users("ann")[0]
	s.phone(t, s.tokens(ann, "phone", "ios"), "phone")
	journal(t, s.service(), client.ConnectionsQuery{UserID: ann}, 1, 1)
	s.kill()
	s.startProcess()
	if c := journal(t, s.service(), client.ConnectionsQuery{UserID: ann}, 0, 1)[0]; c.Reason != im.EndLost || c.OfflineAtMs != 0 {
		t.Errorf("line %+v", c)
	}
}
