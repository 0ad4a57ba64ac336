package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
	"github.com/im-transfer/im/transfer"
)

// connect opens a session of a user's device d1 on a gateway.
func (p *pipeline) connect(hub *session.Hub, user string) *sessiontest.Client {
	server, conn := sessiontest.Pipe()
	hub.Serve(server)
	p.t.Cleanup(func() { conn.Close() })
	c := &sessiontest.Client{T: p.t, Wire: conn, Form: wire.Proto}
	c.Auth(&imv1.Auth{Token: user, DeviceId: "d1", Platform: "web"})
	return c
}

// group makes users and puts them into a group.
func (p *pipeline) group(id string, users ...string) string {
	conversation := im.GroupConversation(id)
	var members []im.Member
	for _, user := range users {
		p.user(user)
		members = append(members, im.Member{ConversationID: conversation, UserID: user, JoinedSeq: 1, LeftSeq: im.Forever, Seq: 1})
	}
	must(p.t, p.db.InsertEvents(p.t.Context(), []im.Event{{
		ID: 1, ConversationID: conversation, Seq: 1, Kind: im.KindMembership, SenderID: users[0], DeviceID: "d1", ClientID: "made",
	}}, nil))
	must(p.t, p.db.Project(p.t.Context(), []im.Conversation{{ID: conversation, Type: im.Group, Key: id, AppliedSeq: 1}}, members))
	return conversation
}

// nextSignal waits for a client's next signal of a type.
func nextSignal(c *sessiontest.Client, kind string) *imv1.Signal {
	c.T.Helper()
	for {
		r := c.Next()
		if r.Err != nil {
			c.T.Fatalf("wait for a signal: %v", r.Err)
		}
		var signal imv1.Signal
		if r.Op != wire.OpSignal {
			continue
		}
		must(c.T, wire.Unmarshal(r.Form, r.Body, &signal))
		if signal.Type == kind {
			return &signal
		}
	}
}

// Who is online is known to no store. It stays known when the transfers that knew it die,
// for the gateways say it again; and who was on a gateway that dies is offline soon.
func TestPresenceOutlivesOwnersAndGateways(t *testing.T) {
	const grace = time.Second
	p := newPipeline(t)
	quick := func(c *transfer.Config) { c.PresenceGrace = grace }
	a := p.add("a", quick)
	p.add("b", quick)
	here := p.gateway()
	there, link := p.linked()
	var others []string
	for n := range 4 * pipelinePartitions { // in every inbox partition
		others = append(others, fmt.Sprint("user", n))
	}
	p.group("g", append(others, "ann", "late")...)
	ann := p.connect(here, "ann")
	for _, user := range others {
		p.connect(there, user)
	}
	ann.Send(wire.OpWatch, 2, &imv1.Watch{UserIds: append(others, "late")})
	online := map[string]bool{}
	var reply imv1.WatchReply
	for { // what is told before the answer counts too
		r := ann.Next()
		if r.Op == wire.OpWatchReply {
			must(t, wire.Unmarshal(r.Form, r.Body, &reply))
			break
		}
	}
	for _, presence := range reply.Presences {
		online[presence.UserId] = presence.Online
	}
	// until: all but so many are as they are wanted; whatever is told meanwhile must be so.
	until := func(what string, done func() bool, may func(*imv1.Presence) bool) {
		t.Helper()
		for !done() {
			presence := client.PresenceOf(nextSignal(ann, "presence"))
			if !may(presence) {
				t.Fatalf("%s: told of %v", what, presence)
			}
			online[presence.UserId] = presence.Online
		}
	}
	all := func(want bool) func() bool {
		return func() bool {
			return !slices.ContainsFunc(others, func(user string) bool { return online[user] != want })
		}
	}
	until("all come", all(true), func(p *imv1.Presence) bool { return p.Online })

	// When a transfer dies, nobody is told that anybody has gone, and changes are told on.
	p.kill(a)
	onlyLate := func(p *imv1.Presence) bool { return p.Online || p.UserId == "late" }
	for began := time.Now(); time.Since(began) < 2*grace; { // whatever would be told is told by then
		late := p.connect(there, "late")
		until("late comes", func() bool { return online["late"] }, onlyLate)
		must(t, late.Wire.Close())
		until("late goes", func() bool { return !online["late"] }, onlyLate)
	}

	// When a gateway dies, its users have gone, and were seen just now.
	must(t, link.Stop(t.Context()))
	until("all go", all(false), func(p *imv1.Presence) bool {
		return !p.Online && time.Since(time.UnixMilli(p.LastSeenMs)).Abs() < time.Minute
	})
}

// How far somebody has read is told to a group's members on every transfer, also where it
// was read over HTTP.
func TestReadSignalsPassBetweenTransfers(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	p.add("b")
	hub, link := p.linked()
	users := []string{"reader"}
	for n := range 4 * pipelinePartitions {
		users = append(users, fmt.Sprint("user", n))
	}
	conversation := p.group("g", users...)
	var clients []*sessiontest.Client
	for _, user := range users[1:] {
		clients = append(clients, p.connect(hub, user))
	}
	read := &imv1.Read{ConversationId: conversation, Upto: 1}
	encoded, err := read.MarshalVT()
	must(t, err)
	_, err = session.NewCaller(link).Publish(t.Context(), &imv1.Publish{
		UserId: "reader", DeviceId: "d1", What: &imv1.Publish_Read{Read: encoded},
	})
	must(t, err)
	for _, c := range clients {
		signal := nextSignal(c, "read")
		if mark, ok := client.ReadOf(signal); !ok || mark != (client.ReadMark{UserID: "reader", Upto: 1}) || signal.ConversationId != conversation {
			t.Errorf("told %v", signal)
		}
	}
}
