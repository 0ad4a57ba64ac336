package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/im-transfer/im"
)

// The pauses between a device's attempts, where the server names none: they double, as
// those of the SDK.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 10 * time.Second
)

// StormResult says how the devices of a server that ended came back.
type StormResult struct {
	Lost    int            `json:"lost"`       // sessions that ended
	Back    int            `json:"back"`       // of them, resumed
	Return  Latency        `json:"return"`     // from a session's end until the device has resumed
	AllBack float64        `json:"all_ms"`     // from the first end until all had
	Tries   Tries          `json:"tries"`      // connections that it took
	Failed  map[string]int `json:"failed"`     // tries without success, by what came of them
	Called  int            `json:"roll_calls"` // messages, one to every second device from the other, after all were back
}

// Tries is how often a device tried to come back.
type Tries struct {
	Mean float64 `json:"mean"`
	P99  int64   `json:"p99"`
	Max  int64   `json:"max"`
}

// returns are the statistics of a storm, under those' mu.
type returns struct {
	lost, back  int
	first, last time.Duration
	took, tries *hdrhistogram.Histogram
	failed      map[string]int
}

func newReturns() *returns {
	return &returns{took: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3), tries: hdrhistogram.New(1, 1_000_000, 3), failed: map[string]int{}}
}

// stormShape connects devices that do nothing, has their server end, and measures
// until all are back with their sessions resumed. Before and after every pair exchanges
// a message: a session that was lost or doubled would be found by the judge.
type stormShape struct{ pairShape }

func (stormShape) users(config *Config) int { return config.Connect + config.Connect%2 }

func (stormShape) drive(ctx context.Context, r *run, progress Progress) error {
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	if err := r.rollCall(ctx, 1, progress); err != nil {
		return err
	}
	r.storm.Store(true)
	r.marks = append(r.marks, r.mark())
	struck := make(chan error, 1)
	if r.config.Strike == nil {
		progress.step("kill or stop a server now; its devices are waited for until all are back")
		struck <- nil
	} else {
		go func() { struck <- r.config.Strike(ctx) }()
	}
	if err := <-struck; err != nil {
		return err
	}
	await(ctx, r.allBack)
	r.marks = append(r.marks, r.mark())
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return r.rollCall(ctx, 2, progress)
}

// allBack reports whether there was a storm and it is over.
func (r *run) allBack() bool {
	r.stats.mu.Lock()
	lost, back := r.stats.returns.lost, r.stats.returns.back
	r.stats.mu.Unlock()
	return lost > 0 && lost == back
}

// rollCall has every pair exchange its nth message and waits for the answers.
func (r *run) rollCall(ctx context.Context, n int, progress Progress) error {
	progress.step("a message in each of %d pairs", len(r.streams))
	for _, s := range r.streams {
		s.device.mu.Lock()
		s.left = 1
		s.device.mu.Unlock()
	}
	r.sending.Store(true)
	r.kick()
	bounded, cancel := context.WithTimeout(ctx, r.config.Settle)
	defer cancel()
	await(bounded, func() bool { return r.answered(n * len(r.streams)) })
	r.sending.Store(false)
	return context.Cause(ctx)
}

// lostNow notes the end of the device's session, or of a try to have one.
func (d *device) lostNow(err error) {
	if !d.run.storm.Load() {
		return
	}
	s := d.run.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.live {
		s.returns.failed[kindOf(err)]++
		return
	}
	d.absent = d.run.now()
	if s.returns.lost++; s.returns.lost == 1 {
		s.returns.first = d.absent
	}
}

// returned notes that the device is back, if it was lost.
func (d *device) returned() {
	if d.absent == 0 {
		return
	}
	s := d.run.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returns.back++
	s.returns.last = d.now
	s.returns.took.RecordValue(int64(max(1, (d.now-d.absent)/time.Microsecond))) //nolint:errcheck // within an hour
	s.returns.tries.RecordValue(int64(d.tries) + 1)                              //nolint:errcheck // within a million
	d.absent = 0
}

// addressOf is where a server that ended a session sends the device.
func addressOf(err error) string {
	var end *disconnect
	if errors.As(err, &end) {
		return end.address
	}
	return ""
}

// kindOf says in few words why a connection failed or ended, without the addresses that
// errors of the network have in them.
func kindOf(err error) string {
	var end *disconnect
	var refusal *im.Error
	var network net.Error
	switch {
	case errors.As(err, &end):
		return "disconnected: " + string(end.code)
	case errors.As(err, &refusal):
		return "refused: " + string(refusal.Code)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// pauseAfter is how long a device waits before its next try: 0.5 to 1.5 times what the
// server has asked for, or else a pause that doubles with each try.
func pauseAfter(err error, tries int) time.Duration {
	after := min(leastPause<<min(tries, 10), mostPause)
	var end *disconnect
	var refusal *im.Error
	switch {
	case errors.As(err, &end) && end.after > 0:
		after = end.after
	case errors.As(err, &refusal) && refusal.RetryAfter > 0:
		after = refusal.RetryAfter
	}
	return time.Duration((0.5 + rand.Float64()) * float64(after))
}

// result gathers the figures. The caller holds the statistics' mu.
func (r *returns) result(called int) *StormResult {
	return &StormResult{
		Lost: r.lost, Back: r.back, Return: latencyOf(r.took), AllBack: float64((r.last - r.first).Microseconds()) / 1000, Called: called,
		Tries:  Tries{r.tries.Mean(), r.tries.ValueAtQuantile(99), r.tries.Max()},
		Failed: maps.Clone(r.failed),
	}
}

// rows adds what the table and the page say of a storm.
func (s *StormResult) rows(add func(name, format string, args ...any)) {
	add("sessions", "%d lost, %d back, all of them after %.1f s", s.Lost, s.Back, s.AllBack/1000)
	add("return", "%s", s.Return)
	add("tries", "mean %.2f  p99 %d  max %d", s.Tries.Mean, s.Tries.P99, s.Tries.Max)
	for _, kind := range slices.Sorted(maps.Keys(s.Failed)) {
		add("", "%s", fmt.Sprintf("%d tries: %s", s.Failed[kind], kind))
	}
}
