// Package sessiontest has what tests of sessions need: transfer servers that can
// be scripted, spoken to over real gRPC in memory; a client that speaks every
// form; and the table of what a gateway answers, which every transport passes.
package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/session"
)

// Partitions is the number of inbox partitions.
const Partitions = 4

// Epoch is the inbox epoch until SetEpoch.
const Epoch = "epoch-1"

// Cluster is some transfer servers over one store in memory. Its fields may be
// set before anything connects, its methods called at any time.
type Cluster struct {
	// OnPublish replaces the answer to a publish; nil from it means none, and
	// the publish is only recorded.
	OnPublish func(*imv1.Publish) *imv1.Reply
	// OnLogin, if it returns an error, refuses an auth.
	OnLogin func(*imv1.LoginRequest) *imv1.Error
	// OnRoomPage answers a page of a room; without it there is none.
	OnRoomPage func(*imv1.RoomPageRequest) *imv1.RoomPageReply
	// OnPull, if it returns an error, replaces a page.
	OnPull func(*imv1.PullRequest) error

	mu        sync.Mutex
	transfers []*Transfer
	inboxes   map[string]*inbox
	epoch     string
	watchers  []chan []im.Server
	published []*imv1.Publish
	acks      []*imv1.Acked
	journal   []*imv1.Connection
	sent      map[string]*imv1.SendAck
	terms     [Partitions]int64
	mute      bool // owners do not answer head requests
	families  map[im.DeviceKey]string
}

// inbox is a user's log and what is attached to it.
type inbox struct {
	entries  []*imv1.Entry
	broken   map[int64]bool // seqs of entries that come as bytes nobody can decode
	cursors  map[string]int64
	sessions map[string]target // by gateway and session
	counter  int64
}

// target is an attached session.
type target struct {
	stream  *gateway
	session uint64
	device  string
}

// New starts a cluster of n transfers; the first owns all partitions.
func New(t testing.TB, n int) *Cluster {
	c := &Cluster{inboxes: map[string]*inbox{}, epoch: Epoch, sent: map[string]*imv1.SendAck{}, families: map[im.DeviceKey]string{}}
	for range n {
		c.transfers = append(c.transfers, newTransfer(c, fmt.Sprintf("transfer-%d", len(c.transfers))))
	}
	for q := range Partitions {
		c.terms[q] = 1
		c.transfers[0].owned[int32(q)] = 1
	}
	t.Cleanup(c.stop)
	return c
}

func (c *Cluster) stop() {
	for _, tr := range c.transfers {
		tr.server.Stop()
	}
}

// Transfer returns a transfer by its place.
func (c *Cluster) Transfer(i int) *Transfer { return c.transfers[i] }

// Link starts a link to the cluster.
func (c *Cluster) Link(t testing.TB, role string) *session.Link {
	link := session.NewLink(session.LinkConfig{
		ServerID: im.NewID(), Role: role, InboxPartitions: Partitions, Servers: c, Dial: c.Dial,
	}, Log())
	if err := link.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopWithin(t, link.Stop) })
	return link
}

// Hub starts a hub over a link of its own.
func (c *Cluster) Hub(t testing.TB, config session.Config) *session.Hub {
	hub := session.NewHub(config, c.Link(t, "test"), Log())
	t.Cleanup(func() { stopWithin(t, hub.Stop) })
	return hub
}

func stopWithin(t testing.TB, stop func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// Log drops everything.
func Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Dial connects to a transfer by its id.
func (c *Cluster) Dial(_ context.Context, address string) (grpc.ClientConnInterface, error) {
	for _, tr := range c.transfers {
		if tr.id == address {
			return grpc.NewClient("passthrough:///"+address, grpc.WithContextDialer(tr.dial),
				grpc.WithTransportCredentials(insecure.NewCredentials()))
		}
	}
	return nil, errors.New("no such transfer")
}

// Watch lists the transfers that have not been stopped.
func (c *Cluster) Watch(ctx context.Context, _ string) (<-chan []im.Server, error) {
	lists := make(chan []im.Server, 8)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, lists)
	lists <- c.listed()
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watchers = slices.DeleteFunc(c.watchers, func(w chan []im.Server) bool { return w == lists })
		close(lists)
	})
	return lists, nil
}

func (c *Cluster) listed() []im.Server {
	var servers []im.Server
	for _, tr := range c.transfers {
		if tr.former != "" {
			servers = append(servers, im.Server{ID: tr.former, Role: "transfer", Address: tr.id})
		}
		if !tr.gone {
			servers = append(servers, im.Server{ID: tr.id, Role: "transfer", Address: tr.id})
		}
	}
	return servers
}

// Append adds a text message to a user's inbox and pushes it.
func (c *Cluster) Append(user, text string) { c.add(user, text, true) }

// AppendUnpushed adds a message of which no push arrives.
func (c *Cluster) AppendUnpushed(user, text string) { c.add(user, text, false) }

func (c *Cluster) add(user, text string, push bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(user, &imv1.Message{SenderId: "someone", Content: &imv1.Content{Type: "text", Text: text}}, push)
}

// Break lets an entry come as bytes that nobody can decode, or no longer so.
func (c *Cluster) Break(user string, seq int64, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox(user).broken[seq] = broken
}

// append stamps the seq; c.mu is held.
func (c *Cluster) append(user string, m *imv1.Message, push bool) {
	box := c.inbox(user)
	bare := encode(&imv1.Entry{Kind: "message", Message: m})
	box.entries = append(box.entries, &imv1.Entry{Seq: int64(len(box.entries)) + 1, Kind: "message", Message: m})
	if !push {
		return
	}
	for _, to := range box.sessions {
		to.stream.send(&imv1.ToGateway{Pushes: []*imv1.Push{{
			What:    &imv1.Push_Entry{Entry: bare},
			Targets: []*imv1.Target{{Session: to.session, Seq: int64(len(box.entries))}},
		}}})
	}
}

// Push sends any push to all sessions of a user, with a seq.
func (c *Cluster) Push(user string, seq int64, push *imv1.Push) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range c.inbox(user).sessions {
		copied := &imv1.Push{What: push.What, B3: push.B3, Targets: []*imv1.Target{{Session: to.session, Seq: seq}}}
		to.stream.send(&imv1.ToGateway{Pushes: []*imv1.Push{copied}})
	}
}

// AckElsewhere moves a device's cursor as HTTP would.
func (c *Cluster) AckElsewhere(user, device string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	box := c.inbox(user)
	box.cursors[device] = max(box.cursors[device], seq)
	for _, to := range box.sessions {
		if to.device == device {
			to.stream.send(&imv1.ToGateway{Heads: []*imv1.HeadOf{{
				Session: to.session, Head: int64(len(box.entries)), Acked: box.cursors[device],
			}}})
		}
	}
}

// Kick closes the sessions of a user.
func (c *Cluster) Kick(user string, code im.DisconnectCode) int { return c.KickSignIn(user, code, "") }

// KickSignIn closes the sessions of a user that are of a family; empty = of any. As an owner
// does who has not heard of another one yet, it tells all of them.
func (c *Cluster) KickSignIn(user string, code im.DisconnectCode, family string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range c.inbox(user).sessions {
		to.stream.send(&imv1.ToGateway{Kicks: []*imv1.Kicked{{Session: to.session, Code: string(code), Grant: im.Grant(family)}}})
	}
	return len(c.inbox(user).sessions)
}

// SignIn gives a device, whose family is its id at first, another; empty = it is signed out.
func (c *Cluster) SignIn(user, device, family string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.families[im.DeviceKey{UserID: user, DeviceID: device}] = family
}

func (c *Cluster) family(user, device string) string {
	if family, is := c.families[im.DeviceKey{UserID: user, DeviceID: device}]; is {
		return family
	}
	return device
}

// Cursor is the stored cursor of a device.
func (c *Cluster) Cursor(user, device string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inbox(user).cursors[device]
}

// Attached is how many sessions of a user are attached.
func (c *Cluster) Attached(user string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inbox(user).sessions)
}

// Published returns all publishes received, in order.
func (c *Cluster) Published() []*imv1.Publish {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.published)
}

// Journal returns all lines of the journal received, in order.
func (c *Cluster) Journal() []*imv1.Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.journal)
}

// Acks returns all acks received, in order.
func (c *Cluster) Acks() []*imv1.Acked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acks)
}

// SetEpoch restores the store, as it were.
func (c *Cluster) SetEpoch(epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = epoch
}

// Mute keeps owners from answering head requests.
func (c *Cluster) Mute(mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = mute
}

// Move gives all partitions to another transfer; to nobody, if it is -1.
func (c *Cluster) Move(to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for q := range int32(Partitions) {
		c.terms[q]++
		for i, tr := range c.transfers {
			if _, owned := tr.owned[q]; owned {
				delete(tr.owned, q)
				tr.announce(&imv1.Ownership{Partition: q, Term: c.terms[q] - 1, Released: true})
			}
			if i == to {
				tr.owned[q] = c.terms[q]
			}
		}
	}
	for _, box := range c.inboxes {
		box.sessions = map[string]target{}
	}
	if to < 0 {
		return
	}
	for q, term := range c.transfers[to].owned {
		c.transfers[to].announce(&imv1.Ownership{Partition: q, Term: term})
	}
}
