package test

import (
	"sync"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// outcome is what had become of a message when its server died.
type outcome int

const (
	unknown outcome = iota
	lost            // nobody has it but its sender
	kept            // nobody has to do anything
)

// The stories of one message: its server dies, and its sender is away until another
// has taken its place.
func aMessage(s *scene)          { oneMessage(s, unknown) }
func aMessageNobodyHas(s *scene) { oneMessage(s, lost) }
func aStoredMessage(s *scene)    { oneMessage(s, kept) }

func oneMessage(s *scene, became outcome) {
	w := s.talk()
	s.arm()
	send := w.firstMessage()
	s.diesOf(s.row.place, s.whoSends(w.alice, send))
	s.mend()
	w.bob.connect()
	if became == kept {
		w.bob.untilMessages(1)
	}
	w.retries(s, send, became)
	w.areServed()
}

// firstMessage is what alice sends bob by hand.
func (w *talkers) firstMessage() *imv1.Send {
	id, words := w.alice.next(w.bob.userID)
	return text(w.bob.userID, id, words)
}

// retries has alice send her first message again and checks the answer against what
// bob has.
func (w *talkers) retries(s *scene, send *imv1.Send, became outcome) {
	w.t.Helper()
	conn, _ := s.enter(authOf(w.alice.config.Tokens, "a", "desktop"))
	ack, err := again(w.t, func() (*imv1.SendAck, error) { return conn.say(send) })
	if err != nil {
		w.t.Fatalf("the retry is refused: %v", err)
	}
	w.hasOne(client.Ack{
		ClientMsgID: send.ClientMsgId, MessageID: ack.GetMessageId(), ConversationID: ack.GetConversationId(),
		ConversationSeq: ack.GetConversationSeq(), SentAtMs: ack.GetSentAtMs(), Duplicate: ack.GetDuplicate(),
	}, became)
	conn.conn.Close()
}

// hasOne checks the answer to the first message, and that bob has just that.
func (w *talkers) hasOne(ack client.Ack, became outcome) {
	w.t.Helper()
	w.alice.onSent(ack.ClientMsgID, ack, nil)
	w.bob.untilMessages(1)
	if became != unknown && ack.Duplicate != (became == kept) {
		w.t.Errorf("the retry is answered with %+v; want a duplicate: %v", ack, became == kept)
	}
	if got := w.bob.messages[0]; ack.ConversationSeq != 1 || got.GetMessageId() != ack.MessageID {
		w.t.Errorf("the retry is answered with %+v, bob has %v", ack, got)
	}
}

// A message is acknowledged and a second later its server dies: the conversation's row
// does not show it, who lists conversations does.
func anAnsweredMessage(s *scene) {
	w := s.talk()
	s.arm()
	w.alice.connect()
	w.alice.say(w.bob.userID, 1)
	s.dies() // of the time that passes
	w.alice.untilAcked()
	w.bob.connect()
	w.bob.untilMessages(1)
	for _, d := range []*device{w.alice, w.bob} {
		page, err := again(s.t, func() (client.ConversationPage, error) {
			return s.api().WithToken(d.config.Tokens.AccessToken).Conversations(s.t.Context(), client.ConversationQuery{})
		})
		if err != nil || len(page.Conversations) != 1 || page.Conversations[0].Head != 1 ||
			page.Conversations[0].LastMessage.GetMessageId() != w.bob.messages[0].GetMessageId() {
			s.t.Errorf("the list of %s: %+v, %v", d.id, page, err)
		}
	}
	w.areServed()
}

// A message by HTTP whose answer is lost.
func aMessageByHTTP(s *scene) {
	w := s.talk()
	s.arm()
	send := w.firstMessage()
	api := s.api().WithToken(w.alice.config.Tokens.AccessToken)
	if ack, err := api.SendMessage(s.t.Context(), send); err == nil {
		s.t.Fatalf("the server died, but answered %+v", ack)
	}
	s.dies()
	w.bob.connect()
	ack, err := again(s.t, func() (client.Ack, error) { return api.SendMessage(s.t.Context(), send) })
	if err != nil {
		s.t.Fatal(err)
	}
	w.hasOne(ack, kept)
	w.areServed()
}

// Twenty connections talk while their server dies, again and again.
func aCrowd(s *scene) {
	r := crowd(s.t, s.server)
	s.arm()
	const each = 10
	talking := r.chatter(each)
	s.dies()
	talking.Wait()
	r.settle(each)
}

// One message after the other, so that each has transactions of its own, and there are
// more than enough of them.
func aLongTalk(s *scene) {
	w := s.talk()
	w.alice.config.MaxUnacknowledged = 1
	w.connect()
	s.arm()
	var talking sync.WaitGroup
	talking.Go(func() { w.alice.say(w.bob.userID, 60) })
	s.dies()
	talking.Wait()
	w.areServed()
}

// A client that dies with the server goes on from what it had kept.
func aClientThatDiesToo(s *scene) {
	w := s.talk()
	state := client.NewFileState(s.t.TempDir() + "/state")
	w.alice.config.State = state
	s.arm()
	w.connect()
	w.alice.say(w.bob.userID, 10)
	s.died(s.row.place)
	left, err := state.Load(s.t.Context()) // what a disk would hold
	if err != nil {
		s.t.Fatal(err)
	}
	w.alice.close()
	if err := state.Save(s.t.Context(), left); err != nil {
		s.t.Fatal(err)
	}
	s.mend()
	w.alice.connect()
	n := len(left.Sends) // what was accepted and not kept yet was not sent either
	if n == 0 {
		s.t.Fatal("nothing was kept, but something was sent")
	}
	w.alice.until("the kept sends", func() bool { return w.alice.acked >= n })
	w.bob.untilMessages(n)
	w.alice.untilMessages(n)
	if verdict := w.judge(); verdict.Acknowledged != n {
		s.t.Errorf("%d of %d acknowledged", verdict.Acknowledged, n)
	}
}

// What was in the way of a message when its server died is with the next one, which
// dies as it takes the partitions over; the third delivers it.
func whoTakesOver(s *scene) {
	w := s.talk()
	s.armAt(s.row.before, 1)
	send := w.firstMessage()
	s.diesOf(s.row.before, s.whoSends(w.alice, send))
	s.arm()
	s.dies()
	w.bob.connect()
	w.retries(s, send, unknown)
	w.areServed()
}

// A server is told to stop while a pair talks, and dies on the way.
func whoIsStopped(s *scene) {
	w := s.talk()
	s.arm()
	w.goOn(5)
	bob, _ := s.enter(&imv1.Auth{
		Token: s.tokens(w.bob.userID, "phone", "ios").AccessToken, DeviceId: "phone", Platform: "ios", Protocol: im.ProtocolVersion,
	})
	bob.untilMessages(10)
	acked := bob.messageSeq(10)
	bob.send(wire.OpAck, &imv1.Ack{Seq: acked})
	w.alice.say(w.bob.userID, 5)
	w.bob.say(w.alice.userID, 5)
	if err := s.acting.Terminate(); err != nil {
		s.t.Fatal(err)
	}
	s.dies()
	w.areServed()
}

func (r *raw) messageSeq(n int) (seq int64) {
	for _, e := range r.entries {
		if e.GetMessage() != nil && n > 0 {
			n, seq = n-1, e.GetSeq()
		}
	}
	return seq
}
