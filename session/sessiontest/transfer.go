package sessiontest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Transfer is one transfer server. The cluster's mu guards its fields.
type Transfer struct {
	imv1.UnimplementedTransferServer
	cluster  *Cluster
	id       string
	dial     func(context.Context, string) (net.Conn, error)
	server   *grpc.Server
	owned    map[int32]int64 // partition -> term
	gateways map[*gateway]struct{}
	gone     bool
	former   string // a server that was at this address and is still listed; empty: none
	refusing bool
	taken    int // publishes
	silent   atomic.Bool
	denies   atomic.Bool
	calls    atomic.Int64 // unary ones, answered or not
}

// Silence lets calls wait for answers that never come, as a paused transfer does.
func (tr *Transfer) Silence(silent bool) { tr.silent.Store(silent) }

// Deny refuses calls from now on, as a transfer does that takes their credential for
// a wrong one.
func (tr *Transfer) Deny() { tr.denies.Store(true) }

// Calls is how many unary calls have come.
func (tr *Transfer) Calls() int { return int(tr.calls.Load()) }

// called counts a call, and keeps it while the transfer is silent.
func (tr *Transfer) called(ctx context.Context) error {
	tr.calls.Add(1)
	if tr.denies.Load() {
		return status.Error(codes.Unauthenticated, "not authenticated")
	}
	if tr.silent.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// RoomPage knows no room but by OnRoomPage.
func (tr *Transfer) RoomPage(ctx context.Context, r *imv1.RoomPageRequest) (*imv1.RoomPageReply, error) {
	if err := tr.called(ctx); err != nil {
		return nil, err
	}
	if answer := tr.cluster.OnRoomPage; answer != nil {
		return answer(r), nil
	}
	return &imv1.RoomPageReply{Error: &imv1.Error{Code: string(im.NotFound), Message: "no such room"}}, nil
}

// gateway is one stream of a gateway.
type gateway struct {
	id  string
	rpc grpc.BidiStreamingServer[imv1.ToTransfer, imv1.ToGateway]
	cut chan struct{}
	out chan *imv1.ToGateway
}

func newTransfer(c *Cluster, id string) *Transfer {
	listener := bufconn.Listen(1 << 20)
	tr := serve(c, id, listener)
	tr.dial = func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	return tr
}

func serve(c *Cluster, id string, listener net.Listener) *Transfer {
	tr := &Transfer{
		cluster: c, id: id, server: grpc.NewServer(grpc.ForceServerCodecV2(codec.New())),
		owned: map[int32]int64{}, gateways: map[*gateway]struct{}{},
	}
	imv1.RegisterTransferServer(tr.server, tr)
	go tr.server.Serve(listener) //nolint:errcheck // ends with Stop
	return tr
}

// send queues; a test never has so much waiting that it blocks.
func (g *gateway) send(m *imv1.ToGateway) {
	select {
	case g.out <- m:
	case <-g.cut:
	}
}

func (tr *Transfer) announce(o *imv1.Ownership) {
	for g := range tr.gateways {
		g.send(&imv1.ToGateway{Ownerships: []*imv1.Ownership{o}})
	}
}

// Break cuts all streams; gateways connect again.
func (tr *Transfer) Break() {
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	for g := range tr.gateways {
		tr.drop(g)
	}
}

// Refuse lets no stream be opened, and cuts those there are.
func (tr *Transfer) Refuse(refuse bool) {
	tr.cluster.mu.Lock()
	tr.refusing = refuse
	tr.cluster.mu.Unlock()
	if refuse {
		tr.Break()
	}
}

// Published is how many publishes have come to this transfer.
func (tr *Transfer) Published() int {
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	return tr.taken
}

// drop cuts one stream; the cluster's mu is held.
func (tr *Transfer) drop(g *gateway) {
	if _, ok := tr.gateways[g]; !ok {
		return
	}
	delete(tr.gateways, g)
	close(g.cut)
	for _, box := range tr.cluster.inboxes {
		for key, to := range box.sessions {
			if to.stream == g {
				delete(box.sessions, key)
			}
		}
	}
}

// Unlist takes the transfer off the list of servers.
func (tr *Transfer) Unlist() {
	c := tr.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	tr.gone = true
	for _, w := range c.watchers {
		w <- c.listed()
	}
}

// Restarted keeps another server listed at this one's address: what was there before a
// kill -9, until its lease ends.
func (tr *Transfer) Restarted() {
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	tr.former = im.NewID()
}

// Streams is how many streams gateways have here.
func (tr *Transfer) Streams() int {
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	return len(tr.gateways)
}

// Connect serves a gateway's stream, if it is this transfer that it means.
func (tr *Transfer) Connect(rpc grpc.BidiStreamingServer[imv1.ToTransfer, imv1.ToGateway]) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	if first.GetHello().GetTransferId() != tr.id {
		return status.Error(codes.Unknown, "another transfer is meant")
	}
	g := &gateway{id: first.GetHello().GetServerId(), rpc: rpc, cut: make(chan struct{}), out: make(chan *imv1.ToGateway, 65536)}
	if !tr.enter(g) {
		return status.Error(codes.Unavailable, "refusing")
	}
	if err := rpc.SendHeader(nil); err != nil {
		return err
	}
	go tr.read(g)
	for {
		select {
		case m := <-g.out:
			if err := rpc.Send(m); err != nil {
				return err
			}
		case <-g.cut:
			return status.Error(codes.Unavailable, "cut")
		case <-rpc.Context().Done():
			return nil
		}
	}
}

func (tr *Transfer) enter(g *gateway) bool {
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	if tr.refusing {
		return false
	}
	tr.gateways[g] = struct{}{}
	for q, term := range tr.owned {
		g.send(&imv1.ToGateway{Ownerships: []*imv1.Ownership{{Partition: q, Term: term}}})
	}
	if tr.cluster.OnRoomPage != nil {
		g.send(&imv1.ToGateway{RoomOwnerships: []*imv1.Ownership{{Term: 1}}})
	}
	return true
}

func (tr *Transfer) read(g *gateway) {
	for {
		m, err := g.rpc.Recv()
		if err != nil {
			break
		}
		select {
		case <-g.cut:
			return // what comes after the cut is lost
		default:
			tr.handle(g, m)
		}
	}
	tr.cluster.mu.Lock()
	defer tr.cluster.mu.Unlock()
	tr.drop(g)
}

func (tr *Transfer) handle(g *gateway, m *imv1.ToTransfer) {
	c := tr.cluster
	for _, p := range m.Publishes {
		tr.publish(g, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range m.Attaches {
		tr.attach(g, a)
	}
	for _, d := range m.Detaches {
		delete(c.inbox(d.UserId).sessions, key(g, d.Session))
	}
	for _, here := range m.Rooms {
		if here.Attach {
			g.send(&imv1.ToGateway{Rooms: []*imv1.RoomThere{{ConversationId: here.ConversationId, Attached: true}}})
		}
	}
	for _, a := range m.Acks {
		tr.ack(g, a)
	}
	for _, h := range m.Heads {
		if !c.mute {
			g.send(&imv1.ToGateway{Heads: []*imv1.HeadOf{{Session: h.Session, Head: int64(len(c.inbox(h.UserId).entries))}}})
		}
	}
}

func key(g *gateway, session uint64) string { return g.id + " " + strconv.FormatUint(session, 10) }

func (tr *Transfer) attach(g *gateway, a *imv1.Attach) {
	if a.Generation != nil && a.Grant != im.Grant(tr.cluster.family(a.UserId, a.DeviceId)) {
		g.send(&imv1.ToGateway{Kicks: []*imv1.Kicked{{Session: a.Session, Code: string(im.Revoked), Grant: a.Grant}}})
		return
	}
	box := tr.cluster.inbox(a.UserId)
	for k, other := range box.sessions {
		if other.device == a.DeviceId && k != key(g, a.Session) {
			delete(box.sessions, k)
			other.stream.send(&imv1.ToGateway{Kicks: []*imv1.Kicked{{Session: other.session, Code: "superseded"}}})
		}
	}
	box.sessions[key(g, a.Session)] = target{g, a.Session, a.DeviceId}
	generation := a.Generation
	if generation == nil {
		box.counter++
		generation = &imv1.Generation{Term: 1, Counter: box.counter}
	}
	g.send(&imv1.ToGateway{Attached: []*imv1.Attached{{
		Session: a.Session, Head: int64(len(box.entries)), Generation: generation,
	}}})
}

func (tr *Transfer) ack(g *gateway, a *imv1.Acked) {
	c := tr.cluster
	c.acks = append(c.acks, a)
	box := c.inbox(a.UserId)
	if a.Seq > int64(len(box.entries)) {
		g.send(&imv1.ToGateway{Kicks: []*imv1.Kicked{{Session: a.Session, Code: "protocol_error", Reason: "ack above the head"}}})
		return
	}
	box.cursors[a.DeviceId] = max(box.cursors[a.DeviceId], a.Seq)
	if a.Request != 0 {
		g.send(&imv1.ToGateway{Replies: []*imv1.Reply{{
			Session: a.Session, Request: a.Request,
			What: &imv1.Reply_AckReply{AckReply: &imv1.AckReply{Seq: box.cursors[a.DeviceId]}},
		}}})
	}
}

func (tr *Transfer) publish(g *gateway, p *imv1.Publish) {
	c := tr.cluster
	c.mu.Lock()
	c.published = append(c.published, p)
	tr.taken++
	c.mu.Unlock()
	answer := c.answer
	if c.OnPublish != nil {
		answer = c.OnPublish
	}
	if reply := answer(p); reply != nil {
		reply.Session, reply.Request = p.Session, p.Request
		g.send(&imv1.ToGateway{Replies: []*imv1.Reply{reply}})
	}
}

// answer is what a pipeline would do.
func (c *Cluster) answer(p *imv1.Publish) *imv1.Reply {
	switch what := p.What.(type) {
	case *imv1.Publish_Send:
		var send imv1.Send
		if err := send.UnmarshalVT(what.Send); err != nil {
			return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: "invalid"}}}
		}
		return c.sequence(p, &send)
	case *imv1.Publish_Read:
		var read imv1.Read
		if err := read.UnmarshalVT(what.Read); err != nil {
			return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: "invalid"}}}
		}
		return &imv1.Reply{What: &imv1.Reply_ReadReply{ReadReply: &imv1.ReadReply{ConversationId: read.ConversationId, Upto: read.Upto}}}
	case *imv1.Publish_Signal:
		return c.signal(p, what.Signal)
	}
	return nil
}

// sequence stores a message once and answers repeats alike.
func (c *Cluster) sequence(p *imv1.Publish, send *imv1.Send) *imv1.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := p.UserId + " " + p.DeviceId + " " + send.ClientMsgId
	if ack := c.sent[id]; ack != nil {
		again := &imv1.SendAck{
			ClientMsgId: ack.ClientMsgId, MessageId: ack.MessageId,
			ConversationId: ack.ConversationId, ConversationSeq: ack.ConversationSeq, Duplicate: true,
		}
		return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: again}}
	}
	peer := send.GetTo().GetUserId()
	if peer == "" {
		return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: "not_found", Message: "no such conversation"}}}
	}
	ack := &imv1.SendAck{
		ClientMsgId: send.ClientMsgId, ConversationId: im.DirectConversation(p.UserId, peer),
		MessageId: int64(len(c.sent)) + 1, ConversationSeq: int64(len(c.sent)) + 1,
	}
	c.sent[id] = ack
	m := &imv1.Message{MessageId: ack.MessageId, ConversationId: ack.ConversationId, ConversationSeq: ack.ConversationSeq, SenderId: p.UserId, Content: send.Content}
	c.append(peer, m, true)
	if peer != p.UserId {
		c.append(p.UserId, m, true)
	}
	return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: ack}}
}

func (c *Cluster) signal(p *imv1.Publish, encoded []byte) *imv1.Reply {
	var signal imv1.Signal
	if err := signal.UnmarshalVT(encoded); err != nil || signal.Type == "" {
		return &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: "invalid", Message: "type is empty"}}}
	}
	signal.From = &imv1.SignalFrom{UserId: p.UserId, DeviceId: p.DeviceId}
	to := signal.To.GetUserId()
	signal.To = nil
	out, err := signal.MarshalVT()
	if err != nil {
		panic(fmt.Sprint("encode a signal: ", err)) // it can not fail
	}
	c.Push(to, 0, &imv1.Push{What: &imv1.Push_Signal{Signal: out}})
	return nil
}

// Login judges an auth.
func (tr *Transfer) Login(ctx context.Context, r *imv1.LoginRequest) (*imv1.LoginReply, error) {
	if err := tr.called(ctx); err != nil {
		return nil, err
	}
	return tr.cluster.login(r), nil
}

// Record keeps lines of the journal.
func (tr *Transfer) Record(_ context.Context, r *imv1.RecordRequest) (*imv1.RecordReply, error) {
	c := tr.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	c.journal = append(c.journal, r.Connections...)
	return &imv1.RecordReply{}, nil
}

// Visible lets everybody see everybody.
func (tr *Transfer) Visible(_ context.Context, r *imv1.VisibleRequest) (*imv1.VisibleReply, error) {
	return &imv1.VisibleReply{UserIds: r.UserIds}, nil
}

// Pull reads a page.
func (tr *Transfer) Pull(ctx context.Context, r *imv1.PullRequest) (*imv1.PullReply, error) {
	if err := tr.called(ctx); err != nil {
		return nil, err
	}
	if c := tr.cluster; c.OnPull != nil {
		if err := c.OnPull(r); err != nil {
			return nil, err
		}
	}
	return tr.cluster.pull(r), nil
}

// Kick closes sessions, where the transfer owns the user's partition.
func (tr *Transfer) Kick(_ context.Context, r *imv1.KickRequest) (*imv1.KickReply, error) {
	c := tr.cluster
	c.mu.Lock()
	_, owned := tr.owned[int32(im.Partition(r.UserId, Partitions))] //nolint:gosec // small
	c.mu.Unlock()
	if !owned {
		return nil, status.Error(codes.FailedPrecondition, "not the owner")
	}
	return &imv1.KickReply{Closed: int32(c.Kick(r.UserId, im.DisconnectCode(r.Code)))}, nil //nolint:gosec // small
}
