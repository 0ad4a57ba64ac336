package cluster

import (
	"testing"
	"time"

	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/deploy/local/links"
)

// givenLink returns a link of a cluster, which is whole again after the story.
func (c *cluster) givenLink(t *testing.T, from, to string) *links.Link {
	t.Helper()
	link := c.Link(from, to)
	if link == nil {
		t.Fatalf("there is no link from %s to %s", from, to)
	}
	t.Cleanup(link.Mend)
	return link
}

// A transfer whose own way to the store is lost leaves its partitions to the other
// one, which has its own, and takes its share again later. Until it leaves, which is
// when one that had died would be missed, nothing can make up for it.
func TestATransferLosesItsWayToTheStore(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	transfer := c.busiest("transfer")
	way := c.givenLink(t, transfer.Name(), local.PartMongo)

	load.strikes(func() error { way.Set(links.Fault{Cut: true}); return nil })
	load.outage = leaseTTL
	awaitUnready(t, transfer)
	load.recovers()
	way.Mend()

	must(t, transfer.AwaitReady(t.Context()))
	load.untilFlowing()
	load.isJudged()
}

// awaitUnready waits until a server says that it is not ready any more: messages may
// flow for a while after a fault, from what was under way.
func awaitUnready(t *testing.T, server *local.Server) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for server.Ready(t.Context()) {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("%s says that it is ready", server.Name())
		}
	}
}

// Links are bad in every way, one after the other, of one pair of parts or of all to
// an engine, while messages flow.
func TestLinksAreBad(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	transfer := c.busiest("transfer").Name()
	slow, narrow := links.Way{Delay: 50 * time.Millisecond, Jitter: 100 * time.Millisecond}, links.Way{BytesPerSecond: 64 << 10}
	for _, story := range []struct {
		name     string
		from, to string // from empty: all links to it
		fault    links.Fault
	}{
		{"a gateway and a transfer are cut apart", "websocket-1", transfer, links.Fault{Cut: true}},
		{"nothing passes between a gateway and a transfer", "tcp-1", transfer, links.BlackHole()},
		{"a transfer hears a gateway and is not heard", "websocket-2", transfer, links.Fault{Back: links.Way{Held: true}}},
		{"nothing passes between an http server and the store", "http-1", local.PartMongo, links.BlackHole()},
		{"the store is slow", "", local.PartMongo, links.Both(slow)},
		{"the store's answers are lost", "", local.PartMongo, links.Fault{Lose: 250 * time.Millisecond}},
		{"the broker is slow", "", local.PartRabbitMQ, links.Both(slow)},
		{"the way to the broker is narrow", "", local.PartRabbitMQ, links.Both(narrow)},
		{"clients are cut off from a gateway", local.PartClients, "websocket-1", links.Fault{Cut: true}},
	} {
		bad, mend := c.harms(story.to, story.fault), c.harms(story.to, links.Fault{})
		if story.from != "" {
			link := c.givenLink(t, story.from, story.to)
			bad = func() error { link.Set(story.fault); return nil }
			mend = func() error { link.Mend(); return nil }
		}
		t.Log(story.name)
		load.strikes(bad)
		load.lasts(1500 * time.Millisecond)
		must(t, mend())
		load.recovers()
	}
	load.isJudged()
}
