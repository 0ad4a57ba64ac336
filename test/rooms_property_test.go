package test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/session"
)

// roomTable is a room whose guests do as they like, on two gateways; one of them loses
// pushes now and then.
type roomTable struct {
	*roomScene
	hubs   []*session.Hub
	lose   *atomic.Bool
	link   *session.Link
	guests []*guest
	at     []int // the gateway of each
	head   int64
	acts   []string // for who looks for what went wrong
}

const guestsAtATable = 4

// Whatever its members do, join, leave, break off and come back, read late or not at all,
// are banned and let in again, and whatever pushes get lost: each sees the room's messages
// in their order, every one of them, but for those that it was told were skipped.
func TestARoomIsOneOrderForAll(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	p.add("b")
	hub, link, lose := p.lossy(time.Second)
	hubs := []*session.Hub{p.gateway(), hub}
	for n := range guestsAtATable {
		p.user(fmt.Sprint("guest", n))
	}
	rooms, began, brief := 0, time.Now(), flag.Lookup("rapid.checks").Value.String() == "100" // who asks for more gets it
	rapid.Check(t, func(r *rapid.T) {
		if rooms++; brief && time.Since(began) > 5*time.Second {
			return
		}
		table := &roomTable{roomScene: p.room(fmt.Sprint("room", rooms)), hubs: hubs, lose: lose, link: link, head: 1}
		table.sit()
		defer table.rise()
		for range rapid.IntRange(1, 25).Draw(r, "acts") {
			table.act(r)
		}
		table.settle()
		if verdict := check.Judge(table.history); !verdict.OK() {
			r.Fatalf("%+v", verdict)
		}
	})
}

func (t *roomTable) sit() {
	for n := range guestsAtATable {
		t.guests, t.at = append(t.guests, t.enters(t.hubs[n%len(t.hubs)], fmt.Sprint("guest", n))), append(t.at, n%len(t.hubs))
	}
}

func (t *roomTable) rise() {
	if t.t.Failed() {
		t.t.Log(t.id, t.acts)
	}
	for _, g := range t.guests {
		g.Wire.Close()
	}
}

func (t *roomTable) act(r *rapid.T) {
	n := rapid.IntRange(0, len(t.guests)-1).Draw(r, "guest")
	g := t.guests[n]
	act := rapid.SampledFrom([]string{"speak", "speak", "speak", "shout", "read", "leave", "join", "break off", "lose", "ban"}).Draw(r, "act")
	t.acts = append(t.acts, fmt.Sprint(act, " ", n))
	switch act {
	case "speak", "shout":
		if !g.out {
			t.head = max(t.head, g.says(map[string]int{"speak": 10, "shout": 40 << 10}[act]))
		}
	case "read":
		if !g.out {
			g.sees(t.head)
		}
	case "leave":
		if !g.out {
			g.leaves()
		}
	case "join":
		t.join(g, rapid.Bool().Draw(r, "where it was"))
	case "break off":
		g.Wire.Close()
		t.at[n] = 1 - t.at[n]
		g.Client, g.out = t.calls(t.hubs[t.at[n]], g.user), true
		t.join(g, true)
	case "lose":
		t.lose.Store(!t.lose.Load())
	case "ban":
		t.bans(g)
	}
}

// join joins, and reads on until it has all.
func (t *roomTable) join(g *guest, whereItWas bool) {
	if !whereItWas && g.out {
		if refusal := g.join(nil); refusal != nil {
			t.t.Fatal(refusal)
		}
	}
	for g.out || g.upto < t.head {
		after := g.upto
		if refusal := g.join(&after); refusal != nil {
			t.t.Fatal(refusal)
		}
	}
}

// bans bans a guest, who learns it, and may come back.
func (t *roomTable) bans(g *guest) {
	told := g.banned
	t.ban(t.link, g.user)
	for !g.out && g.banned == told {
		g.next()
	}
	if refusal := g.join(nil); refusal.GetCode() != "forbidden" {
		t.t.Fatalf("who is banned joins: %v", refusal)
	}
	g.out = true
	t.unban(t.link, g.user)
	t.head += 2
}

// settle has everybody in, and reading to the end.
func (t *roomTable) settle() {
	t.lose.Store(false)
	for _, g := range t.guests {
		if g.out {
			t.join(g, true)
		}
	}
	t.head = max(t.head, t.guests[0].says(10))
	for _, g := range t.guests {
		g.sees(t.head)
		g.member.CaughtUp()
	}
}

// Whoever is banned is not shown what was said behind the ban, also where its gateway has
// missed all of that and reads it at once.
func TestWhoIsBannedSeesNothingBehind(t *testing.T) {
	p := newPipeline(t)
	p.add("a")
	s := p.room("lobby")
	p.user("ann")
	p.user("bob")
	hub, _, lose := p.lossy(time.Second)
	quiet, link := p.linked()
	ann, bob := s.enters(quiet, "ann"), s.enters(hub, "bob")
	bob.sees(ann.says(0))
	lose.Store(true)
	s.ban(link, "bob")
	ann.says(0)
	last := ann.says(0)
	before := bob.shown
	lose.Store(false)
	for bob.banned == 0 {
		bob.next()
	}
	if bob.shown > before {
		t.Errorf("bob was shown %d messages that were said behind the ban, up to %d of %d", bob.shown-before, bob.upto, last)
	}
}
