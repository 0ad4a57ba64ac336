package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// The benchmarks here measure the steps' own code: the store under them takes
// everything and the queue confirms everything, at once. An operation is a batch
// of messages, each of another pair with a device each, on two gateways.

var benchSizes = []int{1, 64}

func BenchmarkAccept(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint("messages=", size), func(b *testing.B) {
			s, g := benchServer(), newGateway("g", newMetrics(nil))
			publishes := make([]*imv1.Publish, size)
			for i := range publishes {
				publishes[i] = benchPublish(b, i)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.accept(g, publishes)
			}
		})
	}
}

func BenchmarkSequence(b *testing.B) {
	for _, outbox := range []bool{false, true} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("outbox=%t/messages=%d", outbox, size), func(b *testing.B) {
				ctx := context.Background()
				server := benchServer()
				g := newGateway("g", newMetrics(nil))
				server.gateways["g"] = g
				s := &sequencer{
					server: server, store: server.store, log: server.log, term: benchTerm(server), outbox: outbox,
					conversations: map[string]*conversation{}, recent: newRecents(2048),
					hints: newHints(func([]im.Conversation) error { return nil }),
				}
				defer s.hints.stop()
				items := newBenchItems(b, size)
				b.ReportAllocs()
				for b.Loop() {
					items.renew()
					batch, err := s.decode(ctx, items.deliveries)
					if err == nil {
						err = s.process(ctx, batch)
					}
					if err != nil {
						b.Fatal(err)
					}
					if m, _ := g.take(); len(m.Replies) != size || m.Replies[size-1].GetSendAck() == nil {
						b.Fatal(m.Replies)
					}
				}
			})
		}
	}
}

func BenchmarkInbox(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint("messages=", size), func(b *testing.B) {
			ctx := context.Background()
			box, gateways := benchInbox(b, size)
			deliveries := benchDeliveries(b, size)
			b.ReportAllocs()
			for b.Loop() {
				batch, err := box.decode(ctx, deliveries)
				if err != nil {
					b.Fatal(err)
				}
				batch.from = benchConsumer{}
				c := newCommit(batch)
				if ready, err := box.prepare(c); err != nil || !ready {
					b.Fatal(ready, err)
				}
				box.begin(ctx, c)
				if err := box.finish(<-box.committed); err != nil {
					b.Fatal(err)
				}
				for _, g := range gateways {
					if m, _ := g.take(); len(m.Pushes) != size {
						b.Fatal("a push is missing")
					}
				}
			}
		})
	}
}

// BenchmarkPush pushes one message to all members of a conversation, who are
// spread over two gateways: to 2 in a direct one.
func BenchmarkPush(b *testing.B) {
	for _, members := range []int{2, 200} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			box, gateways := benchInbox(b, members/2)
			envelope := benchEnvelope(0)
			entry, err := inboxEntry(envelope)
			if err != nil {
				b.Fatal(err)
			}
			c := newCommit(&inboxBatch{})
			for _, user := range box.users {
				c.planned = append(c.planned, plannedEntry{user: user, envelope: envelope, entry: entry, seq: 1})
			}
			b.ReportAllocs()
			for b.Loop() {
				box.push(c)
				for _, g := range gateways {
					g.take()
				}
			}
		})
	}
}

func benchServer() *Server {
	return New(Config{ServerID: "t"}, benchStore{}, benchQueue{}, nil, nil, slog.New(slog.DiscardHandler))
}

func benchTerm(s *Server) *term {
	held := im.Term{IDCeiling: s.now().Add(24 * time.Hour).UnixMilli()}
	return &term{store: s.store, held: held, now: s.now, ids: im.NewSnowflake(0, 0, held.IDCeiling, s.now)}
}

// benchInbox is an inbox partition with a number of pairs, and the two gateways
// that their devices are attached through.
func benchInbox(b *testing.B, pairs int) (*inbox, []*gateway) {
	b.Helper()
	s := benchServer()
	box := newInbox(s, 0, benchTerm(s))
	box.outbox = true
	gateways := []*gateway{newGateway("g", newMetrics(nil)), newGateway("h", newMetrics(nil))}
	for i := range pairs {
		for n, id := range benchPair(i) {
			attach := &imv1.Attach{Session: uint64(i), UserId: id, DeviceId: "d1", Platform: "web"}
			box.handle(controls{from: gateways[n], attaches: []*imv1.Attach{attach}})
		}
	}
	for len(box.order) > 0 {
		box.loadWanted(context.Background())
		if err := box.settle(<-box.loaded); err != nil {
			b.Fatal(err)
		}
	}
	for _, g := range gateways {
		g.take()
	}
	return box, gateways
}

func benchPair(i int) []string {
	return []string{fmt.Sprintf("ann%023d", i), fmt.Sprintf("bob%023d", i)}
}

func benchContent() *imv1.Content {
	return &imv1.Content{Type: "text", Text: strings.Repeat("x", 128)}
}

func benchPublish(b *testing.B, i int) *imv1.Publish {
	b.Helper()
	pair := benchPair(i)
	send, err := (&imv1.Send{
		ClientMsgId: benchClientID(i), To: &imv1.To{To: &imv1.To_UserId{UserId: pair[1]}}, Content: benchContent(),
	}).MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	return &imv1.Publish{
		Session: uint64(i), Request: 1, UserId: pair[0], DeviceId: "d1", What: &imv1.Publish_Send{Send: send},
	}
}

func benchClientID(i int) string { return fmt.Sprintf("019b0000-0000-7000-8000-%012x", i) }

// benchItems are queue items of one command each, whose client ids are changed in
// place from one round to the next, for a repeat would go another way.
type benchItems struct {
	deliveries []im.Delivery
	ids        [][]byte
	given      int
}

func newBenchItems(b *testing.B, size int) *benchItems {
	b.Helper()
	items := &benchItems{}
	s := benchServer()
	for i := range size {
		publish := benchPublish(b, i)
		command, err := s.command(publish, publish.GetSend())
		if err != nil {
			b.Fatal(err)
		}
		command.Origin = &imv1.Origin{Gateway: "g", Session: publish.Session, Request: 1}
		body, err := (&imv1.CommandPack{Commands: []*imv1.Command{command}}).MarshalVT()
		if err != nil {
			b.Fatal(err)
		}
		at := strings.Index(string(body), command.ClientId)
		items.deliveries = append(items.deliveries, im.Delivery{Body: body})
		items.ids = append(items.ids, body[at:at+len(command.ClientId)])
	}
	return items
}

func (s *benchItems) renew() {
	for _, id := range s.ids {
		s.given++
		for at, rest := len(id)-1, s.given; rest > 0; at, rest = at-1, rest>>4 {
			id[at] = "0123456789abcdef"[rest&15]
		}
	}
}

func benchEnvelope(i int) *imv1.InboxEnvelope {
	pair := benchPair(i)
	body, err := (&imv1.Message{Content: benchContent()}).MarshalVT()
	if err != nil {
		panic(err)
	}
	return &imv1.InboxEnvelope{UserIds: pair, What: &imv1.InboxEnvelope_Event{Event: &imv1.Event{
		Id: int64(i + 1), ConversationId: im.DirectConversation(pair[0], pair[1]), ConversationType: string(im.Direct),
		Seq: 1, Kind: string(im.KindMessage), SenderId: pair[0], DeviceId: "d1", ClientId: benchClientID(i),
		AtMs: im.Epoch, Counted: true, Body: body, AcceptedAtMs: im.Epoch,
	}}}
}

// benchDeliveries are inbox packs as a sequencer makes them of single messages.
func benchDeliveries(b *testing.B, size int) []im.Delivery {
	b.Helper()
	deliveries := make([]im.Delivery, size)
	for i := range deliveries {
		body, err := (&imv1.InboxPack{Envelopes: []*imv1.InboxEnvelope{benchEnvelope(i)}}).MarshalVT()
		if err != nil {
			b.Fatal(err)
		}
		deliveries[i] = im.Delivery{Body: body, Tag: uint64(i + 1), Ref: im.PackRef{Commit: int64(i + 1)}}
	}
	return deliveries
}

// benchStore takes everything and knows every user. What the steps do not call
// has no method here.
type benchStore struct{ Store }

func (benchStore) InsertEvents(context.Context, []im.Event, []im.Pack) error { return nil }

func (benchStore) CommitInbox(context.Context, *im.InboxCommit) error { return nil }

func (benchStore) Conversations(_ context.Context, ids []string) ([]im.ConversationState, error) {
	states := make([]im.ConversationState, len(ids))
	for i, id := range ids {
		states[i].ID = id
	}
	return states, nil
}

func (benchStore) Project(context.Context, []im.Conversation, []im.Member) error { return nil }

func (benchStore) UsersByID(_ context.Context, ids []string) ([]im.User, error) {
	users := make([]im.User, len(ids))
	for i, id := range ids {
		users[i].ID = id
	}
	return users, nil
}

func (benchStore) Heads(_ context.Context, ids []string) ([]im.InboxHead, error) {
	return make([]im.InboxHead, len(ids)), nil
}

func (benchStore) Cursors(context.Context, []string) ([]im.Cursor, error) { return nil, nil }

// benchQueue confirms everything and keeps nothing.
type benchQueue struct{ Queue }

func (benchQueue) Publish(_ string, _ int, _ []im.Pack, confirmed func(error)) { confirmed(nil) }

func (benchQueue) Backlog(string, int) int { return 0 }

func (benchQueue) Ping(context.Context) error { return nil }

type benchConsumer struct{ Consumer }

func (benchConsumer) Ack(uint64) error { return nil }
