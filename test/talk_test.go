package test

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/proto/wire"
)

// Two people register, log in and talk, one in a browser's form and one over TCP.
// One goes away, and finds what was said meanwhile, in order and once.
func TestTwoUsersTalkAndOneComesBack(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	logIn := func(name, device, platform string, transport func(*client.Config)) func(*client.Config) {
		if _, err := s.api().Register(t.Context(), name, "correct-horse", name); err != nil {
			t.Fatal(err)
		}
		tokens, err := s.api().Login(t.Context(), name, "correct-horse", device, platform)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *client.Config) { c.Tokens = tokens; transport(c) }
	}
	asAlice := logIn("alice", "a-web", "web", textSocket)
	asBob := logIn("bob", "b-phone", "android", binaryTCP)
	users := s.users("alice", "bob")
	r := record(t, s)
	alice := r.device(users[0], "a-web", "web", asAlice)
	bob := r.device(users[1], "b-phone", "android", asBob)
	for range 5 {
		alice.say(bob.userID, 1)
		bob.say(alice.userID, 1)
	}
	alice.untilMessages(10)
	bob.untilMessages(10)

	bob.close()
	alice.say(bob.userID, 100)
	alice.untilAcked()
	alice.untilMessages(110)
	if len(bob.messages) != 10 {
		t.Fatalf("bob was away and received %d messages", len(bob.messages))
	}
	bob.connect()
	bob.untilMessages(110)

	verdict := r.judge()
	if verdict.Sent != 110 || verdict.Acknowledged != 110 {
		t.Errorf("verdict = %+v", verdict)
	}
	for i, m := range bob.messages {
		if m.GetConversationSeq() != int64(i+1) {
			t.Errorf("message %d has conversation seq %d", i, m.GetConversationSeq())
		}
	}
}

// The judge must be able to see a fault through this harness.
func TestTheJudgeOfTheStoriesSeesALoss(t *testing.T) {
	r := &recording{t: t, history: check.NewHistory()}
	conversation := r.history.Direct("a", "b")
	a, b := r.history.Device("a", "1"), r.history.Device("b", "1")
	from := a.Log()
	from.Sent(check.Sent{Number: 1, Conversation: conversation})
	from.Acked(check.Answer{Number: 1, MessageID: 1, Conversation: conversation, ConversationSeq: 1})
	b.Log().Resumed(check.Resume{})
	b.CaughtUp()
	if verdict := check.Judge(r.history); verdict.Totals[check.Loss] == 0 {
		t.Errorf("verdict = %+v", verdict)
	}
}

// The same by hand, without the SDK's help, in every form of both transports.
func TestWhoComesBackIsGivenWhatWasMissed(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	for i, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			users := s.users(fmt.Sprint("a", i), fmt.Sprint("b", i))
			sender, _ := s.phone(t, s.tokens(users[0], "a", "ios"), "a")
			auth := authOf(s.tokens(users[1], "b", "web"), "b", "web")
			receiver, reply := s.raw(t, transport.websocket, transport.form, auth)
			if reply.GetHead() != 0 || reply.GetResumeFrom() != 0 || reply.GetUserId() != users[1] {
				t.Fatalf("auth_reply = %v", reply)
			}
			sayMany(t, sender, users[1], 0, 3)
			receiver.untilMessages(3)
			receiver.ack(receiver.last())
			receiver.contiguous(0)
			last := receiver.last()
			receiver.conn.Close()

			sayMany(t, sender, users[1], 3, 100)
			auth.LastSeq, auth.InboxEpoch = &last, reply.GetInboxEpoch()
			receiver, reply = s.raw(t, transport.websocket, transport.form, auth)
			if reply.GetResumeFrom() != last || reply.GetHead() < last || reply.GetTooLong() {
				t.Errorf("came back with %v, want resume_from %d", reply, last)
			}
			receiver.untilMessages(100)
			receiver.contiguous(last)
			for i, m := range receiver.messages() {
				if m.GetContent().GetText() != fmt.Sprint("hello ", i+3) || m.GetConversationSeq() != int64(i+4) {
					t.Fatalf("message %d is %v", i, m)
				}
			}
			if head := receiver.heartbeat(); head < receiver.last() {
				t.Errorf("head %d below the last entry %d", head, receiver.last())
			}
		})
	}
}

// sayMany sends messages without waiting for answers in between, then for all.
func sayMany(t *testing.T, r *raw, to string, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		r.send(wire.OpSend, text(to, fmt.Sprint("m", i), fmt.Sprint("hello ", i)))
	}
	for acked := 0; acked < n; {
		frame, err := r.next()
		if err != nil || frame.Op == wire.OpError {
			t.Fatalf("%d of %d acknowledged: %v %s", acked, n, err, frame.Body)
		}
		if frame.Op == wire.OpSendAck {
			acked++
		}
	}
}
