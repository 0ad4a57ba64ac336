package session_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

func fill(c *sessiontest.Cluster, user string, from, to int) {
	for i := from; i <= to; i++ {
		c.Append(user, fmt.Sprint(i))
	}
}

// Given a long backlog, the window stops delivery until the device acks, and
// every entry comes once, in order.
func TestWindowPausesAndOpens(t *testing.T) {
	for _, form := range []wire.Form{wire.Proto, wire.JSON} {
		cluster := sessiontest.New(t, 1)
		hub := cluster.Hub(t, session.Config{Window: 10})
		fill(cluster, "ann", 1, 35)
		c := connect(t, hub, form)
		if reply := c.Login("ann", "d1"); reply.Head != 35 || reply.ResumeFrom != 0 {
			t.Errorf("auth_reply %v", reply)
		}
		c.Entries(1, 10)
		c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{}) // nothing else comes
		c.Expect("heartbeat_reply 5", nil)
		c.Send(wire.OpAck, 0, &imv1.Ack{Seq: 4})
		c.Entries(11, 4)
		c.Send(wire.OpAck, 0, &imv1.Ack{Seq: 14})
		c.Entries(15, 10)
		fill(cluster, "ann", 36, 40)
		cluster.AckElsewhere("ann", "d1", 24) // over HTTP
		c.Entries(25, 10)
		c.Send(wire.OpAck, 7, &imv1.Ack{Seq: 34})
		got := map[string]bool{}
		for len(got) < 2 {
			got[c.Next().String()] = true
		}
		if !got["ack_reply 7"] || !got["deliver 0"] || cluster.Cursor("ann", "d1") != 34 {
			t.Errorf("received %v, cursor %d", got, cluster.Cursor("ann", "d1"))
		}
	}
}

// An entry that can not be decoded is neither passed over nor asked for again and
// again: what is in front of it comes, then the session ends and the device comes
// back later. In protobuf it is the client that decodes.
func TestAnEntryThatCanNotBeDecodedEndsTheSession(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	hub := cluster.Hub(t, session.Config{})
	fill(cluster, "ann", 1, 5)
	cluster.Break("ann", 4, true)
	c := connect(t, hub, wire.JSON)
	c.Login("ann", "d1")
	c.Entries(1, 3)
	var d imv1.Disconnect
	c.Expect("disconnect 0 unavailable", &d)
	if !d.Reconnect || d.RetryAfterMs != 30_000 || hub.Unreadable() != 1 {
		t.Errorf("told %v; %d counted", &d, hub.Unreadable())
	}
	cluster.Break("ann", 4, false) // by a server of another version, say
	c = connect(t, hub, wire.JSON)
	c.Auth(&imv1.Auth{Token: sessiontest.Token("ann", "d1", "web", 0), DeviceId: "d1", Platform: "web", LastSeq: int64p(3)})
	c.Entries(4, 2)
}

// A push that is not the next one is not written; what is missing is pulled.
func TestGapIsRepaired(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Login("ann", "d1")
	cluster.Append("ann", "1")
	c.Entries(1, 1)
	cluster.AppendUnpushed("ann", "2")
	cluster.AppendUnpushed("ann", "3")
	cluster.Append("ann", "4")
	c.Entries(2, 3)
	cluster.Push("ann", 3, &imv1.Push{What: &imv1.Push_Entry{Entry: nil}}) // a repeat
	cluster.AppendUnpushed("ann", "5")
	cluster.Push("ann", 5, &imv1.Push{What: &imv1.Push_HeadOnly{HeadOnly: true}})
	c.Entries(5, 1)
}

// A lost last push is found by a heartbeat.
func TestHeartbeatFindsLostPush(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.JSON)
	c.Login("ann", "d1")
	cluster.AppendUnpushed("ann", "1")
	c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
	var reply imv1.HeartbeatReply
	c.Expect("heartbeat_reply 5", &reply)
	if reply.Head != 1 {
		t.Errorf("head %d", reply.Head)
	}
	c.Entries(1, 1)
}

// A pull that fails is tried again.
func TestPullIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		misses := 0
		cluster.OnPull = func(*imv1.PullRequest) error {
			if misses++; misses < 5 {
				return errors.New("the store is away")
			}
			return nil
		}
		fill(cluster, "ann", 1, 3)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		c.Entries(1, 3)
		if misses != 5 {
			t.Errorf("pulled %d times", misses)
		}
	})
}

// A large page is split into frames of at most max_frame.
func TestFramesAreBounded(t *testing.T) {
	const most = 4096
	for _, form := range []wire.Form{wire.Proto, wire.JSON} {
		cluster := sessiontest.New(t, 1)
		fill(cluster, "ann", 1, 200)
		c := connect(t, cluster.Hub(t, session.Config{MaxFrame: most}), form)
		c.Login("ann", "d1")
		frames, seq := 0, int64(0)
		for seq < 200 {
			r := c.Next()
			if len(r.Body)+wire.HeaderBytes > most {
				t.Fatalf("a frame of %d bytes", len(r.Body)+wire.HeaderBytes)
			}
			var d imv1.Deliver
			if err := wire.Unmarshal(form, r.Body, &d); err != nil {
				t.Fatal(err)
			}
			for _, e := range d.Entries {
				if seq++; e.Seq != seq {
					t.Fatalf("seq %d, want %d", e.Seq, seq)
				}
			}
			frames++
		}
		if frames < 2 || frames > 20 {
			t.Errorf("%d frames", frames)
		}
		c.Send(wire.OpSync, 4, &imv1.Sync{After: int64p(0), Limit: 200})
		var page imv1.SyncReply
		c.Expect("sync_reply 4", &page)
		if n := len(page.Entries); n == 0 || n == 200 || !page.HasMore {
			t.Errorf("a page of %d, more %t", n, page.HasMore)
		}
	}
}

// A device that acks nothing for a minute while entries wait is slow; one that
// has all there is is not.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		hub := cluster.Hub(t, session.Config{Window: 5})
		fill(cluster, "ann", 1, 6)
		fill(cluster, "bob", 1, 5)
		ann, bob := connect(t, hub, wire.Proto), connect(t, hub, wire.Proto)
		ann.Login("ann", "d1")
		bob.Login("bob", "d1")
		ann.Entries(1, 5)
		bob.Entries(1, 5)
		time.Sleep(50 * time.Second)
		for i, c := range []*sessiontest.Client{ann, bob} {
			c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
			c.Expect("heartbeat_reply 5", nil)
			if i == 1 {
				break
			}
		}
		start := time.Now()
		ann.Expect("disconnect 0 slow", nil)
		if d := time.Since(start).Round(time.Millisecond); d != 10*time.Second {
			t.Errorf("disconnected after %v", d)
		}
		bob.Send(wire.OpHeartbeat, 6, &imv1.Heartbeat{})
		bob.Expect("heartbeat_reply 6", nil)
	})
}

// A session whose inbox is restored, or cut off by retention, is told to begin
// anew at its next auth.
func TestTooLong(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	hub := cluster.Hub(t, session.Config{})
	fill(cluster, "ann", 1, 3)
	c := connect(t, hub, wire.Proto)
	c.Login("ann", "d1")
	c.Entries(1, 3)
	cluster.SetEpoch("epoch-2")
	cluster.AppendUnpushed("ann", "4")
	c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
	c.Expect("heartbeat_reply 5", nil)
	c.Expect("disconnect 0 slow", nil)
	again := connect(t, hub, wire.Proto)
	reply := again.Auth(&imv1.Auth{
		Token: sessiontest.Token("ann", "d1", "web", 0), DeviceId: "d1", Platform: "web",
		LastSeq: int64p(3), InboxEpoch: sessiontest.Epoch,
	})
	if !reply.TooLong || reply.ResumeFrom != 4 || reply.InboxEpoch != "epoch-2" {
		t.Errorf("auth_reply %v", reply)
	}
}

// A traced entry has a frame of its own, with its trace.
func TestTracedDeliver(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.JSON)
	c.Login("ann", "d1")
	entry, err := (&imv1.Entry{Kind: "profile", Profile: &imv1.Profile{}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Push("ann", 1, &imv1.Push{What: &imv1.Push_Entry{Entry: entry}, B3: "0af7651916cd43dd-b7ad6b7169203331-1"})
	var d imv1.Deliver
	c.Expect("deliver 0", &d)
	if d.B3 != "0af7651916cd43dd-b7ad6b7169203331-1" || len(d.Entries) != 1 || d.Entries[0].Seq != 1 {
		t.Errorf("deliver %v", &d)
	}
}
