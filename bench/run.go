package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/proto/wire"
)

// run is one run in progress.
type run struct {
	config        Config
	id            runID
	form          wire.Form
	begun         time.Time
	history       *check.History
	stats         *stats
	users         []*user
	devices       []*device
	streams       []*stream
	conversations map[string]check.ConversationRef // fixed once the load begins
	gateways      *gateways
	server        *process
	samples       []catchUp // of CatchUp
	idle          IdleResult
	overload      *OverloadResult // of Overload
	room          *room           // of Rooms
	storm         atomic.Bool     // sessions that end now are a storm's
	loginTime     time.Duration   // of Login: all rounds
	enough        int             // not 0: so many acknowledged messages end the load
	marks         []mark          // the beginning and end of the measured time

	sending  atomic.Bool // closed loops go on
	closed   atomic.Bool
	sessions sync.WaitGroup
	cancel   context.CancelCauseFunc
}

// Progress is told of a run while it goes on.
type Progress struct {
	Step   func(text string)   // what begins now; may be nil
	Second func(second Second) // each second of the load; may be nil
}

// Run puts load on a server as the config says, waits until everything
// acknowledged has arrived, and judges what happened. An error means that there
// was no run to judge, or that it was cut short; then the report, if there is one,
// tells of what there was. Whether promises were broken is in the report's
// verdict, not in the error.
func Run(ctx context.Context, config Config, progress Progress) (*Report, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newRun(config, cancel)
	shape := shapeOf(config)
	progress.step("making %d users with %d devices each", shape.users(&config), config.Devices)
	err := r.prepare(ctx, shape)
	if r.gateways != nil {
		defer r.gateways.close()
	}
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	stop := context.AfterFunc(ctx, r.hangUp)
	defer stop()
	background := r.background(ctx, progress)
	err = shape.drive(ctx, r, progress)
	if err == nil && ctx.Err() == nil {
		progress.step("waiting for what is outstanding")
		r.settle(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	report := r.report()
	cancel(nil)
	r.hangUp()
	r.sessions.Wait()
	background()
	progress.step("judging")
	report.Verdict = check.Judge(r.history)
	if err != nil {
		err = fmt.Errorf("bench: %w", err)
		report.Error = err.Error()
	}
	return report, err
}

func (p Progress) step(format string, args ...any) {
	if p.Step != nil {
		p.Step(fmt.Sprintf(format, args...))
	}
}

func newRun(config Config, cancel context.CancelCauseFunc) *run {
	r := &run{
		config: config, id: runID(rand.Uint32()), history: check.NewHistory(), stats: newStats(), begun: time.Now(),
		conversations: map[string]check.ConversationRef{}, cancel: cancel,
		server: newProcess(config.PIDs, config.Metrics),
	}
	r.form = map[string]wire.Form{Text: wire.Text, JSON: wire.JSON, Protobuf: wire.Proto}[config.Form]
	return r
}

func (r *run) now() time.Duration { return time.Since(r.begun) }

// conversation returns the short name of a conversation of the run, 0 for others.
func (r *run) conversation(id []byte) check.ConversationRef { return r.conversations[string(id)] }

// fail ends the run.
func (r *run) fail(err error) { r.cancel(err) }

// hangUp ends all sessions. It does not wait.
func (r *run) hangUp() {
	r.closed.Store(true)
	r.sending.Store(false)
	for _, d := range r.devices {
		d.hangUp()
	}
}

// Each device looks at the clock every beatEvery, and they take turns: clients do not all
// acknowledge at the same moment, and what was sent just then would wait behind that.
const (
	beatEvery = 100 * time.Millisecond
	beatTurns = 50
)

// background runs the clock and the progress until the context ends; the function
// returned waits for that.
func (r *run) background(ctx context.Context, progress Progress) func() {
	var group sync.WaitGroup
	group.Go(func() {
		turn := 0
		every(ctx, beatEvery/beatTurns, func(now time.Time) {
			for i := turn; i < len(r.devices); i += beatTurns {
				r.devices[i].beat(now)
			}
			turn = (turn + 1) % beatTurns
		})
	})
	group.Go(func() {
		every(ctx, time.Second, func(now time.Time) {
			second := r.stats.second(now.Sub(r.begun), r.server.resident())
			if progress.Second != nil {
				progress.Second(second)
			}
		})
	})
	return group.Wait
}

// every calls do at an interval until the context ends.
func every(ctx context.Context, interval time.Duration, do func(time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			do(now)
		}
	}
}

// connect connects devices, so many at once as the config says.
func (r *run) connect(ctx context.Context, devices []*device) error {
	var group errgroup.Group
	group.SetLimit(r.config.Parallel)
	for _, d := range devices {
		group.Go(func() error { return d.connect(ctx) })
	}
	return group.Wait()
}

// settle waits until everything acknowledged has arrived everywhere and every
// device has its user's newest entry, but no longer than the config says. What
// arrives later than that is lost.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Settle)
	defer cancel()
	await(ctx, func() bool {
		totals := r.stats.totals()
		return totals.open() == 0 && totals.Delivered >= totals.expected
	})
	for _, user := range r.users {
		user.limit()
	}
	await(ctx, func() bool {
		for _, d := range r.devices {
			if !d.caughtUp() {
				return false
			}
		}
		return true
	})
	for _, d := range r.devices {
		d.history.CaughtUp()
		if d.visit != nil {
			d.visit.member.CaughtUp()
		}
	}
}

// await asks a question every 5 ms until the answer is yes or the context ends.
func await(ctx context.Context, done func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	every(ctx, 5*time.Millisecond, func(time.Time) {
		if done() {
			cancel()
		}
	})
}

// limit fixes up to where the user's devices are judged: entries still come
// (receipts), and one device may see them before the run ends and another not.
func (u *user) limit() {
	var ceiling int64
	for _, d := range u.devices {
		d.mu.Lock()
		defer d.mu.Unlock()
		ceiling = max(ceiling, d.last, d.head)
	}
	for _, d := range u.devices {
		d.ceiling = ceiling
	}
}

func (d *device) caughtUp() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last >= d.ceiling && d.visit.caughtUp() || !d.live && d.leaving
}

// machine describes where the run was made.
func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// direct gives two users' conversation its short name.
func (r *run) direct(a, b *user) check.ConversationRef {
	ref := r.history.Direct(a.id, b.id)
	r.conversations[im.DirectConversation(a.id, b.id)] = ref
	return ref
}
