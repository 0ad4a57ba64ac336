package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im/check"
)

// run is one run in progress.
type run struct {
	config        Config
	id            string // 8 hexadecimal digits
	begun         time.Time
	history       *check.History
	conversations map[string]check.ConversationRef // fixed once the devices live
	users         []*user
	devices       []*device
	groups        []*group
	servers       *servers
	counts        counts

	arrived   chan *device   // takes each device once, when it has its first session
	parted    sync.WaitGroup // devices that were told to part
	unsettled atomic.Int64   // devices that drain and lack something
	moved     chan struct{}  // 1: unsettled has changed
	keys      sync.Map       // check.Key by message_id, of messages that somebody wants altered
	last      atomic.Int64   // time of the last progress, since begun
}

// Progress is told of a run while it goes on; its functions may be nil.
type Progress struct {
	Step   func(text string)   // what begins now
	Second func(status Status) // each second of the load
	Fault  func(mark Mark)     // has been mended
}

// Status is how far a run is.
type Status struct {
	At                     time.Duration // since the load began
	Sent, Acked, Delivered int64         // so far; sends count with their repeats
}

// String is the status as a line.
func (s Status) String() string {
	return fmt.Sprintf("%5.0fs  %8d sends  %8d acknowledged  %8d delivered", s.At.Seconds(), s.Sent, s.Acked, s.Delivered)
}

// Run makes a run and judges it. An error means that there is nothing to judge;
// whether promises were broken is in the report.
func Run(ctx context.Context, config Config, progress Progress) (*Report, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	r := &run{
		config: config, id: fmt.Sprintf("%08x", rand.Uint32()), history: check.NewHistory(),
		conversations: map[string]check.ConversationRef{}, servers: newServers(config.Servers),
		moved: make(chan struct{}, 1),
	}
	defer r.servers.close()
	report, err := r.make(ctx, progress)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return report, nil
}

func (p Progress) step(format string, args ...any) {
	if p.Step != nil {
		p.Step(fmt.Sprintf(format, args...))
	}
}

func (r *run) now() time.Duration { return time.Since(r.begun) }

// make makes the run: users, load with faults, the end, the verdict.
func (r *run) make(ctx context.Context, progress Progress) (*Report, error) {
	progress.step("making %d users with %d devices each, and %d groups", r.config.Users, r.config.Devices, max(0, r.config.Groups))
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	r.begun = time.Now()
	alive, end := context.WithCancel(ctx)
	var living sync.WaitGroup
	defer living.Wait()
	defer end()
	r.arrived = make(chan *device, len(r.devices))
	for _, d := range r.devices {
		living.Go(func() { d.live(alive) })
	}
	if err := r.gather(ctx); err != nil {
		return nil, err
	}
	report := &Report{Config: r.config, Run: r.id, Begun: time.Now(), From: r.now(), Until: r.now() + r.config.Duration}
	progress.step("talking for %s, seed %d", r.config.Duration, r.config.Seed)
	if err := r.load(ctx, report, progress); err != nil {
		return nil, err
	}
	progress.step("letting everything arrive")
	unread, err := r.finish(ctx)
	if err != nil {
		return nil, err
	}
	end()
	living.Wait()
	progress.step("judging")
	report.judge(r, unread)
	return report, nil
}

// gather waits until every device has had a session.
func (r *run) gather(ctx context.Context) error {
	late := time.NewTimer(r.config.Patience)
	defer late.Stop()
	for n := range r.devices {
		select {
		case <-r.arrived:
		case <-late.C:
			return fmt.Errorf("only %d of %d devices got a session within %s", n, len(r.devices), r.config.Patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// connected notes a session. The channel has room for each device once.
func (r *run) connected(d *device) {
	if !d.arrived {
		d.arrived = true
		r.arrived <- d
	}
}

// order tells all devices what is wanted of them now.
func (r *run) order(ctx context.Context, phase order) error {
	for _, d := range r.devices {
		select {
		case d.orders <- phase:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// load has the devices follow their scripts, and the injector do harm meanwhile.
func (r *run) load(ctx context.Context, report *Report, progress Progress) error {
	if err := r.order(ctx, play); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	loading, stop := context.WithTimeout(ctx, r.config.Duration)
	defer stop()
	marks := make(chan Mark)
	group.Go(func() error {
		defer close(marks)
		if r.config.Inject == nil {
			return nil
		}
		return r.config.Inject(ctx, loading.Done(), marks)
	})
	group.Go(func() error {
		for mark := range marks {
			report.fault(r, mark)
			if progress.Fault != nil {
				progress.Fault(mark)
			}
		}
		return nil
	})
	group.Go(func() error {
		r.watch(loading, progress)
		return ctx.Err()
	})
	return group.Wait()
}

// watch tells of the run's progress each second.
func (r *run) watch(ctx context.Context, progress Progress) {
	began := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if progress.Second != nil {
				progress.Second(Status{time.Since(began), r.counts.sent.Load(), r.counts.acked.Load(), r.counts.delivered.Load()})
			}
		}
	}
}
