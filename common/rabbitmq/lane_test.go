package rabbitmq

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/im-transfer/im"
)

// node is a node of the broker as a lane sees it: a channel that handles what is
// published in order, refuses some of its first messages, for it finds no leader,
// and dies. What it has read when it dies it may still handle.
type node struct {
	dice     *rand.Rand
	calm     bool // nothing fails any more
	begun    bool // the channel has found the leader
	unread   []*message
	answers  []amqp.Confirmation
	log      []int // what the queue holds
	refusals int
	deaths   int
}

// handle takes the next message that was published.
func (n *node) handle(t *testing.T) {
	if len(n.unread) == 0 {
		return
	}
	m := n.unread[0]
	n.unread = n.unread[1:]
	n.begun = n.begun || n.calm || n.dice.IntN(4) == 0
	n.answers = append(n.answers, amqp.Confirmation{DeliveryTag: m.tag, Ack: n.begun})
	if !n.begun {
		n.refusals++
		return
	}
	items, err := unpack(m.body)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		number, err := strconv.Atoi(string(item.Body))
		if err != nil {
			t.Fatal(err)
		}
		n.log = append(n.log, number)
	}
}

// die ends the channel after some of what it has read; no answer is heard any more.
func (n *node) die(t *testing.T, l *lane) {
	for range n.dice.IntN(len(n.unread) + 1) {
		n.handle(t)
	}
	n.deaths++
	n.begun, n.unread, n.answers = false, nil, nil
	l.begin()
}

// answer lets the lane hear some of the answers. A refusal ends the channel.
func (n *node) answer(t *testing.T, l *lane) {
	some := 0
	if len(n.answers) > 0 {
		some = 1 + n.dice.IntN(len(n.answers))
	}
	heard := n.answers[:some]
	n.answers = n.answers[some:]
	if l.confirmed(heard) != nil {
		n.die(t, l)
	}
}

// Whatever a node does, what is confirmed is in the queue, and what was published
// before it stands there before it.
func TestALaneKeepsTheOrder(t *testing.T) {
	refusals, deaths := 0, 0
	for seed := range uint64(500) {
		n := &node{dice: rand.New(rand.NewPCG(seed, 0))}
		l, confirmed := aLane(n.dice)
		l.begin()
		published := 0
		for range 400 {
			switch n.dice.IntN(20) {
			case 0:
				n.die(t, l)
			case 1, 2, 3, 4:
				l.publishOne(t, published, confirmed)
				published++
			case 5, 6, 7, 8, 9:
				n.answer(t, l)
			case 10, 11, 12, 13:
				n.handle(t)
			default:
				n.write(l)
			}
		}
		for n.calm = true; len(*confirmed) < published; {
			n.write(l)
			n.handle(t)
			n.answer(t, l)
		}
		judge(t, seed, n.log, published)
		refusals, deaths = refusals+n.refusals, deaths+n.deaths
	}
	if refusals == 0 || deaths == 0 {
		t.Fatalf("%d refusals and %d deaths show nothing", refusals, deaths)
	}
}

func aLane(dice *rand.Rand) (l *lane, confirmed *[]int) {
	c := Config{Window: 1 + dice.IntN(40), Prefetch: 8, PackBytes: 1 << (3 * dice.IntN(5)), Patience: time.Hour}.withDefaults()
	q := &Queue{config: c}
	l = newLane(q)
	l.outlets = []*outlet{{lane: l, queue: "q"}}
	return l, &[]int{}
}

func (l *lane) publishOne(t *testing.T, number int, confirmed *[]int) {
	err := l.outlets[0].publish([]im.Pack{{Body: strconv.AppendInt(nil, int64(number), 10)}}, func(err error) {
		if err != nil {
			t.Errorf("item %d was refused: %v", number, err)
		}
		*confirmed = append(*confirmed, number)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) write(l *lane) {
	if m := l.next(); m != nil {
		n.unread = append(n.unread, m)
	}
}

// judge looks at the first places of all items in the queue.
func judge(t *testing.T, seed uint64, log []int, published int) {
	t.Helper()
	last := -1
	for number := range published {
		at := slices.Index(log, number)
		if at < 0 {
			t.Fatalf("seed %d: item %d was confirmed and is not in the queue", seed, number)
		}
		if at < last {
			t.Fatalf("seed %d: item %d stands in the queue after the one that follows it", seed, number)
		}
		last = at
	}
}
