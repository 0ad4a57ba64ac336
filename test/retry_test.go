package test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// sender sends by one way or another and returns the answer.
type sender func(*imv1.Send) (*imv1.SendAck, error)

// ways are all the ways in which one device can send.
func ways(t *testing.T, s *server, tokens client.Tokens) map[string]sender {
	t.Helper()
	ways := map[string]sender{"http": func(send *imv1.Send) (*imv1.SendAck, error) {
		ack, err := s.api().WithToken(tokens.AccessToken).SendMessage(t.Context(), send)
		return &imv1.SendAck{
			ClientMsgId: ack.ClientMsgID, MessageId: ack.MessageID, ConversationId: ack.ConversationID,
			ConversationSeq: ack.ConversationSeq, SentAtMs: ack.SentAtMs, Duplicate: ack.Duplicate,
		}, err
	}}
	for _, transport := range transports {
		ways[transport.name] = func(send *imv1.Send) (*imv1.SendAck, error) {
			r, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "a", "ios"))
			defer r.conn.Close()
			return r.say(send)
		}
	}
	return ways
}

// retries tries again what was answered with an ack, by every way and however the
// conversation is named: the answer must be the same, and a duplicate.
func retries(t *testing.T, s *server, tokens client.Tokens, send *imv1.Send, first *imv1.SendAck) {
	t.Helper()
	want := proto.CloneOf(first)
	want.Duplicate = true
	other := proto.CloneOf(send)
	other.To = client.ToConversation(first.GetConversationId())
	other.After = "never-sent" // is not compared
	for name, say := range ways(t, s, tokens) {
		for _, again := range []*imv1.Send{send, other} {
			if ack, err := say(again); err != nil || !proto.Equal(ack, want) {
				t.Errorf("%s to %v: %v, %v; want %v", name, again.GetTo(), ack, err, want)
			}
		}
		changed := proto.CloneOf(send)
		changed.Content.Text = "something else"
		labelled := proto.CloneOf(send)
		labelled.Attributes = map[string]string{"a": "b"}
		for _, send := range []*imv1.Send{changed, labelled} {
			if ack, err := say(send); codeOf(err) != im.Conflict {
				t.Errorf("%s with other content: %v, %v; want conflict", name, ack, err)
			}
		}
	}
}

func TestARetryIsAnsweredWithTheOriginal(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	users := s.users("alice", "bob")
	tokens := s.tokens(users[0], "a", "ios")
	sent := map[string]*imv1.SendAck{}
	for name, say := range ways(t, s, tokens) {
		ack, err := say(text(users[1], name, "hello"))
		if err != nil || ack.GetDuplicate() || ack.GetMessageId() == 0 || ack.GetClientMsgId() != name {
			t.Fatalf("%s: %v, %v", name, ack, err)
		}
		sent[name] = ack
	}
	for name, first := range sent {
		retries(t, s, tokens, text(users[1], name, "hello"), first)
	}
	s.kill()
	s.startProcess()
	retries(t, s, tokens, text(users[1], "http", "hello"), sent["http"])
	s.restart()
	retries(t, s, tokens, text(users[1], "tcp json", "hello"), sent["tcp json"])

	// Bob has each of them once, and another device's ids are its own.
	bob, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	other, _ := s.raw(t, false, wire.JSON, authOf(s.tokens(users[0], "a2", "web"), "a2", "web"))
	if ack, err := other.say(text(users[1], "http", "hello")); err != nil || ack.GetDuplicate() {
		t.Errorf("another device with the same client_msg_id: %v, %v", ack, err)
	}
	bob.untilMessages(len(sent) + 1)
	bob.contiguous(0)
	seen := map[int64]bool{}
	for _, m := range bob.messages() {
		seen[m.GetMessageId()] = true
	}
	if head := bob.heartbeat(); len(seen) != len(sent)+1 || len(bob.messages()) != len(seen) || head != bob.last() {
		t.Errorf("bob has %d messages with %d ids, last seq %d, head %d", len(bob.messages()), len(seen), bob.last(), head)
	}
}

func TestASendBehindOneThatIsNotStored(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob", "carol")
	tokens := s.tokens(users[0], "a", "ios")
	i := 0
	for name, say := range ways(t, s, tokens) {
		id := func(of string) string { return name + of }
		second := text(users[1], id("2"), "two")
		second.After = id("1")
		if _, err := say(second); codeOf(err) != im.OutOfOrder {
			t.Errorf("%s: %v, want out_of_order", name, err)
		}
		if _, err := say(text(users[2], id("1"), "elsewhere")); err != nil {
			t.Fatal(err)
		}
		if _, err := say(second); codeOf(err) != im.OutOfOrder {
			t.Errorf("%s: a predecessor in another conversation: %v, want out_of_order", name, err)
		}
		for _, send := range []*imv1.Send{text(users[1], id("1"), "one"), second} {
			i++
			if ack, err := say(send); err != nil || ack.GetConversationSeq() != int64(i) {
				t.Errorf("%s: %v, %v; want conversation seq %d", name, ack, err, i)
			}
		}
	}
}
