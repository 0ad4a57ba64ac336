package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/im-transfer/im"
)

const (
	// recoveredShare is the share of the throughput before an overload at which a
	// server is taken to have recovered from it.
	recoveredShare = 0.9
	// offerWindow is how many messages without an answer a sender has at most, in an
	// overload: as many as a server lets one session have.
	offerWindow = 256
)

// Phase is a part of an overload: what was put on the server, and what it did with it.
type Phase struct {
	Seconds    float64         `json:"seconds"`
	Offered    float64         `json:"offered_per_second"` // 0: as fast as the windows let
	Sent       float64         `json:"sent_per_second"`
	Acked      float64         `json:"acknowledged_per_second"`
	GivenUp    int             `json:"given_up"` // offers to a sender with a full window: never sent
	Refused    map[im.Code]int `json:"refused,omitempty"`
	Untimed    int             `json:"refused_without_retry_after"` // of rate_limited and unavailable
	Ack        Latency         `json:"ack"`                         // from the offer, retries included
	MemoryPeak int64           `json:"memory_peak"`                 // bytes resident; 0 = not known

	acks *hdrhistogram.Histogram
}

// OverloadResult says what became of a server that was offered many times what it can
// take. Closed loops measure it before and after; the overload is an open loop.
type OverloadResult struct {
	Factor float64 `json:"factor"`
	Memory int64   `json:"memory_before"` // bytes resident with idle connections; 0 = not known
	Before Phase   `json:"before"`
	During Phase   `json:"during"`
	After  Phase   `json:"after"`
	// Recovered is the time from the end of the overload until there was a second with
	// 0.9 of the throughput before; negative: there was none in the time to settle.
	Recovered float64 `json:"recovered_after_ms"`
	Ratio     float64 `json:"after_to_before"` // of the throughputs
}

// overloadShape measures what a server takes, offers it many times that for a while,
// and measures again. A sender has a window of messages without an answer, as any
// client has a bound; what it is offered beyond is given up and counted, not kept: an
// overload would last for as long as the queue that it had made.
type overloadShape struct{ pairShape }

func (overloadShape) drive(ctx context.Context, r *run, progress Progress) error {
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	o := &OverloadResult{Factor: r.config.Factor, Memory: r.server.memory(ctx), Recovered: -1}
	r.overload = o
	progress.step("what it takes: %d senders, window %d, for %s", len(r.streams), r.config.Window, r.config.Duration)
	r.sending.Store(true)
	if err := r.phase(ctx, &o.Before, r.config.Warmup, r.kick); err != nil {
		return err
	}
	r.sending.Store(false)
	if err := r.offer(ctx, o, progress); err != nil {
		return err
	}
	progress.step("as before the overload, for %s", r.config.Duration)
	r.sending.Store(true)
	r.kick()
	r.recover(ctx, o)
	err := r.phase(ctx, &o.After, 0, r.kick)
	r.sending.Store(false)
	if o.Before.Acked > 0 {
		o.Ratio = o.After.Acked / o.Before.Acked
	}
	return err
}

// phase puts a load on, and measures it for the run's duration once it has warmed up.
func (r *run) phase(ctx context.Context, p *Phase, warmup time.Duration, begin func()) error {
	from := r.now() + warmup
	to := from + r.config.Duration
	acks := r.stats.phase(from, to)
	begin()
	if err := r.until(ctx, from); err != nil {
		return err
	}
	before := r.mark()
	err := r.until(ctx, to)
	p.between(before, r.mark())
	p.acks = acks
	p.MemoryPeak = r.stats.memoryPeak(from)
	return err
}

func (p *Phase) between(a, b mark) {
	p.Seconds = (b.at - a.at).Seconds()
	p.Sent = float64(b.counts.Sent-a.counts.Sent) / p.Seconds
	p.Acked = float64(b.counts.Acked-a.counts.Acked) / p.Seconds
	p.GivenUp = b.counts.GivenUp - a.counts.GivenUp
	p.Untimed = b.counts.Untimed - a.counts.Untimed
	p.Refused = map[im.Code]int{}
	for code, n := range b.counts.Refused {
		if n -= a.counts.Refused[code]; n > 0 {
			p.Refused[code] = n
		}
	}
}

// offer is the overload itself.
func (r *run) offer(ctx context.Context, o *OverloadResult, progress Progress) error {
	rate := max(1, o.Factor*o.Before.Acked)
	progress.step("it took %.0f messages/s; offering %.0f/s for %s", o.Before.Acked, rate, r.config.Duration)
	o.During.Offered = rate
	pacing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	first := len(r.marks)
	err := r.phase(ctx, &o.During, 0, func() {
		r.marks = append(r.marks, r.mark())
		go func() {
			defer close(done)
			r.pace(pacing, rate, offerWindow)
		}()
	})
	stop()
	<-done
	r.marks = append(r.marks[:first+1:first+1], r.mark())
	return err
}

// recover waits, no longer than for the time to settle, for a second in which as much
// is acknowledged as before.
func (r *run) recover(ctx context.Context, o *OverloadResult) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Settle)
	defer cancel()
	began := r.now()
	var marks []mark
	await(ctx, func() bool {
		now := r.mark()
		marks = append(marks, now)
		for len(marks) > 1 && now.at-marks[1].at >= time.Second {
			marks = marks[1:]
		}
		span := now.at - marks[0].at
		if span < time.Second || float64(now.counts.Acked-marks[0].counts.Acked) < recoveredShare*o.Before.Acked*span.Seconds() {
			return false
		}
		o.Recovered = float64((marks[0].at - began).Microseconds()) / 1000
		return true
	})
}

// measured returns the result with its latencies, when nothing is added to them any
// more. The caller holds the statistics' mu.
func (o *OverloadResult) measured() *OverloadResult {
	for _, p := range []*Phase{&o.Before, &o.During, &o.After} {
		if p.acks != nil {
			p.Ack = latencyOf(p.acks)
		}
	}
	return o
}

// rows adds what the table and the page say of an overload.
func (o *OverloadResult) rows(add func(name, format string, args ...any)) {
	for _, p := range []struct {
		name string
		of   *Phase
	}{{"before", &o.Before}, {"overload", &o.During}, {"after", &o.After}} {
		if p.of.Seconds == 0 {
			continue
		}
		offered := "closed loop"
		if p.of.Offered > 0 {
			offered = fmt.Sprintf("%.0f offered/s", p.of.Offered)
		}
		add(p.name, "%s, %.0f sent/s, %.0f acknowledged/s, %d given up, ack %s", offered, p.of.Sent, p.of.Acked, p.of.GivenUp, p.of.Ack)
		for _, code := range slices.Sorted(maps.Keys(p.of.Refused)) {
			add("", "%d refused as %s", p.of.Refused[code], code)
		}
		if p.of.Untimed > 0 {
			add("", "%d refused without retry_after_ms", p.of.Untimed)
		}
	}
	if o.Memory > 0 {
		add("memory", "%d MiB before, at most %d in the overload and %d after", o.Memory>>20, o.During.MemoryPeak>>20, o.After.MemoryPeak>>20)
	}
	switch {
	case o.After.Seconds == 0:
	case o.Recovered < 0:
		add("recovery", "none: %.2f of the throughput before", o.Ratio)
	default:
		add("recovery", "after %.0f ms, to %.2f of the throughput before", o.Recovered, o.Ratio)
	}
}
