// Package rabbitmq is the queue on RabbitMQ 3.10 or later, 4 included.
//
// A partition is a durable quorum queue with a single active consumer:
//
//	Publish ─ outlet, one per partition ─┐
//	Publish ─ outlet ────────────────────┼─ lane: one channel ─┐
//	                                     ┘                     ├─ connection that publishes
//	Publish ─ outlet ──────────────────── lane ────────────────┘
//	Consumer ── a channel each ──────────────────────────────── connection that consumes
//
// A broker that is short of memory or disk stops reading connections that publish;
// the other one goes on, so that what is queued can be worked off.
//
// Its limits. A partition's order is that of its publishes as long as one process
// publishes to one channel at a time, which a lane does: a channel that died is
// replaced, and what it had not confirmed is sent again, in order, before anything
// new. What was answered with im.Unavailable is not sent again, but may have
// arrived, or still lie in the socket of a broker that is blocked. Policies can not
// be seen over AMQP: an operator must not give these queues a delivery limit, a
// length, a time to live or a dead-letter exchange by policy.
package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
)

// ErrClosed: the queue, or the consumer, has been closed.
var ErrClosed = errors.New("closed")

// retryAfter is what a refused publisher is asked to wait.
const retryAfter = time.Second

// silence is how long a node may confirm nothing, at least: one that has too much to
// do is not helped by those who leave it and send everything again elsewhere.
const silence = 30 * time.Second

// Topic is one topic of a queue.
type Topic struct {
	Name       string
	Partitions int // numbered from 0
}

// Config is what Open needs. A zero value of a field with a default means that.
type Config struct {
	URIs   []string    // amqp or amqps addresses of the broker's nodes, tried in turn from any; at least one
	TLS    *tls.Config // of amqps; nil: the system's roots
	Name   string      // of this process, for the broker's tools
	Prefix string      // of the names of queues: prefix, topic, dot, number
	Topics []Topic
	// Prefetch is how many AMQP messages, and how many items, a consumer holds
	// unacknowledged. At least 1, at most 65,535, the same in all processes.
	Prefetch int
	// Heartbeat is the broker's and our sign of life, default 5 s, at least 1 s.
	// A side that is silent for three of them is taken for dead; a node that confirms
	// nothing for as long, and for 30 s, for one that has lost the others.
	Heartbeat time.Duration
	// Patience is the longest time from a publish to its answer, default 2 s, at
	// least 20 ms.
	Patience time.Duration
	// Window is how many AMQP messages of a partition are on their way to the
	// broker at a time, default 64.
	Window int
	// PackBytes bounds the AMQP message into which items that have to wait are
	// packed, default 32 KiB. Negative: an item is a message, always.
	PackBytes int
	// MaxWaiting bounds the bytes of all items that are not confirmed, default
	// 64 MiB; what comes above is refused.
	MaxWaiting int64
	Lanes      int // channels that publish, default 4
	Log        *slog.Logger
}

func (c Config) withDefaults() Config {
	either := func(value, other int) int {
		if value == 0 {
			return other
		}
		return value
	}
	c.Window = either(c.Window, 64)
	c.PackBytes = either(c.PackBytes, 32<<10)
	c.Lanes = either(c.Lanes, 4)
	if c.Heartbeat == 0 {
		c.Heartbeat = 5 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Second
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case len(c.URIs) == 0:
		return errors.New("no address")
	case c.Prefetch < 1 || c.Prefetch > 65535:
		return fmt.Errorf("prefetch is %d, must be 1 to 65535", c.Prefetch)
	case c.Heartbeat < time.Second:
		return fmt.Errorf("heartbeat is %s, must be at least 1s", c.Heartbeat)
	case c.Patience < 20*time.Millisecond:
		return fmt.Errorf("patience is %s, must be at least 20ms", c.Patience)
	case c.Window < 1 || c.Lanes < 1 || c.MaxWaiting < 1:
		return errors.New("window, lanes and max waiting must be positive")
	}
	return nil
}

// Queue is the ordered, partitioned, durable log. All methods are safe for
// concurrent use.
type Queue struct {
	config     Config
	topics     map[string][]*partition // fixed by Open
	all        []*partition
	lanes      []*lane
	publishing *link
	consuming  *link
	held       atomic.Int64 // bytes of items without an answer

	over   context.Context // ended by Close
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	closed  bool
	running sync.WaitGroup // nothing is added once closed
}

// partition is one queue of the broker.
type partition struct {
	queue string        // its name
	seat  chan struct{} // holds one token while a consumer of this process has, or waits for, the partition
	out   *outlet
	depth atomic.Int64 // items in the broker, when it was asked last
	used  atomic.Bool  // published to since then
}

// Open connects, declares every queue and starts to work. It waits for a broker
// that is away until the context ends, but not for one whose queues have other
// arguments than ours: that is an ErrArguments.
func Open(ctx context.Context, config Config) (*Queue, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("configure the queue: %w", err)
	}
	q := &Queue{config: config, topics: map[string][]*partition{}}
	q.over, q.cancel = context.WithCancel(context.Background())
	for range config.Lanes {
		q.lanes = append(q.lanes, newLane(q))
	}
	for _, topic := range config.Topics {
		for number := range topic.Partitions {
			p := &partition{queue: fmt.Sprintf("%s%s.%d", config.Prefix, topic.Name, number), seat: make(chan struct{}, 1)}
			l := q.lanes[len(q.all)%len(q.lanes)]
			p.out = &outlet{lane: l, queue: p.queue}
			l.outlets = append(l.outlets, p.out)
			q.topics[topic.Name] = append(q.topics[topic.Name], p)
			q.all = append(q.all, p)
		}
	}
	node := rand.IntN(len(config.URIs)) // so that processes spread over the nodes
	q.publishing = newLink("publish", config, node, q.declareAll, q.block)
	q.consuming = newLink("consume", config, node, q.declareAll, func(bool) {})
	for _, run := range []func(context.Context){q.publishing.run, q.consuming.run, q.expire, q.measure} {
		q.work(func() { run(q.over) })
	}
	for _, l := range q.lanes {
		q.work(func() { l.run(q.over) })
	}
	for _, l := range []*link{q.publishing, q.consuming} {
		if _, err := l.await(ctx, true); err != nil {
			return nil, errors.Join(fmt.Errorf("open the queue: %w", err), q.Close())
		}
	}
	return q, nil
}

// Publish appends items to a partition. confirmed is called once, with nil when a
// majority of the brokers has all of them on disk; otherwise, within the patience,
// with im.Unavailable, and then so are all later publishes to the partition that
// had no answer yet: what has failed is never overtaken by what followed it.
// Nobody may change the bodies any more.
func (q *Queue) Publish(topic string, number int, items []im.Pack, confirmed func(error)) {
	p, err := q.partition(topic, number)
	if err == nil && len(items) > 0 {
		err = p.out.publish(items, confirmed)
		p.used.Store(true)
	}
	if err != nil || len(items) == 0 {
		confirmed(refusal(err))
	}
}

func refusal(err error) error {
	if err == nil {
		return nil
	}
	return im.Retry(im.Unavailable, retryAfter, err.Error())
}

// Backlog is how many items of a partition are not confirmed to this process, and
// how many waited in the broker when it was asked last, about half a second ago.
// Partitions to which this process does not publish are not asked for.
func (q *Queue) Backlog(topic string, number int) int {
	p, err := q.partition(topic, number)
	if err != nil {
		return 0
	}
	return int(p.out.open.Load() + p.depth.Load())
}

// Ping waits until there are connections for publishing and for consuming. That one
// of them leads nowhere any more is noticed by its heartbeat.
func (q *Queue) Ping(ctx context.Context) error {
	for _, l := range []*link{q.publishing, q.consuming} {
		if _, err := l.await(ctx, false); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the queue: from now on publishers are refused, whoever has no answer
// yet gets im.Unavailable, and consumers lose their partitions. It takes at most
// about two seconds. A second call does nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if first {
		for _, l := range q.lanes {
			l.close()
		}
		q.cancel()
	}
	q.running.Wait()
	return nil
}

// work runs a function on a goroutine for whose end Close waits. A queue that has
// been closed does not run it; then nothing is left for it to do.
func (q *Queue) work(run func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Go(run)
	}
	return !q.closed
}

func (q *Queue) partition(topic string, number int) (*partition, error) {
	partitions := q.topics[topic]
	if number < 0 || number >= len(partitions) {
		return nil, fmt.Errorf("there is no partition %s.%d", topic, number)
	}
	return partitions[number], nil
}

// block stops and resumes all lanes, as the broker asks.
func (q *Queue) block(blocked bool) {
	for _, l := range q.lanes {
		l.block(blocked)
	}
}

// expire answers, every tenth of the patience, what has waited for longer than the
// rest of it, and watches over the node.
func (q *Queue) expire(ctx context.Context) {
	step := q.config.Patience / 10
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, p := range q.all {
				p.out.expire(now.Add(-q.config.Patience + 2*step))
			}
			q.leaveSilent(now.Add(-max(3*q.config.Heartbeat, silence)))
		case <-ctx.Done():
			return
		}
	}
}

// leaveSilent goes to another node when the one that there is has confirmed nothing
// since a time: it may see too few of the others, or its channel have lost its way
// to a queue's new leader. Consumers go too, since nothing would show them the same.
func (q *Queue) leaveSilent(since time.Time) {
	silent := func(l *lane) bool { return l.silent(since) }
	if !slices.ContainsFunc(q.lanes, silent) {
		return
	}
	for _, l := range q.lanes {
		l.excuse() // the next node gets as long
	}
	q.publishing.leave(errSilent)
	q.consuming.leave(errSilent)
}
