package test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// roomScene is a room on a pipeline: its history is judged at the end.
type roomScene struct {
	*pipeline
	id, conversation string
	history          *check.History
	judged           *check.Room
}

// room makes a room, of which there is the event alone: who made it died before it wrote
// its row.
func (p *pipeline) room(id string) *roomScene {
	s := &roomScene{pipeline: p, id: id, conversation: im.RoomConversation(id), history: check.NewHistory()}
	s.judged = s.history.Room(s.conversation)
	data, err := structpb.NewStruct(map[string]any{"room_id": id, "name": id})
	must(p.t, err)
	body, err := (&imv1.Membership{Action: string(im.ActionCreated), Data: data}).MarshalVT()
	must(p.t, err)
	must(p.t, p.db.InsertEvents(p.t.Context(), []im.Event{{
		ID: int64(len(id)), ConversationID: s.conversation, Seq: 1, Kind: im.KindMembership, DeviceID: "service", ClientID: "made " + id, Body: body,
	}}, nil))
	p.t.Cleanup(func() {
		if verdict := check.Judge(s.history); !verdict.OK() {
			p.t.Errorf("room %s: %+v", id, verdict)
		}
	})
	return s
}

// change changes the room as the operator.
func (s *roomScene) change(link *session.Link, action im.Action, until string, users ...string) {
	s.t.Helper()
	data := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	if until != "" {
		data.Fields["banned_until_ms"] = structpb.NewStringValue(until)
	}
	encoded, err := (&imv1.RoomChange{
		ClientId: im.NewID(), RoomId: s.id, ByService: true, Membership: &imv1.Membership{Action: string(action), UserIds: users, Data: data},
	}).MarshalVT()
	must(s.t, err)
	reply, err := session.NewCaller(link).Publish(s.t.Context(), &imv1.Publish{DeviceId: "service", What: &imv1.Publish_Room{Room: encoded}})
	if err != nil || reply.GetError() != nil {
		s.t.Fatalf("change the room: %v, %v", reply, err)
	}
}

// ban bans a user, and unban takes that back.
func (s *roomScene) ban(link *session.Link, user string) {
	s.change(link, im.ActionRemoved, "9223372036854775807", user)
}
func (s *roomScene) unban(link *session.Link, user string) {
	s.change(link, im.ActionChanged, "0", user)
}

// guest is a device in a room, whose own goroutine is the test's.
type guest struct {
	*sessiontest.Client
	s       *roomScene
	user    string
	device  *check.Device
	log     *check.Log
	member  *check.RoomMember
	said    uint32
	out     bool  // not in the room
	upto    int64 // shown, or told to have missed
	shown   int
	skipped int
	actions []string        // of membership events
	banned  int             // how often it was told that it is
	answers map[int32]int64 // by sequence of a send, its seq in the room
}

// enters connects a user who joins the room.
func (s *roomScene) enters(hub *session.Hub, user string) *guest {
	g := s.visits(hub, user)
	if refusal := g.join(nil); refusal != nil {
		s.t.Fatalf("%s joins: %v", user, refusal)
	}
	return g
}

func (s *roomScene) visits(hub *session.Hub, user string) *guest {
	device := s.history.Device(user, "d1")
	return &guest{
		Client: s.calls(hub, user), s: s, user: user, device: device, log: device.Log(), member: s.judged.Member(device),
		answers: map[int32]int64{}, out: true,
	}
}

// calls opens a session that waits for a frame no longer than a test should.
func (s *roomScene) calls(hub *session.Hub, user string) *sessiontest.Client {
	c := s.connect(hub, user)
	stream := c.Wire.(sessiontest.Stream)
	stream.Patience = patience
	c.Wire = stream
	return c
}

// join joins, from a seq on if one is given.
func (g *guest) join(after *int64) *imv1.Error {
	g.T.Helper()
	g.Send(wire.OpJoin, 9, &imv1.Join{RoomId: g.s.id, After: after})
	for {
		switch r := g.next(); {
		case r.Op == wire.OpJoinReply:
			var page imv1.JoinReply
			g.decode(r, &page)
			g.joined(&page, after)
			return nil
		case r.Op == wire.OpError && r.Seq == 9:
			var refusal imv1.Error
			g.decode(r, &refusal)
			if refusal.RetryAfterMs == 0 {
				return &refusal
			}
			<-time.After(time.Duration(refusal.RetryAfterMs) * time.Millisecond) // refused for now, as when the room is changing
			g.Send(wire.OpJoin, 9, &imv1.Join{RoomId: g.s.id, After: after})
		}
	}
}

func (g *guest) joined(page *imv1.JoinReply, after *int64) {
	told := check.RoomPage{Upto: page.Upto, Head: page.Head, Latest: after == nil, Messages: shownIn(page.Messages), Events: len(page.Events)}
	if after != nil {
		told.After = *after
	}
	g.member.Joined(told, g.out)
	g.out = false
	g.upto = max(g.upto, page.Upto)
	g.shown += len(page.Messages)
}

// leaves leaves the room.
func (g *guest) leaves() {
	g.T.Helper()
	g.Send(wire.OpLeave, 8, &imv1.Leave{RoomId: g.s.id})
	for g.next().Op != wire.OpLeaveReply {
	}
	g.out = true
}

// next takes a frame in.
func (g *guest) next() sessiontest.Received {
	g.T.Helper()
	r := g.Next()
	if r.Err != nil {
		g.T.Fatalf("%s: %v", g.user, r.Err)
	}
	switch r.Op {
	case wire.OpRoomDeliver:
		var part imv1.RoomDeliver
		g.decode(r, &part)
		g.member.Delivered(check.RoomPart{
			After: part.After, Upto: part.Upto, Messages: shownIn(part.Messages), Events: len(part.Events), Skipped: int(part.Skipped),
		})
		g.upto, g.shown, g.skipped = max(g.upto, part.Upto), g.shown+len(part.Messages), g.skipped+int(part.Skipped)
		for _, e := range part.Events {
			m := e.GetMembership()
			if g.actions = append(g.actions, m.GetAction()); m.GetAction() == string(im.ActionRemoved) && slices.Contains(m.GetUserIds(), g.user) {
				g.banned++
			}
		}
	case wire.OpSendAck:
		var ack imv1.SendAck
		g.decode(r, &ack)
		g.answers[r.Seq] = ack.ConversationSeq
		g.log.Acked(check.Answer{
			Number: uint32(r.Seq - 100), MessageID: ack.MessageId, Conversation: g.s.judged.Ref(), ConversationSeq: ack.ConversationSeq, Duplicate: ack.Duplicate,
		})
	case wire.OpDisconnect:
		g.T.Fatalf("%s is sent away: %s", g.user, r.Body)
	}
	return r
}

func (g *guest) decode(r sessiontest.Received, into wire.Body) {
	g.T.Helper()
	must(g.T, wire.Unmarshal(r.Form, r.Body, into))
}

// shownIn is messages as the judge takes them; their texts are their keys.
func shownIn(messages []*imv1.Message) []check.RoomMessage {
	var shown []check.RoomMessage
	for _, m := range messages {
		var key check.Key
		words := m.GetContent().GetText()
		fmt.Sscanf(words, "%d.%d", &key.Device, &key.Number) //nolint:errcheck // what is no key is one that was never sent
		shown = append(shown, check.RoomMessage{Seq: m.ConversationSeq, ID: m.MessageId, Key: key, Hash: check.Hash(m.SenderId, []byte(words))})
	}
	return shown
}

// speaks sends a message, padded to a size, and returns its frame's sequence.
func (g *guest) speaks(size int) int32 {
	g.said++
	words := fmt.Sprintf("%d.%d ", g.device.Ref(), g.said)
	for len(words) < size {
		words += "x"
	}
	g.log.Sent(check.Sent{Number: g.said, Conversation: g.s.judged.Ref(), Hash: check.Hash(g.user, []byte(words))})
	seq := int32(100 + g.said)
	g.Send(wire.OpSend, seq, &imv1.Send{ClientMsgId: fmt.Sprint(g.said), To: client.ToRoom(g.s.id), Content: client.TextContent(words)})
	return seq
}

// says speaks and waits for the answer.
func (g *guest) says(size int) int64 {
	g.T.Helper()
	seq := g.speaks(size)
	for g.answers[seq] == 0 {
		if r := g.next(); r.Op == wire.OpError {
			g.T.Fatalf("%s speaks: %s", g.user, r.Body)
		}
	}
	return g.answers[seq]
}

// sees reads on up to a seq.
func (g *guest) sees(seq int64) {
	g.T.Helper()
	for g.upto < seq {
		g.next()
	}
}

// lossyConn is a way to a transfer on which what is pushed in rooms can get lost.
type lossyConn struct {
	grpc.ClientConnInterface
	lose *atomic.Bool
}

// Close closes the connection.
func (c lossyConn) Close() error { return c.ClientConnInterface.(io.Closer).Close() }

// NewStream opens a stream.
func (c lossyConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := c.ClientConnInterface.NewStream(ctx, desc, method, options...)
	return lossyStream{stream, c.lose}, err
}

type lossyStream struct {
	grpc.ClientStream
	lose *atomic.Bool
}

// RecvMsg receives, and loses.
func (s lossyStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	message, ok := m.(*imv1.ToGateway)
	if err != nil || !ok || !s.lose.Load() {
		return err
	}
	kept := message.Pushes[:0]
	for _, push := range message.Pushes {
		if push.GetRoom() == nil {
			kept = append(kept, push)
		}
	}
	message.Pushes = kept
	return nil
}

// lossy is a gateway on whose ways pushes get lost while lose is set.
func (p *pipeline) lossy(heads time.Duration) (hub *session.Hub, link *session.Link, lose *atomic.Bool) {
	lose = &atomic.Bool{}
	hub, link = p.linked(func(c *session.LinkConfig) {
		c.RoomHeads = heads
		c.Dial = func(ctx context.Context, address string) (grpc.ClientConnInterface, error) {
			conn, err := p.dial(ctx, address)
			return lossyConn{conn, lose}, err
		}
	})
	return hub, link, lose
}

// A push that is lost is made up for when the next one comes, and the last one when the
// heads are compared.
func TestALostPushInARoomIsMadeUpFor(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	p.add("b")
	s := p.room("lobby")
	p.user("ann")
	p.user("bob")
	hub, _, lose := p.lossy(time.Second)
	ann, bob := s.enters(p.gateway(), "ann"), s.enters(hub, "bob")
	bob.sees(ann.says(0))

	lose.Store(true)
	ann.says(0)
	ann.says(0)
	lose.Store(false)
	bob.sees(ann.says(0))

	lose.Store(true)
	bob.sees(ann.says(0))
	if bob.shown != 5 || bob.skipped != 0 {
		t.Errorf("bob was shown %d, %d were skipped", bob.shown, bob.skipped)
	}
	ann.sees(bob.upto)
	bob.member.CaughtUp()
	ann.member.CaughtUp()
}

// Rooms in every partition, with members on two gateways, go on when a transfer is killed,
// when one comes, and when one is paused and wakes up; nobody misses anything, or is told
// anything twice.
func TestRoomsOutliveTheirOwners(t *testing.T) {
	p := newPipeline(t)
	a, b := p.add("a"), p.add("b")
	here, there := p.gateway(), p.gateway()
	var speakers, listeners []*guest
	for n := range 3 * pipelinePartitions {
		s := p.room(fmt.Sprint("room", n))
		for _, user := range []string{"speaker", "listener"} {
			p.user(fmt.Sprint(user, n))
		}
		speakers = append(speakers, s.enters(here, fmt.Sprint("speaker", n)))
		listeners = append(listeners, s.enters(there, fmt.Sprint("listener", n)))
	}
	all := func() {
		t.Helper()
		for _, g := range speakers {
			g.speaks(0)
		}
		for i, g := range speakers {
			seq := int64(g.said) + 1
			g.sees(seq)
			listeners[i].sees(seq)
		}
	}
	all()
	p.kill(a)
	all()
	p.add("c")
	all()
	for _, g := range speakers { // something is on its way
		g.speaks(0)
	}
	p.pause(b)
	all()
	p.resume(b)
	all()
	for i := range speakers {
		for _, g := range []*guest{speakers[i], listeners[i]} {
			if g.shown != 6 || g.skipped != 0 {
				t.Errorf("%s was shown %d, %d were skipped", g.user, g.shown, g.skipped)
			}
			g.member.CaughtUp()
		}
	}
}

// Who reads slowly holds up nobody. It is told how much it has missed, also where nothing
// comes behind that, and can read it; and a speaker who does not read has its answers.
func TestASlowMemberOfARoomIsToldWhatItMisses(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	s := p.room("lobby")
	for _, user := range []string{"ann", "bob", "slow"} {
		p.user(user)
	}
	ann, bob, slow := s.enters(p.gateway(), "ann"), s.enters(p.gateway(), "bob"), s.enters(p.gateway(), "slow")
	var last int64
	spoke := slow.speaks(0)
	const size, n = 8 << 10, 40 // five times what may wait for a member
	for range n {
		last = ann.says(size)
		bob.sees(last)
	}
	slow.sees(last)
	for slow.answers[spoke] == 0 {
		slow.next()
	}
	if slow.skipped == 0 || slow.shown+slow.skipped != n+1 || bob.skipped != 0 {
		t.Errorf("who is slow was shown %d, %d were skipped; %d for another", slow.shown, slow.skipped, bob.skipped)
	}
	after, read := int64(1), slow.shown
	for after < last {
		before := slow.shown
		if refusal := slow.join(&after); refusal != nil {
			t.Fatal(refusal)
		}
		after += int64(slow.shown - before)
	}
	if slow.shown-read != n+1 {
		t.Errorf("read again: %d of %d", slow.shown-read, n+1)
	}
	for _, g := range []*guest{ann, bob, slow} {
		g.sees(last)
		g.member.CaughtUp()
	}
}

// Who is banned is told, also where it is slow; when the event was not pushed; and who was
// let in again since stays, when the ban is read late.
func TestWhoIsTakenOutOfARoomIsTold(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	p.add("b")
	s := p.room("lobby")
	for _, user := range []string{"ann", "bob", "eve", "slow"} {
		p.user(user)
	}
	hub, link, lose := p.lossy(time.Hour)
	ann, bob, eve, slow := s.enters(hub, "ann"), s.enters(hub, "bob"), s.enters(hub, "eve"), s.enters(hub, "slow")
	for range 20 {
		ann.says(8 << 10)
	}
	s.ban(link, "slow")
	for len(slow.actions) == 0 {
		slow.next()
	}
	ann.sees(22)
	if refusal := slow.join(nil); refusal.GetCode() != string(im.Forbidden) || slow.actions[0] != string(im.ActionRemoved) {
		t.Errorf("who is banned was told %v and joins: %v", slow.actions, refusal)
	}

	lose.Store(true)
	s.ban(link, "bob")
	s.unban(link, "bob")
	bob.leaves()
	s.ban(link, "eve")
	if refusal := eve.join(&eve.upto); refusal.GetCode() != string(im.Forbidden) {
		t.Errorf("who is banned reads on: %v", refusal)
	}
	s.unban(link, "eve")
	for _, g := range []*guest{bob, eve} {
		for g.out || g.upto < 26 {
			after := g.upto
			if refusal := g.join(&after); refusal != nil {
				t.Fatal(refusal)
			}
		}
		g.actions = nil
	}
	lose.Store(false)
	last := ann.says(0)
	for _, g := range []*guest{bob, eve} {
		if g.sees(last); len(g.actions) > 0 {
			t.Errorf("%s, who has come back, was told %v", g.user, g.actions)
		}
		last = g.says(0)
	}
}

// A room that ends while its gateway hears nothing of it is found to have ended.
func TestTheEndOfARoomIsFound(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	s := p.room("lobby")
	p.user("ann")
	hub, link, lose := p.lossy(time.Second)
	ann := s.enters(hub, "ann")
	lose.Store(true)
	s.change(link, im.ActionDissolved, "")
	for len(ann.actions) == 0 {
		ann.next()
	}
	if refusal := ann.join(nil); refusal.GetCode() != string(im.NotFound) || ann.actions[0] != string(im.ActionDissolved) {
		t.Errorf("told %v, and then %v", ann.actions, refusal)
	}
}
