package client

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// roomNotes is a Handler that writes down what rooms say.
type roomNotes struct {
	notes
	said []string
}

// Room notes a delivery.
func (n *roomNotes) Room(_ context.Context, d *RoomDelivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := fmt.Sprintf("(%d, %d]", d.After, d.Upto)
	for _, m := range d.Messages {
		line += fmt.Sprint(" ", m.GetConversationSeq())
	}
	if d.Skipped > 0 {
		line += fmt.Sprintf(" and %d skipped", d.Skipped)
	}
	if d.Ended != nil {
		line += " ended"
	}
	n.said = append(n.said, line)
}

func (n *roomNotes) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.said) != fmt.Sprint(want) {
		t.Errorf("handed on %q, want %q", n.said, want)
	}
}

func roomMessages(seqs ...int64) []*imv1.Message {
	var list []*imv1.Message
	for _, seq := range seqs {
		list = append(list, &imv1.Message{MessageId: 1000 + seq, ConversationSeq: seq})
	}
	return list
}

func roomBan(seq int64, user string) *imv1.Entry {
	return &imv1.Entry{Kind: "membership", Membership: &imv1.Membership{ConversationSeq: seq, Action: string(im.ActionRemoved), UserIds: []string{user}}}
}

// inLobby is a client in a room up to seq 5.
func inLobby(t *testing.T, f *fake) (*Client, *peer, *roomNotes) {
	n := &roomNotes{}
	c := f.client(func(config *Config) { config.Handler = n })
	p := f.connected(c, nil)
	joined := make(chan error, 1)
	go func() {
		_, err := c.JoinRoom(t.Context(), "lobby", -1)
		joined <- err
	}()
	frame, _ := expect[imv1.Join](p, wire.OpJoin)
	p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 5, Upto: 5, Messages: roomMessages(4, 5)})
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	return c, p, n
}

// rejoins expects the join of a new session, from a seq on.
func (p *peer) rejoins(after int64) wire.Frame {
	p.t.Helper()
	frame, join := expect[imv1.Join](p, wire.OpJoin)
	if join.GetRoomId() != "lobby" || join.After == nil || join.GetAfter() != after {
		p.t.Fatalf("joined by %v, want after %d", join, after)
	}
	return frame
}

// What was missed is read after a reconnect, all of it and nothing twice, and what is to be
// sent to the room waits until it is joined again, for else it would be refused for good.
func TestARoomIsJoinedAgainBeforeAnythingIsSentToIt(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c, p, n := inLobby(t, f)
		defer closeClient(t, c)
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 5, Upto: 6, Messages: roomMessages(6)})
		synctest.Wait()
		p.close()
		synctest.Wait()
		sending, err := c.SendAsync(t.Context(), ToRoom("lobby"), TextContent("x"), SendOptions{ClientMsgID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		sendTo(t, c, "bob", "y")

		p = f.accept()
		p.welcome(nil)
		frame := p.rejoins(6)
		p.expectSends("y") // which has nothing to do with the room
		p.refuse(frame, im.Unavailable, time.Second)
		p.nothing()
		frame = p.rejoins(6)
		p.nothing()
		p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 9, Upto: 8, Messages: roomMessages(7, 8), HasMore: true})
		frame = p.rejoins(8)
		p.expectSends("x")
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 9, Upto: 10, Messages: roomMessages(10)}) // behind the gap
		p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 10, Upto: 10, Messages: roomMessages(9, 10)})
		p.ack(&imv1.Send{ClientMsgId: "x"}, 11)
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 10, Upto: 14, Messages: roomMessages(11, 14), Skipped: 2})
		if ack, err := sending.Wait(t.Context()); err != nil || ack.ConversationSeq != 11 {
			t.Errorf("the send: %v, %v", ack, err)
		}
		n.expect(t, "(5, 6] 6", "(6, 8] 7 8", "(8, 10] 9 10", "(10, 14] 11 14 and 2 skipped")
	})
}

// A room that can not be joined again is told to have ended, and what waits for it goes out
// and has its answer.
func TestARoomThatIsGoneAfterAReconnect(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c, p, n := inLobby(t, f)
		defer closeClient(t, c)
		p.close()
		synctest.Wait()
		sending, err := c.SendAsync(t.Context(), ToRoom("lobby"), TextContent("x"), SendOptions{ClientMsgID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		p = f.accept()
		p.welcome(nil)
		p.refuse(p.rejoins(5), im.Forbidden, 0)
		frame, _ := p.send()
		p.refuse(frame, im.Forbidden, 0)
		if _, err := sending.Wait(t.Context()); im.AsError(err).Code != im.Forbidden {
			t.Errorf("the send: %v", err)
		}
		n.expect(t, "(5, 5] ended")
	})
}

// Who was banned and let in again while away finds the ban among what it reads: it is in.
func TestABanThatIsOverEndsNothing(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c, p, n := inLobby(t, f)
		defer closeClient(t, c)
		p.close()
		p = f.accept()
		p.welcome(nil)
		frame := p.rejoins(5)
		p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 7, Upto: 7, Events: []*imv1.Entry{roomBan(6, "alice")}, Messages: roomMessages(7)})
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 7, Upto: 8, Events: []*imv1.Entry{roomBan(8, "alice")}})
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 8, Upto: 9, Messages: roomMessages(9)})
		n.expect(t, "(5, 7] 7", "(7, 8]", "(8, 8] ended")
	})
}
