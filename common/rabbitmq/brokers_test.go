package rabbitmq_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/deploy/local"
)

// brokers starts three nodes that the test may do anything to.
func brokers(t *testing.T) *local.Brokers {
	t.Helper()
	if !local.HasRabbitMQ() {
		missing(t)
	}
	began := time.Now()
	b, err := local.StartBrokers(t.Context(), t.TempDir(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("three nodes took %s to start", time.Since(began).Round(time.Millisecond))
	return b
}

// kills is how many nodes TestLeadersAreKilled kills, after how many strikes at the
// leaders' Erlang processes each. IM_TEST_KILLS makes it an experiment of hours.
func kills(t *testing.T) (nodes, strikes int) {
	text := os.Getenv("IM_TEST_KILLS")
	if text == "" {
		return 1, 2
	}
	nodes, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return nodes, 10
}

// Who leads a queue is killed under load, again and again: the leaders' processes,
// and whole nodes. Publishers with many items in flight are connected to any node,
// so that most channels outlive the leader. Of each partition whatever was confirmed
// is received, and no item is received for the first time after a later one.
func TestLeadersAreKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	b := brokers(t)
	c := config(b.URI())
	c.URIs, c.Heartbeat, c.Patience = b.URIs(), 2*time.Second, patience
	c.PackBytes, c.Prefetch = -1, 256 // each item a message, for as many in flight as can be
	var talks []*talk
	for partition := range len(queuePartitions(c)) {
		talks = append(talks, startTalk(t, c, partition))
	}
	flows := func() {
		for _, talk := range talks {
			talk.sends.grows(t, 500)
		}
	}
	nodes, strikes := kills(t)
	for kill := range nodes {
		for range strikes {
			flows()
			killLeaders(t, b)
		}
		flows()
		leader, err := b.Leader(t.Context(), queuePartitions(c)[rand.IntN(len(talks))])
		if err != nil {
			t.Fatal(err)
		}
		flows() // what is in flight now meets its end
		leader.Kill()
		flows()
		t.Logf("%d strikes at the leaders, and %s killed", strikes*(kill+1), leader.Node())
		if kill < nodes-1 {
			if err := leader.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, talk := range talks {
		talk.end(t)
	}
}

// killLeaders kills the processes that lead the queues. Their nodes live on, and
// elect others.
func killLeaders(t *testing.T, b *local.Brokers) {
	t.Helper()
	const all = `[exit(Pid, kill) || Q <- rabbit_amqqueue:list(), {Name, Node} <- [amqqueue:get_pid(Q)],
		Pid <- [rpc:call(Node, erlang, whereis, [Name])], is_pid(Pid)], ok.`
	if answer, err := b.Nodes[0].Control(t.Context(), "eval", all); err != nil || answer != "ok" {
		t.Fatalf("kill the leaders: %s, %v", answer, err)
	}
}

func queuePartitions(c rabbitmq.Config) []string {
	var names []string
	for _, named := range c.Topics {
		for number := range named.Partitions {
			if named.Name == topic {
				names = append(names, fmt.Sprintf("%s%s.%d", c.Prefix, topic, number))
			}
		}
	}
	return names
}

// talk is a publisher and a consumer of one partition, each with connections of its
// own, and what the consumer has noticed.
type talk struct {
	partition int
	sends     *stream
	cancel    context.CancelFunc
	done      sync.WaitGroup

	mu       sync.Mutex
	seen     map[int]bool
	highest  int
	repeats  int
	gaps     int   // items that were passed by, some of them for good
	late     []int // received for the first time after a later one
	takeover int
}

func startTalk(t *testing.T, c rabbitmq.Config, partition int) *talk {
	ctx, cancel := context.WithCancel(context.Background())
	talk := &talk{
		partition: partition, sends: startStream(open(t, c), partition, asFastAsItCan),
		cancel: cancel, seen: map[int]bool{}, highest: -1,
	}
	q := open(t, c)
	talk.done.Go(func() { talk.listen(ctx, q) })
	t.Cleanup(func() { cancel(); talk.done.Wait() })
	return talk
}

// listen receives until the context ends, and takes the partition again when it is
// lost.
func (l *talk) listen(ctx context.Context, q *rabbitmq.Queue) {
	for ctx.Err() == nil {
		consumer, err := q.Consume(ctx, topic, l.partition)
		if err != nil {
			continue
		}
		l.mu.Lock()
		l.takeover++
		l.mu.Unlock()
		for {
			batch, err := consumer.Receive(ctx, 64)
			if err != nil {
				break
			}
			for _, d := range batch {
				l.note(string(d.Body))
			}
			if consumer.Ack(batch[len(batch)-1].Tag) != nil {
				break
			}
		}
		_ = consumer.Close() // never fails
	}
}

func (l *talk) note(body string) {
	i, err := strconv.Atoi(body)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.seen[i]:
		l.repeats++
	case i < l.highest:
		l.late = append(l.late, i)
	}
	l.seen[i] = true
	l.gaps += max(0, i-l.highest-1)
	l.highest = max(l.highest, i)
}

// end waits until what was confirmed has been received, and judges.
func (l *talk) end(t *testing.T) {
	t.Helper()
	l.sends.end()
	eventually(t, fmt.Sprintf("partition %d: all that was confirmed is received", l.partition), func() bool {
		return len(l.missing()) == 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("partition %d: %d sent, %d refused, %d came twice, %d passed by, taken %d times, slowest answer %s",
		l.partition, l.sends.sent, l.sends.refused, l.repeats, l.gaps, l.takeover, l.sends.slowest.Round(time.Millisecond))
	if len(l.late) > 0 {
		t.Errorf("partition %d: received after later ones: %v", l.partition, l.late)
	}
}

func (l *talk) missing() []int {
	confirmed := l.sends.confirmedInOrder()
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing []int
	for _, i := range confirmed {
		if !l.seen[i] {
			missing = append(missing, i)
		}
	}
	return missing
}
