package transfer

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// maxPushBytes bounds the bodies that wait for one gateway. Above it bodies are
	// dropped and only the newest head of each session is kept; the sessions pull,
	// which costs far more than a push.
	maxPushBytes = 8 << 20
	// messagePushBytes bounds those of one message: with all replies of a credit it
	// is below the 4 MiB that gRPC takes.
	messagePushBytes = 1 << 20
	// maxParts bounds the answers of each kind in one message, also when all
	// sessions of a large gateway attach at once.
	maxParts = 8192
)

// maxRelays bounds the signals that wait to be passed on by one gateway.
const maxRelays = 64

// maxPushSpans bounds the traced pushes that wait for one gateway; more are not
// seen by the tracer.
const maxPushSpans = 256

// gateway is the sending half of one gateway's stream. Whatever is put in while a
// message is being sent goes into the next one.
//
// Replies are never dropped: the gateway's credit bounds the requests that it has
// in flight, and so the replies.
type gateway struct {
	id      string
	dropped prometheus.Counter // entries whose bodies were
	wake    chan struct{}      // 1: there is something to send
	done    chan struct{}
	once    sync.Once

	mu        sync.Mutex
	next      *imv1.ToGateway
	pushBytes int
	heads     map[uint64]int64 // session -> head, of dropped bodies
	roomHeads map[string]int64 // of rooms, likewise
	traced    []im.Span        // of what is in next; at most maxPushSpans
	sending   []im.Span        // of what was taken last, all its parts: the sender's own
}

func newGateway(id string, m *metrics) *gateway {
	return &gateway{
		id: id, dropped: m.dropped, wake: make(chan struct{}, 1), done: make(chan struct{}),
		next: &imv1.ToGateway{}, heads: map[uint64]int64{}, roomHeads: map[string]int64{},
	}
}

func (g *gateway) close() { g.once.Do(func() { close(g.done) }) }

func (g *gateway) put(add func(*imv1.ToGateway)) {
	g.mu.Lock()
	add(g.next)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default: // already awake
	}
}

func (g *gateway) reply(r ...*imv1.Reply) {
	g.put(func(m *imv1.ToGateway) { m.Replies = append(m.Replies, r...) })
}

func (g *gateway) attached(a *imv1.Attached) {
	g.put(func(m *imv1.ToGateway) { m.Attached = append(m.Attached, a) })
}

func (g *gateway) head(h *imv1.HeadOf) {
	g.put(func(m *imv1.ToGateway) { m.Heads = append(m.Heads, h) })
}

func (g *gateway) kick(k *imv1.Kicked) {
	g.put(func(m *imv1.ToGateway) { m.Kicks = append(m.Kicks, k) })
}

func (g *gateway) presence(p *imv1.Presence) {
	g.put(func(m *imv1.ToGateway) { m.Presences = append(m.Presences, p) })
}

// relay asks the gateway to pass a signal on, unless much waits: signals are best effort.
func (g *gateway) relay(r *imv1.Relay) {
	g.put(func(m *imv1.ToGateway) {
		if g.pushBytes < maxPushBytes && len(m.Relays) < maxRelays {
			m.Relays = append(m.Relays, r)
		}
	})
}

func (g *gateway) ownership(o *imv1.Ownership) {
	g.put(func(m *imv1.ToGateway) { m.Ownerships = append(m.Ownerships, o) })
}

// push hands over pushes in order, or only their heads when too much is waiting,
// and the spans of those that are traced.
func (g *gateway) push(pushes []*imv1.Push, spans []im.Span) {
	g.put(func(m *imv1.ToGateway) {
		g.traced = append(g.traced, spans[:min(len(spans), maxPushSpans-len(g.traced))]...)
		for _, p := range pushes {
			if size := pushSize(p); g.pushBytes+size <= maxPushBytes {
				g.pushBytes += size
				m.Pushes = append(m.Pushes, p)
				continue
			}
			if room := p.GetRoom(); room != nil {
				g.dropped.Add(float64(len(room.Events)))
				g.roomHeads[room.ConversationId] = max(g.roomHeads[room.ConversationId], room.Upto)
			}
			g.dropped.Add(float64(len(p.Targets)))
			for _, target := range p.Targets {
				if target.Seq > g.heads[target.Session] {
					g.heads[target.Session] = target.Seq
				}
			}
		}
	})
}

// pushSize is about what a push takes in a message.
func pushSize(p *imv1.Push) int {
	size := len(p.GetEntry()) + len(p.GetSignal()) + 24*len(p.Targets) + len(p.GetRoomSignal().GetSignal())
	for _, e := range p.GetRoom().GetEvents() {
		size += len(e.GetMessage()) + len(e.GetEntry()) + 16
	}
	return size
}

// take returns what is waiting, or as much of it as one message may hold: heads and
// kicks then wait for the last pushes. It is called until nothing more is left.
func (g *gateway) take() (message *imv1.ToGateway, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	message, g.next = g.next, &imv1.ToGateway{}
	message.Attached, g.next.Attached = split(message.Attached)
	message.Replies, g.next.Replies = split(message.Replies)
	message.Presences, g.next.Presences = split(message.Presences)
	n, size := 0, 0
	for n < len(message.Pushes) && size < messagePushBytes {
		size += pushSize(message.Pushes[n])
		n++
	}
	g.pushBytes -= size
	if n < len(message.Pushes) {
		g.next.Pushes, message.Pushes = message.Pushes[n:], message.Pushes[:n:n]
		g.next.Heads, message.Heads = message.Heads, nil
		g.next.Kicks, message.Kicks = message.Kicks, nil
		g.next.RoomOwnerships, message.RoomOwnerships = message.RoomOwnerships, nil
		g.next.Rooms, message.Rooms = message.Rooms, nil
		return message, true
	}
	message.Heads, g.next.Heads = split(message.Heads)
	message.Kicks, g.next.Kicks = split(message.Kicks)
	g.takeRoomHeads(message)
	message.Rooms, g.next.Rooms = split(message.Rooms)
	g.sending, g.traced = append(g.sending, g.traced...), nil
	if push := g.takeHeads(); push != nil {
		message.Pushes = append(message.Pushes, push)
	}
	rest := g.next
	return message, len(rest.Attached)+len(rest.Replies)+len(rest.Heads)+len(rest.Kicks)+len(rest.Rooms)+len(rest.Presences)+len(g.heads) > 0
}

// takeHeads returns newest heads in place of bodies that were dropped; nil when
// there are none.
func (g *gateway) takeHeads() *imv1.Push {
	if len(g.heads) == 0 {
		return nil
	}
	push := &imv1.Push{What: &imv1.Push_HeadOnly{HeadOnly: true}}
	for session, head := range g.heads {
		if len(push.Targets) == maxParts {
			break
		}
		push.Targets = append(push.Targets, &imv1.Target{Session: session, Seq: head})
		delete(g.heads, session)
	}
	return push
}

func split[T any](all []T) (first, rest []T) {
	if len(all) <= maxParts {
		return all, nil
	}
	return all[:maxParts:maxParts], all[maxParts:]
}

// Connect serves the stream of one gateway. The sending half runs here, and the stream
// ends with it: a gateway must not believe in one that has no way for answers. The
// receiving half, in the order of arrival, ends with the stream.
func (s *Server) Connect(stream imv1.Transfer_ConnectServer) error {
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("receive hello: %w", err)
	}
	if first.Hello.GetServerId() == "" {
		return errors.New("the first message of a stream must say hello")
	}
	if meant := first.Hello.TransferId; meant != "" && meant != s.config.ServerID {
		return errors.New("the transfer that is meant has gone: another listens at its address")
	}
	g := newGateway(first.Hello.ServerId, s.metrics)
	if err := s.join(g); err != nil {
		return err
	}
	if err := stream.SendHeader(nil); err != nil { // the gateway may count on the stream from here on
		s.leave(g)
		return fmt.Errorf("accept the stream: %w", err)
	}
	received := make(chan error, 1)
	go func() {
		defer s.leave(g)
		received <- s.receive(g, first, stream)
	}()
	if err := s.send(g, stream); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	select {
	case err := <-received:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	default:
		return errors.New("the gateway has a newer stream, or the server stops")
	}
}

// join makes a gateway known and tells it what is owned here.
func (s *Server) join(g *gateway) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("server is stopping")
	}
	if former := s.gateways[g.id]; former != nil {
		former.close()
	}
	s.gateways[g.id] = g
	for _, r := range s.rooms {
		g.roomOwnership(r.ownership(false))
	}
	for q, box := range s.inboxes {
		g.ownership(&imv1.Ownership{Partition: int32(q), Term: box.term}) //nolint:gosec // at most 1,024
	}
	return nil
}

func (s *Server) leave(g *gateway) {
	g.close()
	s.mu.Lock()
	if s.gateways[g.id] == g {
		delete(s.gateways, g.id)
	}
	boxes := make([]*inbox, 0, len(s.inboxes))
	for _, box := range s.inboxes {
		boxes = append(boxes, box)
	}
	parts := make([]*rooms, 0, len(s.rooms))
	for _, r := range s.rooms {
		parts = append(parts, r)
	}
	s.mu.Unlock()
	for _, r := range parts {
		r.dropGateway(g)
	}
	for _, box := range boxes {
		box.control(controls{gone: g})
	}
}

// send writes what is waiting until the gateway is closed or the stream takes no more.
func (s *Server) send(g *gateway, stream imv1.Transfer_ConnectServer) error {
	for {
		select {
		case <-g.done: // what was put in before goes out, if the stream still takes it
			_ = s.sendTraced(g, stream)
			return nil
		case <-g.wake:
			if err := s.sendTraced(g, stream); err != nil {
				return err
			}
		}
	}
}

func (g *gateway) sendAll(stream imv1.Transfer_ConnectServer) error {
	for {
		message, more := g.take()
		if err := stream.Send(message); err != nil || !more {
			return err
		}
	}
}

// sendTraced writes what is waiting and reports what of it is traced.
func (s *Server) sendTraced(g *gateway, stream imv1.Transfer_ConnectServer) error {
	err := g.sendAll(stream)
	s.pushed(g.sending, err)
	g.sending = nil
	return err
}

// receive hands each part of a message to the step that it is for.
func (s *Server) receive(g *gateway, message *imv1.ToTransfer, stream imv1.Transfer_ConnectServer) error {
	var err error
	for ; err == nil; message, err = stream.Recv() {
		s.accept(g, message.Publishes)
		s.route(g, message)
		s.routeRooms(g, message)
		for _, r := range message.Relays {
			s.toUsers(r.UserIds, r.Signal, nil)
		}
	}
	return err
}

// route sorts a message's attaches, detaches, acks and all else that concerns one user by
// the inbox partition of that user.
func (s *Server) route(g *gateway, m *imv1.ToTransfer) {
	if len(m.Attaches)+len(m.Detaches)+len(m.Acks)+len(m.Heads)+len(m.Shown)+len(m.Watches)+len(m.Written) == 0 {
		return
	}
	batches := map[*inbox]*controls{}
	to := func(userID string) *controls {
		box := s.inboxOf(userID)
		if box == nil { // no longer ours; the gateway attaches again to who owns it
			return &controls{}
		}
		if batches[box] == nil {
			batches[box] = &controls{from: g}
		}
		return batches[box]
	}
	for _, a := range m.Attaches {
		c := to(a.UserId)
		c.attaches = append(c.attaches, a)
	}
	for _, d := range m.Detaches {
		c := to(d.UserId)
		c.detaches = append(c.detaches, d)
	}
	for _, a := range m.Acks {
		c := to(a.UserId)
		c.acks = append(c.acks, a)
	}
	for _, h := range m.Heads {
		c := to(h.UserId)
		c.heads = append(c.heads, h)
	}
	for _, p := range m.Shown {
		c := to(p.UserId)
		c.shown = append(c.shown, p)
	}
	for _, w := range m.Watches {
		c := to(w.UserId)
		c.watches = append(c.watches, w)
	}
	for _, w := range m.Written {
		c := to(w.UserId)
		c.written = append(c.written, w)
	}
	for box, c := range batches {
		box.control(*c)
	}
}
