package test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// broadcastDone waits for the end of a broadcast.
func broadcastDone(t *testing.T, s *server, id string) client.Broadcast {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond) // nothing tells when it ends
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		b, err := s.service().ReadBroadcast(t.Context(), id)
		if err == nil && b.State != "running" {
			return b
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("broadcast %s is %+v, %v", id, b, err)
		}
	}
}

// inboxTexts is what a user has got.
func inboxTexts(t *testing.T, s *server, userID string) (texts []string) {
	t.Helper()
	api := s.api().WithToken(s.tokens(userID, im.NewID(), "web").AccessToken)
	page, err := api.Inbox(t.Context(), client.InboxQuery{After: new(int64)})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.GetEntries() {
		texts = append(texts, e.GetMessage().GetContent().GetText())
	}
	return texts
}

// A broadcast to all goes on after kill -9, and nobody gets it twice.
func TestBroadcastToAll(t *testing.T) {
	s := startProcess(t, nil)
	var names []string
	for n := range 60 {
		names = append(names, fmt.Sprint("user", n))
	}
	users := s.users(names...)
	first := listen(t, s, slices.Min(users), binaryTCP)
	b, err := s.service().Broadcast(t.Context(), client.BroadcastTo{All: true}, client.TextContent("hear"), 30, 0)
	if err != nil || b.State != "running" {
		t.Fatalf("begun: %+v, %v", b, err)
	}
	first.until(t, "hear")
	s.kill()
	s.startProcess()
	if b = broadcastDone(t, s, b.BroadcastID); b.State != "done" || b.Sent != 60 || b.Refused != 0 {
		t.Errorf("it is %+v", b)
	}
	for _, id := range users {
		if texts := inboxTexts(t, s, id); len(texts) != 1 || texts[0] != "hear" {
			t.Errorf("%s has got %v", id, texts)
		}
	}
}

// hearing is a device that tells what it hears.
type hearing struct {
	client.NopHandler
	texts chan string
}

func (h *hearing) Entry(_ context.Context, e *imv1.Entry) error {
	h.texts <- e.GetMessage().GetContent().GetText()
	return nil
}

// until waits for a text.
func (h *hearing) until(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-h.texts:
			if got == text {
				return
			}
		case <-timeout:
			t.Fatalf("%q is not heard", text)
		}
	}
}

func listen(t *testing.T, s *server, userID string, change func(*client.Config)) *hearing {
	t.Helper()
	h := &hearing{texts: make(chan string, 100)}
	config := client.Config{Server: s.http, DeviceID: im.NewID(), Platform: "desktop", Handler: h, HTTPClient: s.web}
	change(&config)
	config.Tokens = s.tokens(userID, config.DeviceID, config.Platform)
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return h
}

// To users, who are online or not, and to a room; whom it can not reach is counted; the
// service key alone may.
func TestBroadcastToSome(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve")
	ann := newVisitor(t, s, users[0], textSocket)
	if _, err := ann.api.Broadcast(t.Context(), client.BroadcastTo{All: true}, client.TextContent("x"), 0, 0); codeOf(err) != im.Unauthenticated {
		t.Errorf("a user broadcasts: %v", err)
	}
	some := client.BroadcastTo{UserIDs: []string{users[1], "nobody", users[2], users[1]}}
	b, err := s.service().Broadcast(t.Context(), some, client.TextContent("some"), 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if b = broadcastDone(t, s, b.BroadcastID); b.Sent != 2 || b.Refused != 1 {
		t.Errorf("to users: %+v", b)
	}
	for id, want := range map[string]int{users[0]: 0, users[1]: 1, users[2]: 1} {
		if texts := inboxTexts(t, s, id); len(texts) != want {
			t.Errorf("%s has got %v", id, texts)
		}
	}
	// Who does not want to hear the system blocks it like anybody else.
	page, err := s.api().WithToken(s.tokens(users[1], im.NewID(), "web").AccessToken).Inbox(t.Context(), client.InboxQuery{After: new(int64)})
	if err != nil {
		t.Fatal(err)
	}
	bob := newVisitor(t, s, users[1], binaryTCP)
	if err := bob.api.Block(t.Context(), page.GetEntries()[0].GetMessage().GetSenderId()); err != nil {
		t.Fatal(err)
	}
	if b, err = s.service().Broadcast(t.Context(), client.BroadcastTo{UserIDs: users[1:2]}, client.TextContent("more"), 0, 0); err != nil {
		t.Fatal(err)
	}
	if b = broadcastDone(t, s, b.BroadcastID); b.Sent != 0 || b.Refused != 1 {
		t.Errorf("to who has blocked it: %+v", b)
	}
	if _, err := s.service().CreateRoom(t.Context(), "a", "A"); err != nil {
		t.Fatal(err)
	}
	ann.join("a")
	must(t, s.service().ChangeRoom(t.Context(), "a", client.RoomChanges{MuteAll: new(true)}))
	if b, err = s.service().Broadcast(t.Context(), client.BroadcastTo{RoomID: "a"}, client.TextContent("room"), 0, 0); err != nil {
		t.Fatal(err)
	}
	ann.until("the room's", func() bool { return len(ann.seqs["a"]) == 1 })
	if b = broadcastDone(t, s, b.BroadcastID); b.Sent != 1 {
		t.Errorf("to a room: %+v", b)
	}
	for transport, change := range map[string]func(*client.Config){"websocket": textSocket, "tcp": binaryTCP} {
		heard := listen(t, s, users[2], change)
		if _, err := s.service().Broadcast(t.Context(), client.BroadcastTo{UserIDs: users[2:]}, client.TextContent(transport), 0, 0); err != nil {
			t.Fatal(err)
		}
		heard.until(t, transport)
	}
	for name, to := range map[string]client.BroadcastTo{"nobody": {}, "two": {All: true, RoomID: "a"}} {
		if _, err := s.service().Broadcast(t.Context(), to, client.TextContent("x"), 0, 0); codeOf(err) != im.Invalid {
			t.Errorf("to %s: %v", name, err)
		}
	}
}

// The highest priority goes first, and what is cancelled ends.
func TestBroadcastPriorityAndCancel(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve", "dan", "kim", "lee")
	slow, err := s.service().Broadcast(t.Context(), client.BroadcastTo{UserIDs: users}, client.TextContent("slow"), 1, 1)
	must(t, err)
	urgent, err := s.service().Broadcast(t.Context(), client.BroadcastTo{UserIDs: users[:3]}, client.TextContent("urgent"), 1, 9)
	must(t, err)
	if urgent = broadcastDone(t, s, urgent.BroadcastID); urgent.Sent != 3 {
		t.Errorf("the urgent one is %+v", urgent)
	}
	if slow, err = s.service().ReadBroadcast(t.Context(), slow.BroadcastID); err != nil || slow.State != "running" || slow.Sent > 2 {
		t.Errorf("the other is %+v, %v", slow, err)
	}
	must(t, s.service().CancelBroadcast(t.Context(), slow.BroadcastID))
	if slow = broadcastDone(t, s, slow.BroadcastID); slow.State != "cancelled" || slow.Sent > 4 {
		t.Errorf("what was cancelled is %+v", slow)
	}
	if err := s.service().CancelBroadcast(t.Context(), "another"); codeOf(err) != im.NotFound {
		t.Errorf("cancelled what is not there: %v", err)
	}
}

// Whoever is disabled, or deleted, gets none, also if they have got one before.
func TestBroadcastPassesTheDisabledOver(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob")
	say := func(words string) client.Broadcast {
		b, err := s.service().Broadcast(t.Context(), client.BroadcastTo{All: true}, client.TextContent(words), 30, 0)
		must(t, err)
		return broadcastDone(t, s, b.BroadcastID)
	}
	if b := say("one"); b.Sent != 2 || b.Refused != 0 {
		t.Errorf("to both: %+v", b)
	}
	must(t, s.service().DisableUser(t.Context(), users[1], true))
	if b := say("two"); b.Sent != 1 || b.Refused != 1 {
		t.Errorf("one is disabled: %+v", b)
	}
}
