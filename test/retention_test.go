package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// StartOver records that a device begins anew, where the server says so.
func (d *device) StartOver(_ context.Context, over client.StartOver) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrivals.Resumed(check.Resume{At: time.Since(d.began), From: over.Head, Head: over.Head, TooLong: true})
	d.last = over.Head
	d.overs++
	d.note()
	return nil
}

// untilGone waits until retention has deleted what follows a place in an inbox.
func (s *server) untilGone(t *testing.T, tokens client.Tokens, after int64) {
	t.Helper()
	api := s.api().WithToken(tokens.AccessToken)
	deadline := time.After(patience)
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		page, err := api.Inbox(t.Context(), client.InboxQuery{After: &after})
		if err != nil {
			t.Fatal(err)
		}
		if page.GetTooLong() {
			if len(page.GetEntries()) > 0 {
				t.Fatalf("a page that is too_long has entries: %v", page)
			}
			return
		}
		select {
		case <-every.C:
		case <-deadline:
			t.Fatalf("what follows %d is still there: %v", after, page)
		}
	}
}

// Who was away for longer than the inbox is kept is told so and starts over at its
// end; nothing of the history is missing.
func TestWhoWasAwayForTooLongStartsOver(t *testing.T) {
	t.Parallel()
	for _, form := range []struct {
		name string
		with func(*client.Config)
	}{{"websocket text", textSocket}, {"tcp protobuf", binaryTCP}} {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			s := startHere(t, map[string]string{"retention.inbox": "2s"})
			users := s.users("alice", "bob")
			r := record(t, s)
			alice := r.device(users[0], "a", "ios", form.with)
			bob := r.device(users[1], "b", "ios", form.with)
			alice.say(bob.userID, 3)
			bob.untilMessages(3)
			bob.close()

			last := bob.last
			for range 5 { // a block each
				alice.say(bob.userID, 1)
				alice.untilAcked()
			}
			s.untilGone(t, bob.config.Tokens, last)
			bob.connect()
			bob.until("being told", func() bool { return bob.overs == 1 })
			alice.say(bob.userID, 2)
			bob.untilMessages(3 + 2)

			history, _, err := s.api().WithToken(bob.config.Tokens.AccessToken).
				History(t.Context(), im.DirectConversation(users[0], users[1]), client.HistoryQuery{Limit: 100})
			if err != nil || len(history) != 10 {
				t.Errorf("%d messages of 10 in the history, %v", len(history), err)
			}
			bob.close()
			bob.connect()
			alice.say(bob.userID, 1)
			bob.untilMessages(3 + 2 + 1)
			alice.untilAcked()
			alice.untilMessages(11)
			if bob.overs != 1 {
				t.Errorf("told %d times", bob.overs)
			}
			r.judge()
		})
	}
}

// A device that is connected, and so slow that retention overtakes it, is
// disconnected, and told at its next auth.
func TestRetentionOvertakesALiveSession(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"retention.inbox": "2s", "session.window": "2"})
	users := s.users("alice", "bob")
	alice, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
	tokens := s.tokens(users[1], "b", "ios")
	bob, welcome := s.phone(t, tokens, "b")
	for i := range 6 {
		sayMany(t, alice, users[1], i, 1)
	}
	bob.untilMessages(2) // and no more, until it acknowledges them
	s.untilGone(t, tokens, 2)
	bob.send(wire.OpAck, &imv1.Ack{Seq: 2})
	for {
		if _, err := bob.next(); err != nil {
			break
		}
	}
	if bob.goodbye.GetCode() != string(im.Slow) || !bob.goodbye.GetReconnect() || len(bob.entries) != 2 {
		t.Fatalf("%d entries, then %v", len(bob.entries), bob.goodbye)
	}
	last := int64(2)
	auth := authOf(tokens, "b", "ios")
	auth.LastSeq, auth.InboxEpoch = &last, welcome.GetInboxEpoch()
	bob, welcome = s.raw(t, false, wire.Proto, auth)
	if !welcome.GetTooLong() || welcome.GetResumeFrom() != welcome.GetHead() || welcome.GetHead() < 6 {
		t.Errorf("told %v", welcome)
	}
	sayMany(t, alice, users[1], 6, 1)
	bob.untilMessages(1)
	if text := bob.messages()[0].GetContent().GetText(); text != fmt.Sprint("hello ", 6) {
		t.Errorf("went on with %q", text)
	}
}
