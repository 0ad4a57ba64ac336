package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// model is a server that keeps the protocol's rules for sends and is otherwise
// as unkind as they allow: it answers late, in any order, refuses for now with
// and without storing, refuses some ids for good, and drops connections.
type model struct {
	random  *rand.Rand
	stored  []string
	refused map[string]bool // ids never to be stored
	replies []reply
}

type reply struct {
	id       string
	sequence int32
	refusal  *im.Error // nil = acknowledged
}

func (m *model) take(p *pending, after string) {
	id := p.send.GetClientMsgId()
	r := reply{id: id, sequence: p.sequence}
	switch {
	case slices.Contains(m.stored, id):
	case after != "" && !slices.Contains(m.stored, after):
		r.refusal = im.Errorf(im.OutOfOrder, "no %s", after)
	case m.refused[id]:
		r.refusal = im.Errorf(im.Forbidden, "no")
	case m.random.IntN(5) == 0:
		r.refusal = im.Retry(im.Unavailable, 10*time.Millisecond, "later")
		if m.random.IntN(2) == 0 {
			m.stored = append(m.stored, id)
		}
	default:
		m.stored = append(m.stored, id)
	}
	m.replies = append(m.replies, r)
}

func (m *model) answerSome(o *outbox, now time.Time) {
	m.random.Shuffle(len(m.replies), func(i, j int) { m.replies[i], m.replies[j] = m.replies[j], m.replies[i] })
	some := m.random.IntN(len(m.replies) + 1)
	for _, r := range m.replies[:some] {
		if r.refusal == nil {
			o.acked(r.id)
		} else {
			o.refused(r.sequence, r.refusal, now)
		}
	}
	m.replies = m.replies[some:]
}

func TestWhateverTheServerAnswersTheOrderStandsAndNothingIsLost(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		server := &model{random: random, refused: map[string]bool{}}
		o := newOutbox(nil)
		now := time.UnixMilli(1)
		sequence := int32(0)
		var want []string
		o.connected("alice")
		for round := 0; len(want) < 20 || len(o.sends) > 0; round++ {
			if round > 5000 {
				t.Fatalf("seed %d: no end; %d sends left", seed, len(o.sends))
			}
			if len(want) < 20 && random.IntN(3) > 0 {
				id := fmt.Sprint(round)
				o.join("alice", o.add(newSend(ToUser("bob"), TextContent(id), SendOptions{ClientMsgID: id}), true))
				want = append(want, id)
				server.refused[id] = random.IntN(10) == 0
			}
			if random.IntN(20) == 0 { // the connection breaks: its replies are lost
				server.replies = nil
				o.connected("alice")
			}
			o.eachUnsent(now, func(p *pending) bool {
				sequence++
				server.take(p, o.sent(p, sequence))
				return random.IntN(4) > 0
			})
			server.answerSome(o, now)
			now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
		}
		want = slices.DeleteFunc(want, func(id string) bool { return server.refused[id] })
		if !slices.Equal(server.stored, want) {
			t.Fatalf("seed %d: stored %v, accepted %v", seed, server.stored, want)
		}
		if len(o.byID)+len(o.flying)+len(o.threads) != 0 {
			t.Fatalf("seed %d: left over: %+v", seed, o)
		}
	}
}

func TestRefusalsThatGoOnAreAskedMoreSlowly(t *testing.T) {
	for _, c := range []struct {
		code     im.Code
		refusals int
		want     time.Duration
	}{
		{im.OutOfOrder, 1, 0},
		{im.OutOfOrder, 2, 100 * time.Millisecond},
		{im.Unavailable, 1, 100 * time.Millisecond},
		{im.RateLimited, 3, 400 * time.Millisecond},
		{im.Internal, 50, 2 * time.Second},
	} {
		if got := pause(c.code, c.refusals); got != c.want {
			t.Errorf("%s, %d times: %s, want %s", c.code, c.refusals, got, c.want)
		}
	}
}
