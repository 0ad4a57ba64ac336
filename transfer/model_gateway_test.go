package transfer_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// modelGateway has a stream to every owner that is not paused, and the phones of
// two users. It keeps a gateway's side: publishes enter through one stream, and
// when that breaks all unanswered ones go again, in order, before anything new; a
// partition's sessions attach again to its next owner.
type modelGateway struct {
	s *system

	mu       sync.Mutex // the streams' goroutines bring what arrives
	lines    map[*modelOwner]*line
	entry    *line             // of publishes
	inboxes  map[int]ownership // by partition
	phones   []*phone
	answers  map[uint64]func(*imv1.Reply) // by request
	sessions map[uint64]*phone
	request  uint64
	session  uint64

	seen    map[string]map[int64]string // by user and inbox seq: what was there
	hasRead map[string]map[int64]bool
	cursors map[string]int64 // as stored when it was looked last
	marks   map[im.ReadKey]im.ReadMark
}

type ownership struct {
	line *line
	term int64
}

// phone is a device and what its client knows.
type phone struct {
	user, device, platform string
	session                uint64 // 0: not attached
	generation             *imv1.Generation
	have                   int64 // everything up to here has arrived
	early                  map[int64]bool
	told                   int64 // acknowledged
	sends                  []*sending
}

// sending is a message of a phone. It is resent until it is answered.
type sending struct {
	phone               *phone
	to, id, after, body string
	conversation        string
	ack                 *imv1.SendAck
}

var modelUsers = []string{"alice", "bob"}

func newModelGateway(s *system) *modelGateway {
	g := &modelGateway{
		s: s, lines: map[*modelOwner]*line{}, inboxes: map[int]ownership{}, answers: map[uint64]func(*imv1.Reply){},
		sessions: map[uint64]*phone{}, seen: map[string]map[int64]string{}, hasRead: map[string]map[int64]bool{},
		cursors: map[string]int64{}, marks: map[im.ReadKey]im.ReadMark{},
	}
	for _, user := range modelUsers {
		s.must(s.db.CreateUser(context.Background(), im.User{ID: user, Username: user}))
		g.seen[user], g.hasRead[user] = map[int64]string{}, map[int64]bool{}
		for device, platform := range map[string]string{"d1": "web", "d2": "ios"} {
			s.must(s.db.PutDevice(context.Background(), im.Device{UserID: user, DeviceID: device, Platform: platform, Family: "f"}))
			g.phones = append(g.phones, &phone{user: user, device: device, platform: platform, early: map[int64]bool{}})
		}
	}
	slices.SortFunc(g.phones, func(a, b *phone) int { return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.device, b.device)) })
	return g
}

// line is the stream to one owner, without the wire.
type line struct {
	grpc.ServerStream
	gate *modelGateway
	ctx  context.Context
	up   chan *imv1.ToTransfer
}

// Context is the stream's.
func (l *line) Context() context.Context { return l.ctx }

// SendHeader does nothing.
func (l *line) SendHeader(metadata.MD) error { return nil }

// Send brings a message to the gateway.
func (l *line) Send(m *imv1.ToGateway) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	l.gate.arrived(l, m)
	return nil
}

// Recv takes what the gateway has sent.
func (l *line) Recv() (*imv1.ToTransfer, error) {
	select {
	case m := <-l.up:
		return m, nil
	case <-l.ctx.Done():
		return nil, io.EOF
	}
}

// connect opens the stream to an owner.
func (g *modelGateway) connect(o *modelOwner) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &line{gate: g, ctx: ctx, up: make(chan *imv1.ToTransfer, 4096)}
	l.up <- &imv1.ToTransfer{Hello: &imv1.Hello{ServerId: "gateway", Role: "websocket"}}
	g.mu.Lock()
	g.lines[o] = l
	g.mu.Unlock()
	o.hangUp = cancel
	g.s.going.Go(func() { _ = o.server.Connect(l) })
	g.enter()
}

// forget sends nothing to an owner any more.
func (g *modelGateway) forget(o *modelOwner) {
	g.mu.Lock()
	l := g.lines[o]
	delete(g.lines, o)
	for q, owned := range g.inboxes {
		if owned.line == l {
			g.inboxes[q] = ownership{term: owned.term}
		}
	}
	if g.entry == l {
		g.entry = nil
	}
	g.mu.Unlock()
	g.enter()
}

// enter chooses the stream that publishes go through, if there is none.
func (g *modelGateway) enter() {
	g.mu.Lock()
	if g.entry != nil || len(g.lines) == 0 {
		g.mu.Unlock()
		return
	}
	for _, o := range g.s.owners {
		if l := g.lines[o]; l != nil {
			g.entry = l
			break
		}
	}
	g.mu.Unlock()
	g.resend()
}

// arrived takes in a message of an owner.
func (g *modelGateway) arrived(l *line, m *imv1.ToGateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range m.Ownerships {
		g.owned(l, o)
	}
	for _, a := range m.Attached {
		if p := g.sessions[a.Session]; p != nil {
			p.generation = a.Generation
		}
	}
	for _, r := range m.Replies {
		if answer := g.answers[r.Request]; answer != nil {
			delete(g.answers, r.Request)
			answer(r)
		}
	}
	for _, push := range m.Pushes {
		for _, target := range push.Targets {
			p := g.sessions[target.Session]
			if p == nil || push.GetEntry() == nil {
				continue
			}
			entry := &imv1.Entry{}
			if err := entry.UnmarshalVT(push.GetEntry()); err != nil {
				g.s.broken("decode", "a push: %v", err)
				continue
			}
			entry.Seq = target.Seq
			g.got(p, entry)
		}
	}
}

// owned notes an owner, and has the partition's sessions attach to it.
func (g *modelGateway) owned(l *line, o *imv1.Ownership) {
	q := int(o.Partition)
	known := g.inboxes[q]
	switch {
	case o.Released && known.line == l:
		g.inboxes[q] = ownership{term: known.term}
	case !o.Released && o.Term >= known.term:
		g.inboxes[q] = ownership{l, o.Term}
		for _, p := range g.phones {
			if p.session != 0 && im.Partition(p.user, modelPartitions) == q {
				g.attach(p)
			}
		}
	}
}

// attach tells a session to the owner of its inbox, and what its device has
// acknowledged.
func (g *modelGateway) attach(p *phone) {
	g.toOwner(p, &imv1.ToTransfer{
		Attaches: []*imv1.Attach{{
			Session: p.session, UserId: p.user, DeviceId: p.device, Platform: p.platform, Generation: p.generation, Grant: im.Grant("f"),
		}},
		Acks: []*imv1.Acked{{Session: p.session, UserId: p.user, DeviceId: p.device, Seq: p.told}},
	})
}

func (g *modelGateway) toOwner(p *phone, m *imv1.ToTransfer) {
	if owned := g.inboxes[im.Partition(p.user, modelPartitions)]; owned.line != nil {
		owned.line.up <- m
	}
}

// got notes an entry that has arrived at a phone.
func (g *modelGateway) got(p *phone, entry *imv1.Entry) {
	what := entryText(entry)
	if before, ok := g.seen[p.user][entry.Seq]; ok && before != what {
		g.s.broken("changed", "entry %d of %s was %s, and is %s", entry.Seq, p.user, before, what)
	}
	g.seen[p.user][entry.Seq] = what
	p.early[entry.Seq] = true
	for p.early[p.have+1] {
		p.have++
		delete(p.early, p.have)
	}
}

func entryText(e *imv1.Entry) string {
	if r := e.Receipt; r != nil {
		return fmt.Sprintf("receipt %s %s %s %d", r.ConversationId, r.UserId, r.Kind, r.Upto)
	}
	return fmt.Sprintf("message %s %d %d", e.Message.GetConversationId(), e.Message.GetConversationSeq(), e.Message.GetMessageId())
}

// publish hands a request to the pipeline.
func (g *modelGateway) publish(p *phone, publish *imv1.Publish, answer func(*imv1.Reply)) {
	g.request++
	publish.Session, publish.Request, publish.UserId, publish.DeviceId = p.session, g.request, p.user, p.device
	g.answers[g.request] = answer
	if g.entry != nil {
		g.entry.up <- &imv1.ToTransfer{Publishes: []*imv1.Publish{publish}}
	}
}

// post sends a message, or sends it again.
func (g *modelGateway) post(m *sending) {
	body, err := text(m.to, m.id, m.after, m.body).MarshalVT()
	g.s.must(err)
	g.publish(m.phone, &imv1.Publish{What: &imv1.Publish_Send{Send: body}}, func(r *imv1.Reply) { g.answered(m, r) })
}

// answered judges what a send is answered with.
func (g *modelGateway) answered(m *sending, r *imv1.Reply) {
	switch ack := r.GetSendAck(); {
	case ack == nil:
		if c := im.Code(code(r)); c != im.Unavailable && c != im.OutOfOrder {
			g.s.broken("honesty", "%s of %s is refused: %v", m.id, m.phone.user, r)
		}
	case m.ack == nil:
		m.ack = ack
	case m.ack.MessageId != ack.MessageId || m.ack.ConversationSeq != ack.ConversationSeq:
		g.s.broken("identity", "%s of %s is %v and %v", m.id, m.phone.user, m.ack, ack)
	}
}

// resend sends everything unanswered again, in order. It returns how many.
func (g *modelGateway) resend() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.phones {
		for _, m := range p.sends {
			if m.ack == nil {
				g.post(m)
				n++
			}
		}
	}
	return n
}

// take takes a step of a phone.
func (g *modelGateway) take(step step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.phones[step.who%len(g.phones)]
	peer := modelUsers[step.whom%len(modelUsers)]
	switch step.what {
	case sends:
		for range 1 + step.n/2 {
			g.send(p, peer)
		}
	case resends:
		g.mu.Unlock()
		g.resend()
		g.mu.Lock()
	case retries, alters:
		if len(p.sends) > 0 {
			g.retry(p.sends[step.n%len(p.sends)], step.what == alters)
		}
	case attaches:
		g.session++
		p.session, p.generation = g.session, nil
		g.sessions[p.session] = p
		g.attach(p)
	case detaches:
		if p.session != 0 {
			g.toOwner(p, &imv1.ToTransfer{Detaches: []*imv1.Detach{{Session: p.session, UserId: p.user}}})
			delete(g.sessions, p.session)
			p.session = 0
		}
	case pulls:
		g.pull(p)
	case acks:
		if p.session != 0 {
			p.told = max(p.told, p.have)
			g.toOwner(p, &imv1.ToTransfer{Acks: []*imv1.Acked{{Session: p.session, UserId: p.user, DeviceId: p.device, Seq: p.told}}})
		}
	case acksAsking:
		g.ackDurably(p)
	case reads:
		g.read(p, peer, int64(step.n+1))
	}
}

// send makes a message. It names its unanswered predecessor, as the SDK does.
func (g *modelGateway) send(p *phone, peer string) {
	m := &sending{
		phone: p, to: peer, conversation: im.DirectConversation(p.user, peer),
		id: fmt.Sprint(len(p.sends)), body: fmt.Sprint(p.user, " ", p.device, " ", len(p.sends)),
	}
	for _, before := range p.sends {
		if before.conversation == m.conversation && before.ack == nil {
			m.after = before.id
		}
	}
	p.sends = append(p.sends, m)
	g.post(m)
}

// retry sends what may be answered already, or, if it is, its id with other content.
func (g *modelGateway) retry(m *sending, altered bool) {
	if !altered {
		g.post(m)
		return
	}
	if m.ack == nil {
		return
	}
	body, err := text(m.to, m.id, "", "something else").MarshalVT()
	g.s.must(err)
	g.publish(m.phone, &imv1.Publish{What: &imv1.Publish_Send{Send: body}}, func(r *imv1.Reply) {
		if c := im.Code(code(r)); c != im.Unavailable && c != im.Conflict {
			g.s.broken("conflict", "%s of %s with other content is answered %v", m.id, m.phone.user, r)
		}
	})
}

// pull reads what a phone lacks from the store, through any owner.
func (g *modelGateway) pull(p *phone) {
	live := g.s.live()
	after := p.have
	page, err := live[0].server.Pull(context.Background(), &imv1.PullRequest{UserId: p.user, After: &after, Limit: 100})
	g.s.must(err)
	if page.TooLong || page.Error != nil {
		g.s.broken("page", "of %s after %d: %v", p.user, after, page)
		return
	}
	for i, encoded := range page.Entries {
		entry := &imv1.Entry{}
		g.s.must(entry.UnmarshalVT(encoded))
		if entry.Seq != after+int64(i)+1 {
			g.s.broken("gap", "a page of %s after %d has %d at %d", p.user, after, entry.Seq, i)
		}
		if entry.Message != nil {
			if g.hasRead[p.user][entry.Seq] && !entry.HasRead {
				g.s.broken("has_read", "of entry %d of %s turned false", entry.Seq, p.user)
			}
			g.hasRead[p.user][entry.Seq] = entry.HasRead
		}
		g.got(p, entry)
	}
}

// ackDurably acknowledges as HTTP does: what is answered is stored.
func (g *modelGateway) ackDurably(p *phone) {
	g.request++
	asked, number := p.have, g.request
	g.answers[number] = func(r *imv1.Reply) {
		if c := im.Code(code(r)); c == im.Unavailable {
			return
		}
		seq := r.GetAckReply().GetSeq()
		if stored := g.s.cursor(p); seq < asked || stored < seq {
			g.s.broken("cursor", "%s/%s acknowledged %d, was answered %v, %d is stored", p.user, p.device, asked, r, stored)
		}
		p.told = max(p.told, seq)
	}
	g.toOwner(p, &imv1.ToTransfer{Acks: []*imv1.Acked{{
		UserId: p.user, DeviceId: p.device, Seq: asked, Durable: true, Request: number,
	}}})
}

// read marks a conversation as read.
func (g *modelGateway) read(p *phone, peer string, upto int64) {
	conversation := im.DirectConversation(p.user, peer)
	body, err := (&imv1.Read{ConversationId: conversation, Upto: upto}).MarshalVT()
	g.s.must(err)
	g.publish(p, &imv1.Publish{What: &imv1.Publish_Read{Read: body}}, func(r *imv1.Reply) {
		reply := r.GetReadReply()
		if c := im.Code(code(r)); reply == nil && (c == im.Unavailable || c == im.NotFound) {
			return
		}
		if stored := g.s.mark(p.user, conversation); reply == nil || stored.ReadUpto < reply.Upto {
			g.s.broken("read_upto", "%s read up to %d and was answered %v, %d is stored", p.user, upto, r, stored.ReadUpto)
		}
	})
}
