package session_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// talker is a user who sends so many messages, acknowledges what comes, and ends
// when all is answered and delivered.
type talker struct {
	*sessiontest.Client
	name     string
	sends    int
	peers    int
	last     int64 // inbox seq delivered
	answered map[string]int
}

// read takes frames until every send is answered and the inbox holds want
// entries.
func (u *talker) read(want int64) error {
	for len(u.answered) < u.sends || u.last < want {
		r := u.Next()
		if r.Err != nil {
			return fmt.Errorf("%s: ended with %d answers, %d of %d entries: %w", u.name, len(u.answered), u.last, want, r.Err)
		}
		if err := u.take(r); err != nil {
			return err
		}
	}
	return nil
}

func (u *talker) take(r sessiontest.Received) error {
	switch r.Op {
	case wire.OpSendAck:
		var ack imv1.SendAck
		if err := wire.Unmarshal(r.Form, r.Body, &ack); err != nil {
			return err
		}
		if u.answered[ack.ClientMsgId]++; u.answered[ack.ClientMsgId] > 1 {
			return fmt.Errorf("%s: %s is answered twice", u.name, ack.ClientMsgId)
		}
	case wire.OpDeliver:
		var d imv1.Deliver
		if err := wire.Unmarshal(r.Form, r.Body, &d); err != nil {
			return err
		}
		for _, e := range d.Entries {
			if u.last++; e.Seq != u.last {
				return fmt.Errorf("%s: seq %d after %d", u.name, e.Seq, u.last-1)
			}
		}
		u.Send(wire.OpAck, 0, &imv1.Ack{Seq: u.last})
	case wire.OpHeartbeatReply:
	default:
		return fmt.Errorf("%s: received %s", u.name, r)
	}
	return nil
}

func (u *talker) talk() {
	for i := range u.sends {
		u.Send(wire.OpSend, int32(i), &imv1.Send{
			ClientMsgId: fmt.Sprintf("%s-%d", u.name, i),
			To:          &imv1.To{To: &imv1.To_UserId{UserId: fmt.Sprintf("user-%d", (i%u.peers+1)%u.peers)}},
		})
	}
}

// While streams break and ownership moves, every send is answered once and every
// inbox arrives whole and in order.
func TestChaos(t *testing.T) {
	const users, sends = 12, 120
	cluster := sessiontest.New(t, 3)
	hub := cluster.Hub(t, session.Config{Window: 20})
	talkers := make([]*talker, users)
	want := map[string]int64{}
	for i := range talkers {
		u := &talker{name: fmt.Sprintf("user-%d", i), sends: sends, peers: users, answered: map[string]int{}}
		u.Client = connect(t, hub, []wire.Form{wire.Proto, wire.JSON}[i%2])
		u.Login(u.name, "d1")
		talkers[i] = u
		for n := range sends {
			peer := fmt.Sprintf("user-%d", (n%users+1)%users)
			want[peer]++
			if peer != u.name {
				want[u.name]++
			}
		}
	}
	var all sync.WaitGroup
	for _, u := range talkers {
		all.Add(2)
		go func() { defer all.Done(); u.talk() }()
		go func() {
			defer all.Done()
			if err := u.read(want[u.name]); err != nil {
				t.Error(err)
			}
		}()
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	disturb(cluster, talkers, ended)
	var order = map[string]int{} // the first arrival of one user's sends is in order
	for _, p := range cluster.Published() {
		var s imv1.Send
		if err := s.UnmarshalVT(p.GetSend()); err != nil {
			t.Fatal(err)
		}
		var n int
		fmt.Sscanf(s.ClientMsgId, p.UserId+"-%d", &n) //nolint:errcheck // talk's
		if n > order[p.UserId] {
			t.Fatalf("%s arrived before %d", s.ClientMsgId, order[p.UserId])
		}
		order[p.UserId] = max(order[p.UserId], n+1)
	}
}

// disturb breaks and moves things for half a second, then keeps heads known until
// all have ended.
func disturb(cluster *sessiontest.Cluster, talkers []*talker, ended <-chan struct{}) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		switch {
		case n > 30:
			if n%20 == 0 {
				for _, u := range talkers {
					u.Send(wire.OpHeartbeat, 0, &imv1.Heartbeat{})
				}
			}
		case n%3 == 0:
			cluster.Move(rand.IntN(3))
		default:
			cluster.Transfer(rand.IntN(3)).Break()
		}
	}
}
