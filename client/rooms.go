package client

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// RoomHandler is the application's side of rooms, if its Handler has it too. The same
// goroutine calls it.
type RoomHandler interface {
	// Room takes what comes next in a room. What comes stands in the order of the room,
	// and nothing comes twice.
	Room(ctx context.Context, delivery *RoomDelivery)
}

// RoomDelivery is what a room says: the events in (After, Upto] but for those that were
// skipped.
type RoomDelivery struct {
	RoomID      string
	After, Upto int64 // conversation seqs
	Messages    []*imv1.Message
	Events      []*imv1.Entry
	Skipped     int   // events passed over because this device, or its application, lags; API.History has them
	Ended       error // not nil: the device is no longer in the room, and why
}

// room is a room that the client is in. Client.mu guards it.
type room struct {
	id      string
	upto    int64 // what is above it has not been handed on
	head    int64 // highest seq heard of
	reading bool  // a read from upto is on its way, or due
	behind  bool  // the handler is, and something was left out
}

// JoinRoom enters a room, until LeaveRoom or the end of the client: after a reconnect it
// joins again, and reads what it has missed. The answer holds the latest events, or with
// after (0 or more) those above that seq: the first of them, the handler gets the rest. A
// negative after is the latest. What an earlier process has sent to the room, and a State
// has kept, goes out behind it, or behind LeaveRoom. It waits for a session and tries again, until the context
// ends, while it is not known whether there is such a room.
func (c *Client) JoinRoom(ctx context.Context, roomID string, after int64) (*imv1.JoinReply, error) {
	join := &imv1.Join{RoomId: roomID}
	if after >= 0 {
		join.After = &after
	}
	reply := &imv1.JoinReply{}
	err := c.ask(ctx, wire.OpJoin, join, wire.OpJoinReply, reply)
	if refusal := (*im.Error)(nil); errors.As(err, &refusal) && refusal.Code.Final() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forgetFormer(roomID) // what waits to be sent to it is told the same
	}
	return reply, err
}

// LeaveRoom leaves a room. An error of im.NotFound says that the client was not in it.
func (c *Client) LeaveRoom(ctx context.Context, roomID string) error {
	c.mu.Lock()
	delete(c.rooms, roomID)
	c.forgetFormer(roomID)
	c.mu.Unlock()
	return c.ask(ctx, wire.OpLeave, &imv1.Leave{RoomId: roomID}, wire.OpLeaveReply, &imv1.LeaveReply{})
}

// joinAgain enters all rooms in a new session, in front of everything else that it
// writes. What is to be sent to a room waits until it is in: else it would be refused for
// good. The caller holds mu.
func (l *link) joinAgain() {
	l.client.out.held = maps.Clone(l.client.former)
	for _, r := range l.client.rooms {
		r.behind, l.client.out.held[im.RoomConversation(r.id)] = false, true
		l.readRoom(r)
	}
}

// readRoom asks for what comes behind a room's last. The caller holds mu.
func (l *link) readRoom(r *room) {
	if l == nil {
		return // the next session does
	}
	after := r.upto
	sequence := l.next()
	r.reading, l.joins[sequence] = true, r
	l.control = append(l.control, control{wire.OpJoin, sequence, &imv1.Join{RoomId: r.id, After: &after}})
	l.wakeUp()
}

// readOn asks for what was left out while the handler was behind. The caller holds mu.
func (c *Client) readOn() {
	if len(c.in.queue) > c.in.window/2 {
		return
	}
	for _, r := range c.rooms {
		if r.behind && !r.reading {
			r.behind = false
			c.link.readRoom(r)
		}
	}
}

// joinReply takes a page of a room: for who waits for it, or for the handler.
func (l *link) joinReply(frame wire.Frame, body *imv1.JoinReply) error {
	c := l.client
	c.mu.Lock()
	r, waiting := l.joins[frame.Seq], l.calls[frame.Seq]
	delete(l.joins, frame.Seq)
	switch {
	case r != nil && c.rooms[r.id] == r:
		r.reading = false
		c.letSends(r.id)
		page := &imv1.RoomDeliver{RoomId: r.id, After: r.upto, Upto: body.GetUpto(), Messages: body.GetMessages(), Events: body.GetEvents()}
		before := r.upto
		if l.take(r, page, body.GetHead(), false); r.upto > before { // else there is nothing yet; the next delivery asks again
			l.catchUp(r)
		}
	case waiting != nil && !waiting.closed:
		l.entered(body)
	case r == nil && c.rooms[body.GetRoomId()] == nil: // whoever has asked does not wait any more
		l.control = append(l.control, control{wire.OpLeave, l.next(), &imv1.Leave{RoomId: body.GetRoomId()}})
		l.wakeUp()
	}
	c.mu.Unlock()
	signal(c.entries)
	if waiting != nil {
		return l.answer(frame)
	}
	return nil
}

// entered notes a room that was joined. Deliveries go on where its page ends.
func (l *link) entered(body *imv1.JoinReply) {
	r := &room{id: body.GetRoomId(), upto: body.GetUpto(), head: body.GetHead()}
	l.client.rooms[r.id] = r
	l.client.forgetFormer(r.id)
	if r.upto < r.head {
		l.readRoom(r)
	}
}

// joinRefused gives a room up, or asks again after a pause. The caller holds mu.
func (l *link) joinRefused(sequence int32, refusal *im.Error) {
	c, r := l.client, l.joins[sequence]
	delete(l.joins, sequence)
	if c.rooms[r.id] != r {
		return
	}
	if refusal.Code.Final() {
		c.leftRoom(r, refusal)
		return
	}
	time.AfterFunc(max(refusal.RetryAfter, time.Second), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.link == l && c.rooms[r.id] == r {
			l.readRoom(r)
		}
	})
}

// roomDeliver takes what a room says.
func (l *link) roomDeliver(body *imv1.RoomDeliver) error {
	c := l.client
	c.mu.Lock()
	if r := c.rooms[body.GetRoomId()]; r != nil {
		l.take(r, body, body.GetUpto(), true)
		l.catchUp(r)
	}
	c.mu.Unlock()
	signal(c.entries)
	return nil
}

// take hands a part of a room on, if it follows on what was. What is delivered live may
// take the client out; what is read may not, for who has read it is in. The caller holds
// mu.
func (l *link) take(r *room, part *imv1.RoomDeliver, head int64, live bool) {
	c := l.client
	r.head = max(r.head, head)
	if part.GetAfter() <= r.upto && part.GetUpto() > r.upto {
		d := deliveryAbove(part, r.upto)
		if !c.in.delivery(d) {
			r.behind = true
			return
		}
		r.upto = d.Upto
		if why := endsFor(d, c.tokens.UserID); live && why != nil {
			c.leftRoom(r, why)
		}
	}
}

// catchUp reads what was not delivered. The caller holds mu.
func (l *link) catchUp(r *room) {
	if l.client.rooms[r.id] == r && r.upto < r.head && !r.reading && !r.behind {
		l.readRoom(r)
	}
}

// deliveryAbove is a part of a room without what is at or below a seq.
func deliveryAbove(part *imv1.RoomDeliver, upto int64) *RoomDelivery {
	d := &RoomDelivery{RoomID: part.GetRoomId(), After: max(upto, part.GetAfter()), Upto: part.GetUpto(), Skipped: int(part.GetSkipped())}
	for _, m := range part.GetMessages() {
		if m.GetConversationSeq() > upto {
			d.Messages = append(d.Messages, m)
		}
	}
	for _, e := range part.GetEvents() {
		if seq := seqOf(e); seq == 0 || seq > upto {
			d.Events = append(d.Events, e)
		}
	}
	return d
}

// seqOf is an event's conversation seq, 0 for one of a kind that is not known.
func seqOf(e *imv1.Entry) int64 {
	switch {
	case e.GetMembership() != nil:
		return e.GetMembership().GetConversationSeq()
	case e.GetRecall() != nil:
		return e.GetRecall().GetConversationSeq()
	case e.GetEdit() != nil:
		return e.GetEdit().GetConversationSeq()
	case e.GetReaction() != nil:
		return e.GetReaction().GetConversationSeq()
	}
	return 0
}

// endsFor says why a user is no longer in a room, nil where they are.
func endsFor(d *RoomDelivery, userID string) error {
	for _, e := range d.Events {
		m := e.GetMembership()
		switch im.Action(m.GetAction()) {
		case im.ActionDissolved:
			return im.Errorf(im.NotFound, "the room has been dissolved")
		case im.ActionRemoved:
			for _, id := range m.GetUserIds() {
				if id == userID {
					return im.Errorf(im.Forbidden, "banned from the room")
				}
			}
		}
	}
	return nil
}

// forgetFormer lets go what an earlier process has sent to a room. The caller holds mu.
func (c *Client) forgetFormer(roomID string) {
	delete(c.former, im.RoomConversation(roomID))
	c.letSends(roomID)
}

// letSends lets go what waits for a room to be joined again. The caller holds mu.
func (c *Client) letSends(roomID string) {
	if conversation := im.RoomConversation(roomID); c.out.held[conversation] {
		delete(c.out.held, conversation)
		c.link.wakeUp()
	}
}

// leftRoom forgets a room and tells the handler, however far behind that is. The caller
// holds mu.
func (c *Client) leftRoom(r *room, why error) {
	delete(c.rooms, r.id)
	c.letSends(r.id)
	c.in.queue = append(c.in.queue, item{era: c.in.era, room: &RoomDelivery{RoomID: r.id, After: r.upto, Upto: r.upto, Ended: why}})
	signal(c.entries)
}
