package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// When ownership moves, sessions attach to the new owner, find what they missed
// and tell their acks again.
func TestOwnershipMoves(t *testing.T) {
	cluster := sessiontest.New(t, 2)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
	c.Login("ann", "d1")
	cluster.Append("ann", "1")
	c.Entries(1, 1)
	c.Send(wire.OpAck, 0, &imv1.Ack{Seq: 1})
	sessiontest.Eventually(t, func() bool { return len(cluster.Acks()) == 1 })
	cluster.Move(1)
	cluster.AppendUnpushed("ann", "2")
	sessiontest.Eventually(t, func() bool { return cluster.Attached("ann") == 1 && len(cluster.Acks()) == 2 })
	cluster.Append("ann", "3")
	c.Entries(2, 2)
}

// When the owner's stream breaks, sessions attach again as soon as it is back;
// an ack that waits for its answer gets it.
func TestOwnerBreaks(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	c := connect(t, cluster.Hub(t, session.Config{}), wire.JSON)
	c.Login("ann", "d1")
	cluster.Append("ann", "1")
	c.Entries(1, 1)
	cluster.Transfer(0).Refuse(true)
	c.Send(wire.OpAck, 9, &imv1.Ack{Seq: 1})
	cluster.AppendUnpushed("ann", "2")
	cluster.Transfer(0).Refuse(false)
	got := map[string]bool{c.Next().String(): true, c.Next().String(): true}
	if !got["ack_reply 9"] || !got["deliver 0"] {
		t.Errorf("received %v", got)
	}
}

// A transfer that is paused answers no heartbeat; the gateway does, in time.
func TestHeartbeatOfPausedOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		c := connect(t, cluster.Hub(t, session.Config{}), wire.Proto)
		c.Login("ann", "d1")
		cluster.Mute(true)
		start := time.Now()
		c.Send(wire.OpHeartbeat, 5, &imv1.Heartbeat{})
		c.Send(wire.OpHeartbeat, 6, &imv1.Heartbeat{})
		c.Expect("heartbeat_reply 5", nil)
		c.Expect("heartbeat_reply 6", nil)
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("answered after %v", d)
		}
	})
}

// A transfer that is no longer listed keeps its stream for a little, to finish;
// what it has not answered then goes to another.
func TestTransferLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 2)
		cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { return nil }
		hub := cluster.Hub(t, session.Config{})
		synctest.Wait()
		c := connect(t, hub, wire.Proto)
		c.Login("ann", "d1")
		c.Send(wire.OpSend, 2, send("a"))
		synctest.Wait()
		home, other := cluster.Transfer(0), cluster.Transfer(1)
		if other.Published() > 0 {
			home, other = other, home
		}
		home.Unlist()
		time.Sleep(time.Second / 2)
		if home.Published() != 1 || other.Published() != 0 {
			t.Errorf("published %d and %d before it has left", home.Published(), other.Published())
		}
		time.Sleep(time.Second)
		if home.Published() != 1 || other.Published() != 1 {
			t.Errorf("published %d and %d after it has left", home.Published(), other.Published())
		}
	})
}

func caller(t *testing.T, cluster *sessiontest.Cluster) *session.Caller {
	return session.NewCaller(cluster.Link(t, "http"))
}

func publishOf(t *testing.T, id string) *imv1.Publish {
	body, err := send(id).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return &imv1.Publish{UserId: "ann", DeviceId: "d1", What: &imv1.Publish_Send{Send: body}}
}

// What an http server asks: a send, an ack, a page.
func TestCaller(t *testing.T) {
	cluster := sessiontest.New(t, 2)
	caller := caller(t, cluster)
	reply, err := caller.Publish(t.Context(), publishOf(t, "a"))
	if err != nil || reply.GetSendAck().GetClientMsgId() != "a" {
		t.Fatalf("published: %v, %v", reply, err)
	}
	reply, err = caller.Ack(t.Context(), &imv1.Acked{UserId: "ann", DeviceId: "d1", Seq: 1, Durable: true})
	if err != nil || reply.GetAckReply().GetSeq() != 1 {
		t.Fatalf("acked: %v, %v", reply, err)
	}
	page, err := caller.Pull(t.Context(), &imv1.PullRequest{UserId: "ann", After: int64p(0), Limit: 10})
	if err != nil || len(page.Entries) != 1 {
		t.Fatalf("pulled: %v, %v", page, err)
	}
}

// A call's publish is sent again when a stream breaks, and unknown when its
// context ends.
func TestCallerResends(t *testing.T) {
	cluster := sessiontest.New(t, 1)
	cluster.OnPublish = func(*imv1.Publish) *imv1.Reply { return nil }
	caller := caller(t, cluster)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := caller.Publish(ctx, publishOf(t, "a"))
		ended <- err
	}()
	sessiontest.Eventually(t, func() bool { return len(cluster.Published()) == 1 })
	cluster.Transfer(0).Break()
	sessiontest.Eventually(t, func() bool { return len(cluster.Published()) == 2 })
	cancel()
	if err := <-ended; im.AsError(err).Code != im.Unavailable {
		t.Errorf("ended with %v", err)
	}
}

// Kick reaches the owner, even one that is only about to be.
func TestCallerKicks(t *testing.T) {
	cluster := sessiontest.New(t, 2)
	hub := cluster.Hub(t, session.Config{})
	c := connect(t, hub, wire.Proto)
	c.Login("ann", "d1")
	caller := caller(t, cluster)
	kick := &imv1.KickRequest{UserId: "ann", Code: string(im.Kicked)}
	if reply, err := caller.Kick(t.Context(), kick); err != nil || reply.Closed != 1 {
		t.Fatalf("kicked: %v, %v", reply, err)
	}
	c.Expect("disconnect 0 kicked", nil)
	cluster.Transfer(0).Refuse(true)
	ended := make(chan error)
	go func() {
		_, err := caller.Kick(t.Context(), kick)
		ended <- err
	}()
	cluster.Move(1)
	if err := <-ended; err != nil {
		t.Errorf("kicked while ownership moved: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	cluster.Transfer(1).Refuse(true)
	sessiontest.Eventually(t, func() bool {
		_, err := caller.Kick(ctx, kick)
		return im.AsError(err).Code == im.Unavailable
	})
}
