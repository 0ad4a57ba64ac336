package test

import (
	"fmt"
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session/sessiontest"
)

// Signals reach whoever is online, also users whose inboxes are owned by another
// transfer than the one that the sender's session has. What is refused is answered
// once.
func TestSignalsPassBetweenTransfers(t *testing.T) {
	// Given two transfers, alice, and others in every inbox partition.
	p := newPipeline(t)
	p.add("a")
	p.add("b")
	hub := p.gateway()
	connect := func(user string) *sessiontest.Client {
		p.user(user)
		server, conn := sessiontest.Pipe()
		hub.Serve(server)
		t.Cleanup(func() { conn.Close() })
		c := &sessiontest.Client{T: t, Wire: conn, Form: wire.Proto}
		c.Auth(&imv1.Auth{Token: user, DeviceId: "d1", Platform: "web"})
		return c
	}
	typing := func(to string) *imv1.Signal {
		return &imv1.Signal{To: &imv1.To{To: &imv1.To_UserId{UserId: to}}, Type: "typing"}
	}
	alice := connect("alice")

	// When she sends each a signal, then it comes.
	for n := range 4 * pipelinePartitions {
		user := fmt.Sprint("user", n)
		other := connect(user)
		alice.Send(wire.OpSignal, 0, typing(user))
		var signal imv1.Signal
		other.Expect("signal 0", &signal)
		if signal.From.GetUserId() != "alice" || signal.Type != "typing" {
			t.Errorf("signal %v", &signal)
		}
	}

	// And when she sends some to nobody, then each has one answer.
	for seq := int32(2); seq < 10; seq++ {
		alice.Send(wire.OpSignal, seq, typing("nobody"))
		alice.Expect(fmt.Sprintf("error %d not_found", seq), nil)
	}
	alice.Send(wire.OpHeartbeat, 10, &imv1.Heartbeat{})
	alice.Expect("heartbeat_reply 10", nil)
}
