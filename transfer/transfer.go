// Package transfer is the message pipeline. Its files bear the names of the
// steps, in the order of a message's way:
//
//	stream.go    the streams of the gateways, in and out
//	accept.go    judge what a frame alone decides, publish to conversation.<p>
//	sequence.go  the owner of partition p: dedupe, after, authorise, seq and id
//	store        insert events (interfaces in store.go), repeat.go reads back
//	alter.go     changes of messages: accept; references.go judges, alteration.go
//	             says what they make of a message, altered.go projects that
//	fanout.go    one envelope per message and inbox partition, to inbox.<q>
//	receive.go   take and decode what is for inbox partition q
//	inbox.go     the owner of partition q; load.go what it waits for
//	commit.go    stamp inbox seqs, insert blocks, read back
//	stale.go     receipts of an owner that has been replaced
//	push.go      encode once, send to the gateways where users are attached
//	attach.go    who is attached; ack.go cursors
//	read.go      read marks and receipts; delivered.go; issue.go lets them out
//	room.go      rooms: who may what; rooms.go which gateways have one open, and pushes
//	login.go, pull.go, kick.go, signal.go  the calls beside the way
//	presence.go  who is online, and who wants to know; record.go the journal
//	progress.go  how far devices have come, second by second
//	term.go      ids and the fence; own.go which partitions are ours
//	persist.go   try again while the store or the queue is away
//	stranded.go  leave partitions to others who can reach them
//	sweep.go     what inboxes are not kept for any longer
//	trace.go     the spans of traced messages; trace_accept.go those of accept
package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Config is what a transfer server is told. Zero values are replaced by the
// defaults given.
type Config struct {
	ServerID               string                // unique per process start
	Address                string                // that gateways dial
	ConversationPartitions int                   // 1 to im.MaxPartitions; 16
	InboxPartitions        int                   // 1 to 1,024; 16
	Prefetch               int                   // unacknowledged items of a partition; 256
	Backlog                int                   // items waiting in a partition before accept refuses; 20,000
	DevicesPerPlatform     int                   // live sessions of one user on one platform; 1
	PlatformDevices        map[string]int        // the same, where it is another for a platform
	Policy                 Policy                // until SetPolicy
	Retention              time.Duration         // for how long entries of inboxes are kept; 0 = for ever
	KeepConnections        time.Duration         // for how long the journal is kept; 0 = for ever
	KeepProgress           time.Duration         // for how long it is kept how far devices had come; 0 = for ever
	PresenceGrace          time.Duration         // users of a gateway that has gone count as online for so long; 5 s
	Metrics                prometheus.Registerer // where metrics are registered; nil = nowhere
	ReceiptEvery           time.Duration         // per kind, conversation and reader, and between two stores of cursors; 500 ms
	Now                    func() time.Time      // the wall clock, read once; time.Now
	GiveUpAfter            time.Duration         // silence of store or queue after which partitions are left to others; 0 = they are kept
	Tracer                 Tracer                // takes the spans of traced messages; nil = nobody does
}

func (c Config) withDefaults() Config {
	set := func(value *int, otherwise int) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&c.ConversationPartitions, 16)
	set(&c.InboxPartitions, 16)
	set(&c.Prefetch, 256)
	set(&c.Backlog, 20000)
	set(&c.DevicesPerPlatform, 1)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PresenceGrace == 0 {
		c.PresenceGrace = 5 * time.Second
	}
	if c.ReceiptEvery == 0 {
		c.ReceiptEvery = 500 * time.Millisecond
	}
	return c
}

// devicesOn is how many live sessions a user may have on a platform.
func (c *Config) devicesOn(platform string) int {
	if n, ok := c.PlatformDevices[platform]; ok {
		return n
	}
	return c.DevicesPerPlatform
}

// Server is a transfer server: the pipeline's steps for the partitions that it
// owns, and the service that gateways call.
type Server struct {
	imv1.UnimplementedTransferServer

	config   Config
	store    Store
	queue    Queue
	registry Registry
	tokens   Tokens
	log      *slog.Logger
	metrics  *metrics
	info     im.StoreInfo
	now      func() time.Time
	policy   atomic.Pointer[Policy]
	limits   *limiter
	signals  chan signalRequest

	complaints complaints
	replays    replays
	transfers  atomic.Pointer[[]im.Server] // that live, as the registry said last
	stranded   atomic.Bool                 // partitions have been left to others

	mu       sync.Mutex // guards what follows
	gateways map[string]*gateway
	inboxes  map[int]*inbox // active ones: attached to the queue, term taken
	rooms    map[int]*rooms // of the active conversation partitions
	stopped  bool

	cancel  context.CancelFunc
	running sync.WaitGroup // every goroutine that the server started
	failed  chan error
}

// New returns a server that has not been started.
func New(config Config, store Store, queue Queue, registry Registry, tokens Tokens, log *slog.Logger) *Server {
	config = config.withDefaults()
	s := &Server{
		config: config, store: store, queue: queue, registry: registry, tokens: tokens,
		log:        log.With("server", "transfer"),
		metrics:    newMetrics(config.Metrics),
		now:        monotonic(config.Now),
		limits:     newLimiter(),
		signals:    make(chan signalRequest, 1024),
		complaints: complaints{was: map[string]complaint{}},
		replays:    replays{waiting: map[int64]chan struct{}{}},
		gateways:   map[string]*gateway{},
		inboxes:    map[int]*inbox{},
		rooms:      map[int]*rooms{},
		failed:     make(chan error, 1),
	}
	s.SetPolicy(config.Policy)
	return s
}

// monotonic returns a clock that starts at the wall clock's time and is not moved
// by its steps, so that ids and times of one process never go back.
func monotonic(wall func() time.Time) func() time.Time {
	start, began := wall(), time.Now()
	return func() time.Time { return start.Add(time.Since(began)) }
}

// Start takes the partitions that are ours, publishes
// what a former process left in the store's outbox, and registers the server.
// Nothing is accepted before it returns.
func (s *Server) Start(ctx context.Context) error {
	var err error
	if s.info, err = s.store.Info(ctx); err != nil {
		return fmt.Errorf("read store info: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.replayPacks(ctx); err != nil {
		cancel()
		return fmt.Errorf("replay outbox: %w", err)
	}
	s.goRun(func() { s.serveSignals(run) })
	if err := s.own(run); err != nil {
		cancel()
		return fmt.Errorf("watch transfers: %w", err)
	}
	server := im.Server{ID: s.config.ServerID, Role: "transfer", Address: s.config.Address}
	giveUp := context.AfterFunc(ctx, cancel) // a registry that is away is waited for
	err = s.registry.Register(run, server)
	if !giveUp() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return fmt.Errorf("register: %w", err)
	}
	if s.config.GiveUpAfter > 0 {
		s.goRun(func() { newStanding(s, server).watch(run) })
	}
	return nil
}

// Failed receives the first error after which the server can not go on.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop gives the partitions up, each after the batch in hand, and waits for them,
// or until ctx ends. The streams end with the gRPC server, whose goroutines they
// run on. Stop may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopped
	s.stopped = true
	s.mu.Unlock()
	if s.cancel == nil {
		return nil
	}
	var err error
	if first {
		err = s.registry.Deregister(ctx, s.config.ServerID)
		im.CrashPoint(im.CrashDeregistered)
	}
	s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait() // the partitions have put their last answers in
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range s.gateways {
			g.close()
		}
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("stop transfer: %w", ctx.Err()))
	}
}

func (s *Server) goRun(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		f()
	}()
}

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default: // an earlier failure stands
	}
}

// gateway returns a gateway by its server id, nil when it has no stream here.
func (s *Server) gateway(id string) *gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateways[id]
}

// inboxOf returns the active inbox partition of a user, nil when it is not ours.
func (s *Server) inboxOf(userID string) *inbox {
	q := im.Partition(userID, s.config.InboxPartitions)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inboxes[q]
}

// answer sends a reply to where a command came from. An origin whose stream is
// gone gets none: its gateway sends again what it has no answer to.
func (s *Server) answer(origin *imv1.Origin, reply *imv1.Reply) {
	if origin.GetGateway() == "" {
		return
	}
	if g := s.gateway(origin.Gateway); g != nil {
		reply.Session, reply.Request = origin.Session, origin.Request
		g.reply(reply)
	}
}

func errorReply(err error) *imv1.Reply {
	e := im.AsError(err)
	return &imv1.Reply{What: &imv1.Reply_Error{Error: errorBody(e)}}
}

func errorBody(e *im.Error) *imv1.Error {
	return &imv1.Error{
		Code: string(e.Code), Message: e.Message,
		RetryAfterMs: int32(e.RetryAfter / time.Millisecond), //nolint:gosec // seconds at most
	}
}
