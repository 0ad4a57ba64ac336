package transfer

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// askPatience is how long gateways have to say whether a user is in a room.
	askPatience = time.Second
	// settling is the time after a partition was taken in which gateways attach: that
	// nobody has a user in a room says nothing yet.
	settling = 2 * time.Second
)

// RoomPage reads a page of a room's events: the latest, or from a seq on.
func (s *Server) RoomPage(ctx context.Context, r *imv1.RoomPageRequest) (*imv1.RoomPageReply, error) {
	reply := &imv1.RoomPageReply{}
	err := s.roomPage(ctx, r, reply)
	if code := im.AsError(err).Code; err != nil && code == im.Internal {
		s.complain(s.log, "read a room", "error", err)
		err = im.Retry(im.Unavailable, retrySoon, "the store does not answer")
	}
	if err != nil {
		return &imv1.RoomPageReply{Error: errorBody(im.AsError(err))}, nil
	}
	return reply, nil
}

func (s *Server) roomPage(ctx context.Context, r *imv1.RoomPageRequest, reply *imv1.RoomPageReply) error {
	limit, ok := im.PageLimit(int(r.Limit))
	if !ok || r.GetAfter() < 0 {
		return im.Errorf(im.Invalid, "limit and after must not be negative")
	}
	room, err := s.room(ctx, r.ConversationId)
	if err != nil {
		return err
	}
	if err := room.shownTo(r.UserId, s.now().UnixMilli()); err != nil {
		return err
	}
	reply.Head, reply.After = room.Head, min(r.GetAfter(), room.Head)
	if r.After == nil {
		reply.After = max(0, room.Head-int64(limit))
	}
	reply.Upto = reply.After
	if reply.After == room.Head {
		return nil
	}
	page := roomPage{reply: reply, maxBytes: int(r.MaxBytes)}
	for want := min(limit, firstOfPage); want > 0; want = page.more(limit) {
		events, err := s.store.EventsAfter(ctx, r.ConversationId, reply.Upto, want)
		if err != nil {
			return fmt.Errorf("read a room's events: %w", err)
		}
		states, err := s.statesFor(ctx, events)
		if err != nil {
			return err
		}
		whole, err := page.fill(events, func(e *im.Event) (*imv1.RoomEvent, error) {
			field, body, err := states.appendAsItIs(nil, e, "", s.now().UnixMilli())
			return roomEventAs(e, field, body), err
		})
		if err != nil || !whole || len(events) < want {
			return err
		}
	}
	return nil
}

// firstOfPage is how many events of a page are read before it is known how large they are.
const firstOfPage = 8

// roomPage is a page that is being filled.
type roomPage struct {
	reply    *imv1.RoomPageReply
	bytes    int
	maxBytes int // 0 = no bound
}

// more is how many more events may go into the page, if they are like those before.
func (p *roomPage) more(limit int) int {
	n := len(p.reply.Events)
	if left := limit - n; p.maxBytes == 0 || left <= 0 || p.bytes == 0 {
		return left
	}
	return min(limit-n, (p.maxBytes-p.bytes)*n/p.bytes+1)
}

// fill puts events into a page, up to the first gap, and no further than the head for which
// the reader was judged: who joins up to there is banned by what comes later. whole: all of
// them went in.
func (p *roomPage) fill(events []im.Event, show func(*im.Event) (*imv1.RoomEvent, error)) (whole bool, err error) {
	for i := range events {
		shown, err := show(&events[i])
		if err != nil {
			return false, err
		}
		p.bytes += len(shown.GetMessage()) + len(shown.GetEntry())
		full := p.maxBytes > 0 && p.bytes > p.maxBytes && len(p.reply.Events) > 0
		if events[i].Seq != p.reply.Upto+1 || events[i].Seq > p.reply.Head || full {
			return false, nil
		}
		p.reply.Events, p.reply.Upto = append(p.reply.Events, shown), events[i].Seq
	}
	return true, nil
}

// room reads a room as it is.
func (s *Server) room(ctx context.Context, conversationID string) (*conversation, error) {
	if !im.IsRoom(conversationID) {
		return nil, errNoRoom
	}
	states, err := s.store.Conversations(ctx, []string{conversationID})
	if err != nil {
		return nil, fmt.Errorf("read a room: %w", err)
	}
	room, _, err := roomOf(&states[0])
	return room, err
}

// roomAsk is a question to gateways on its way.
type roomAsk struct {
	left   int
	inside bool
	done   chan struct{}
}

// RoomStatus tells how many are in a room, and whether a user is, which the gateways that
// have it open are asked.
func (s *Server) RoomStatus(ctx context.Context, r *imv1.RoomStatusRequest) (*imv1.RoomStatusReply, error) {
	part := s.roomsOf(r.ConversationId)
	if part == nil {
		return nil, status.Error(codes.FailedPrecondition, "the room's partition is owned elsewhere")
	}
	reply := &imv1.RoomStatusReply{}
	ask, id := part.ask(r, reply)
	if ask == nil {
		return reply, nil
	}
	defer part.forget(id)
	timer := time.NewTimer(askPatience)
	defer timer.Stop()
	select {
	case <-ask.done:
		part.mu.Lock()
		defer part.mu.Unlock()
		reply.Inside = ask.inside
	case <-timer.C:
		return nil, status.Error(codes.Unavailable, "a gateway does not answer")
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if !reply.Inside && time.Since(part.began) < settling {
		return nil, status.Error(codes.Unavailable, "the room's partition was taken just now")
	}
	return reply, nil
}

// ask puts the question to all gateways of a room; nil when there is nobody, or nothing,
// to ask.
func (r *rooms) ask(request *imv1.RoomStatusRequest, reply *imv1.RoomStatusReply) (*roomAsk, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.open[request.ConversationId]
	if room != nil {
		reply.Online = room.elsewhere(nil)
	}
	if request.UserId == "" {
		return nil, 0
	}
	r.asked++
	ask := &roomAsk{done: make(chan struct{})}
	if room == nil {
		close(ask.done)
		return ask, r.asked
	}
	ask.left = len(room.gateways)
	r.asks[r.asked] = ask
	for g := range room.gateways {
		question := &imv1.RoomAsk{Id: r.asked, ConversationId: request.ConversationId, UserId: request.UserId}
		g.put(func(m *imv1.ToGateway) { m.RoomAsks = append(m.RoomAsks, question) })
	}
	return ask, r.asked
}

// answered takes a gateway's answer: the first yes is enough.
func (r *rooms) answered(answer *imv1.RoomAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ask := r.asks[answer.Id]
	if ask == nil {
		return
	}
	ask.left--
	if ask.inside = answer.Inside; ask.inside || ask.left == 0 {
		delete(r.asks, answer.Id)
		close(ask.done)
	}
}

func (r *rooms) forget(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asks, id)
}

// signalsInRoom judges whether a user's signal may go to all in a room.
func (s *Server) signalsInRoom(ctx context.Context, r signalRequest) error {
	room, err := s.room(ctx, r.conversationID)
	if err != nil && im.AsError(err).Code == im.Internal {
		return im.Retry(im.Unavailable, retrySoon, "the store does not answer")
	}
	if err != nil {
		return err
	}
	return room.speaks(r.userID, r.joined, s.now().UnixMilli())
}

// signalRoom pushes a signal to the gateways of a room, where its partition is owned.
func (s *Server) signalRoom(r signalRequest, encoded []byte) {
	part := s.roomsOf(r.conversationID)
	if part == nil {
		return
	}
	part.mu.Lock()
	defer part.mu.Unlock()
	room := part.open[r.conversationID]
	if room == nil {
		return
	}
	for g := range room.gateways {
		signal := &imv1.RoomSignal{ConversationId: r.conversationID, Signal: encoded}
		if g.id == r.origin.Gateway {
			signal.Except = r.origin.Session
		}
		g.push([]*imv1.Push{{What: &imv1.Push_RoomSignal{RoomSignal: signal}}}, nil)
	}
}
