package test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/im-transfer/im/client"
)

// crowd is 20 connections whose users sit in a ring and talk to both neighbours;
// half of them are on TCP, some keep their state in a file.
func crowd(t *testing.T, s *server) *recording {
	t.Helper()
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprint("user", i)
	}
	r := record(t, s)
	for i, userID := range s.users(names...) {
		r.device(userID, fmt.Sprint("d", i), "desktop", func(c *client.Config) {
			c.MaxUnacknowledged = 8 // so that they are at it for a while
			if i%2 == 0 {
				binaryTCP(c)
			}
			if i%5 == 0 {
				c.State = client.NewFileState(filepath.Join(t.TempDir(), "state"))
			}
		})
	}
	return r
}

// chatter has everyone send n messages to each neighbour. The wait is for the last
// of them to be handed to the SDK.
func (r *recording) chatter(n int) *sync.WaitGroup {
	var talking sync.WaitGroup
	for i, d := range r.devices {
		left, right := r.devices[(i+len(r.devices)-1)%len(r.devices)], r.devices[(i+1)%len(r.devices)]
		talking.Go(func() {
			for range n {
				d.say(left.userID, 1)
				d.say(right.userID, 1)
			}
		})
	}
	return &talking
}

// unanswered counts the sends that are not acknowledged, of so many for each device.
func (r *recording) unanswered(each int) int {
	n := 0
	for _, d := range r.devices {
		d.mu.Lock()
		n += each - d.acked
		d.mu.Unlock()
	}
	return n
}

// settle waits until everybody has n messages to each neighbour acknowledged and
// has all that concerns them: their own and their neighbours', and has the verdict.
func (r *recording) settle(n int) {
	r.t.Helper()
	for _, d := range r.devices {
		d.untilAcked()
		d.untilMessages(4 * n)
	}
	verdict := r.judge()
	if want := 2 * n * len(r.devices); verdict.Sent != want || verdict.Acknowledged != want {
		r.t.Errorf("sent %d, acknowledged %d, want %d", verdict.Sent, verdict.Acknowledged, want)
	}
	for _, d := range r.devices {
		if len(d.messages) != 4*n {
			r.t.Errorf("%s has %d messages, want %d", d.id, len(d.messages), 4*n)
		}
	}
}

// The server is killed again and again while 20 connections send.
func TestKillNineWhileTwentyConnectionsSend(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil, "")
	r := crowd(t, s)
	const each, kills = 80, 3
	talking := r.chatter(each)
	for kill := range kills {
		d := r.devices[kill]
		d.mu.Lock()
		want := d.acked + (2*each-d.acked)/(kills+2-kill)
		d.mu.Unlock()
		d.until("a part of what is left", func() bool { return d.acked >= want })
		s.kill()
		unanswered := r.unanswered(2 * each)
		t.Logf("kill %d: %d of %d sends unanswered", kill+1, unanswered, 2*each*len(r.devices))
		if unanswered == 0 {
			t.Error("killed when there was nothing left to lose")
		}
		s.startProcess("")
	}
	talking.Wait()
	r.settle(each)
	for _, d := range r.devices {
		if d.sessions <= 1 {
			t.Errorf("%s had %d sessions: it was not there when the server was killed", d.id, d.sessions)
		}
	}
}

// The server dies by kill -9 at exactly the places between which a message could
// get lost or doubled, while 20 connections send.
func TestKillNineAtEveryPlaceOfTheWay(t *testing.T) {
	t.Parallel()
	for _, place := range []string{beforeInsert, afterInsert, beforeInbox, afterInbox} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s := startProcess(t, nil, place+":5")
			r := crowd(t, s)
			const each = 10
			talking := r.chatter(each)
			s.crashed()
			s.startProcess("")
			talking.Wait()
			r.settle(each)
		})
	}
}

// One message, at each place: what has happened to it when the server is back is
// what was promised, whether its sender tries again or not.
func TestOneMessageWhoseServerDies(t *testing.T) {
	t.Parallel()
	for place, stored := range map[string]bool{beforeInsert: false, afterInsert: true, beforeInbox: true, afterInbox: true} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s := startProcess(t, nil, place+":1")
			users := s.users("alice", "bob")
			alice, bob := s.tokens(users[0], "a", "ios"), s.tokens(users[1], "b", "ios")
			sender, _ := s.phone(t, alice, "a")
			before, err := sender.say(text(users[1], "m1", "hello"))
			if answered := err == nil; answered && (place == beforeInsert || place == afterInsert) {
				t.Fatalf("the server died, but answered %v", before)
			}
			s.crashed()
			s.startProcess("")

			receiver, _ := s.phone(t, bob, "b")
			if stored { // nobody has to do anything
				receiver.untilMessages(1)
			}
			sender, _ = s.phone(t, alice, "a")
			ack, err := sender.say(text(users[1], "m1", "hello"))
			if before.GetMessageId() != 0 && before.GetMessageId() != ack.GetMessageId() {
				t.Errorf("answered with id %d before, with %d now", before.GetMessageId(), ack.GetMessageId())
			}
			if err != nil || ack.GetConversationSeq() != 1 || ack.GetDuplicate() != stored {
				t.Fatalf("the retry is answered with %v, %v; want a duplicate: %v", ack, err, stored)
			}
			if _, err := sender.say(text(users[1], "m2", "again")); err != nil {
				t.Fatal(err)
			}
			receiver.untilMessages(2)
			receiver.contiguous(0)
			got := receiver.messages()
			if got[0].GetMessageId() != ack.GetMessageId() || got[1].GetConversationSeq() != 2 || got[1].GetContent().GetText() != "again" {
				t.Errorf("bob has %v", got)
			}
			sender.untilMessages(2)
			sender.contiguous(0)
		})
	}
}

// A client that dies with the server goes on from what it had kept.
func TestAClientProcessDiesTogetherWithTheServer(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil, afterInsert+":1")
	users := s.users("alice", "bob")
	r := record(t, s)
	state := client.NewFileState(filepath.Join(t.TempDir(), "state"))
	alice := r.device(users[0], "a", "desktop", func(c *client.Config) { c.State = state })
	bob := r.device(users[1], "b", "desktop", binaryTCP)
	alice.say(bob.userID, 10)
	s.crashed()
	kept, err := state.Load(t.Context()) // what a disk would hold
	if err != nil {
		t.Fatal(err)
	}
	alice.close()
	if err := state.Save(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	s.startProcess("")
	alice.connect()
	n := len(kept.Sends) // what was accepted and not kept yet was not sent either
	if n == 0 {
		t.Fatal("nothing was kept, but something was sent")
	}
	alice.until("the kept sends", func() bool { return alice.acked >= n })
	bob.untilMessages(n)
	alice.untilMessages(n)
	if verdict := r.judge(); verdict.Acknowledged != n {
		t.Errorf("%d of %d acknowledged", verdict.Acknowledged, n)
	}
}
