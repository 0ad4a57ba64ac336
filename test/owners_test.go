package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// talker is a device that sends so many messages to one peer, each behind the one
// before, a few at a time, sends again what is refused, and acknowledges what
// comes. It takes a session of the other gateway when it is sent away.
type talker struct {
	t            *testing.T
	hubs         []*session.Hub
	user, peer   string
	sends        uint32
	began        time.Time
	device       *check.Device
	peerDevice   *check.Device
	conversation check.ConversationRef
	log          *check.Log
	progress     chan<- struct{} // one for each of its messages acknowledged

	client  *sessiontest.Client
	acked   map[uint32]bool
	flying  map[uint32]bool // without an answer
	refused bool            // one was, for now
	next    uint32          // the first one not sent yet
	last    int64           // inbox seq delivered
	got     map[check.Key]bool
}

const talkerWindow = 8

func (u *talker) at() time.Duration { return time.Since(u.began) }

// talk ends when all is acknowledged and delivered, or nothing moves any more.
func (u *talker) talk() {
	u.acked, u.flying, u.got, u.next = map[uint32]bool{}, map[uint32]bool{}, map[check.Key]bool{}, 1
	for visit := 0; !u.done(); visit++ {
		if visit > 50 {
			u.t.Errorf("%s is sent away again and again", u.user)
			return
		}
		if !u.visit(u.hubs[visit%len(u.hubs)]) {
			return
		}
	}
	u.device.CaughtUp()
}

func (u *talker) done() bool {
	return len(u.acked) == int(u.sends) && len(u.got) == 2*int(u.sends)
}

// visit is one session; false when the talk is over.
func (u *talker) visit(hub *session.Hub) bool {
	server, conn := sessiontest.Pipe()
	hub.Serve(server)
	u.client = &sessiontest.Client{T: u.t, Wire: conn, Form: wire.Proto}
	frames, over := make(chan sessiontest.Received, 64), make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			r := u.client.Next()
			select {
			case frames <- r:
			case <-over:
				return
			}
			if r.Err != nil {
				return
			}
		}
	})
	defer reading.Wait()
	defer conn.Close()
	defer close(over)
	u.log = u.device.Log()
	u.flying, u.refused = map[uint32]bool{}, len(u.acked) < int(u.next)-1
	u.client.Send(wire.OpAuth, 1, &imv1.Auth{Token: u.user, DeviceId: "d1", Platform: "web", LastSeq: &u.last})
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for !u.done() {
		select {
		case r := <-frames:
			if r.Err != nil {
				return true
			}
			u.take(r)
		case <-patience.C:
			u.t.Errorf("%s: %d of %d acknowledged, %d unanswered, %d of %d delivered", u.user,
				len(u.acked), u.sends, len(u.flying), len(u.got), 2*u.sends)
			return false
		}
	}
	return true
}

func (u *talker) take(r sessiontest.Received) {
	switch r.Op {
	case wire.OpAuthReply:
		var reply imv1.AuthReply
		u.decode(r, &reply)
		u.log.Resumed(check.Resume{
			At: u.at(), From: reply.ResumeFrom, Head: reply.Head, Last: u.last, HasLast: true, TooLong: reply.TooLong,
		})
	case wire.OpSendAck:
		var ack imv1.SendAck
		u.decode(r, &ack)
		u.answered(uint32(r.Seq), &ack)
	case wire.OpError:
		if r.Seq > 1 {
			delete(u.flying, uint32(r.Seq-1))
			u.refused = true
		}
	case wire.OpDeliver:
		var d imv1.Deliver
		u.decode(r, &d)
		for _, e := range d.Entries {
			u.arrived(e)
		}
		u.log.Cursor(u.at(), u.last)
		u.client.Send(wire.OpAck, 0, &imv1.Ack{Seq: u.last})
	case wire.OpDisconnect:
		return
	}
	u.send()
}

func (u *talker) decode(r sessiontest.Received, body wire.Body) {
	if err := wire.Unmarshal(r.Form, r.Body, body); err != nil {
		u.t.Error(err)
	}
}

func (u *talker) answered(seq uint32, ack *imv1.SendAck) {
	number := seq - 1
	delete(u.flying, number)
	u.log.Acked(check.Answer{
		At: u.at(), Number: number, MessageID: ack.MessageId, Conversation: u.conversation,
		ConversationSeq: ack.ConversationSeq, Duplicate: ack.Duplicate,
	})
	if !u.acked[number] {
		u.acked[number] = true
		u.progress <- struct{}{}
	}
}

func (u *talker) arrived(e *imv1.Entry) {
	u.last = max(u.last, e.Seq)
	m := e.Message
	if m == nil {
		u.log.Receipt(u.at(), e.Seq, u.conversation, e.Receipt.GetUserId(), e.Receipt.GetKind() == "delivered", e.Receipt.GetUpto())
		return
	}
	key := check.Key{Device: u.peerDevice.Ref()}
	if m.SenderId == u.user {
		key.Device = u.device.Ref()
	}
	if _, err := fmt.Sscanf(m.Content.GetText(), "message %d", &key.Number); err != nil {
		u.t.Error(err)
	}
	u.log.Arrived(check.Arrival{
		At: u.at(), Seq: e.Seq, MessageID: m.MessageId, Conversation: u.conversation, ConversationSeq: m.ConversationSeq,
		Key: key, Hash: check.Hash(m.SenderId, []byte(m.Content.GetText())),
	})
	u.got[key] = true
}

// send sends as many as the window allows. What was refused goes again from the
// first that is not acknowledged on, in order, once nothing is on its way.
func (u *talker) send() {
	if u.refused {
		if len(u.flying) > 0 {
			return
		}
		u.refused = false
		for number := uint32(1); number < u.next; number++ {
			if !u.acked[number] {
				u.post(number)
			}
		}
	}
	for ; u.next <= u.sends && len(u.flying) < talkerWindow; u.next++ {
		u.post(u.next)
	}
}

func (u *talker) post(number uint32) {
	body, after := fmt.Sprint("message ", number), ""
	if number > 1 {
		after = fmt.Sprint(number - 1)
	}
	u.flying[number] = true
	u.log.Sent(check.Sent{
		At: u.at(), Number: number, Conversation: u.conversation, After: number - 1, Named: number > 1,
		Hash: check.Hash(u.user, []byte(body)),
	})
	u.client.Send(wire.OpSend, int32(number+1), &imv1.Send{
		ClientMsgId: fmt.Sprint(number), After: after, To: &imv1.To{To: &imv1.To_UserId{UserId: u.peer}},
		Content: &imv1.Content{Type: "text", Text: body},
	})
}

// Owners come and go while users of two gateways talk: one is killed, one is paused
// and writes late what it had in hand, one leaves, others are added. What was
// acknowledged arrives, once and in order, as the judge sees it.
func TestOwnersComeAndGo(t *testing.T) {
	p := newPipeline(t)
	a, b := p.add("a"), p.add("b")
	var c, d *member
	converse(t, p, 6, 120, []func(){
		func() { c = p.add("c") },
		func() { p.kill(a) },
		func() { p.pause(b) },
		func() { d = p.add("d") },
		func() { p.resume(b) },
		func() { p.leave(c) },
		func() { p.pause(d) },
		func() { p.resume(d) },
	})
}

// The same in whatever order it happens, with one live transfer at least.
func TestOwnersComeAndGoInAnyOrder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := newPipeline(t)
			fate := &fates{p: p, random: rand.New(rand.NewPCG(seed, 1)), live: []*member{p.add("0"), p.add("1")}}
			steps := make([]func(), 10)
			for i := range steps {
				steps[i] = fate.step
			}
			converse(t, p, 3, 80, steps)
			for _, m := range fate.paused {
				p.resume(m)
			}
		})
	}
}

// fates lets something happen to the transfers, by a seed.
type fates struct {
	p            *pipeline
	random       *rand.Rand
	live, paused []*member
	made         int
}

func (f *fates) step() {
	take := func(from *[]*member) *member {
		i := f.random.IntN(len(*from))
		m := (*from)[i]
		*from = slices.Delete(*from, i, i+1)
		return m
	}
	switch what := f.random.IntN(5); {
	case what == 0 && len(f.paused) > 0:
		m := take(&f.paused)
		f.p.resume(m)
		f.live = append(f.live, m)
	case what <= 1 || len(f.live) == 1:
		f.made++
		f.live = append(f.live, f.p.add(fmt.Sprint("more ", f.made)))
	case what == 2:
		f.p.kill(take(&f.live))
	case what == 3:
		f.p.leave(take(&f.live))
	default:
		m := take(&f.live)
		f.p.pause(m)
		f.paused = append(f.paused, m)
	}
}

// converse lets pairs of users on two gateways send to each other, takes the steps
// while they do, spread over the time, and has the judge look at what all saw.
func converse(t *testing.T, p *pipeline, pairs int, sends uint32, steps []func()) {
	total := 2 * pairs * int(sends)
	hubs := []*session.Hub{p.gateway(), p.gateway()}
	history, began := check.NewHistory(), time.Now()
	progress := make(chan struct{}, total)
	var talking sync.WaitGroup
	for i := range pairs {
		ids := [2]string{fmt.Sprint("ann", i), fmt.Sprint("bob", i)}
		p.user(ids[0])
		p.user(ids[1])
		devices := [2]*check.Device{history.Device(ids[0], "d1"), history.Device(ids[1], "d1")}
		for n := range 2 {
			u := &talker{
				t: t, hubs: hubs, user: ids[n], peer: ids[1-n], sends: sends, began: began, device: devices[n],
				peerDevice: devices[1-n], conversation: history.Direct(ids[0], ids[1]), progress: progress,
			}
			if (i+n)%2 == 1 {
				u.hubs = []*session.Hub{hubs[1], hubs[0]}
			}
			talking.Go(u.talk)
		}
	}
	ended := make(chan struct{})
	go func() { talking.Wait(); close(ended) }()
	for step, acked := 0, 0; step < len(steps); {
		select {
		case <-progress:
			if acked++; acked*(len(steps)+1) >= total*(step+1) {
				steps[step]()
				step++
			}
		case <-ended:
			t.Fatalf("all have ended before step %d", step)
		}
	}
	<-ended
	verdict := check.Judge(history)
	if !verdict.OK() || verdict.Acknowledged != total || verdict.Delivered < 2*total {
		var text strings.Builder
		must(t, verdict.WriteText(&text))
		t.Error(text.String())
	}
}
