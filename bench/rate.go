package bench

import (
	"context"
	"time"
)

// rateShape is an open loop: messages are sent at fixed times, whatever has become
// of those before, and latency counts from those times. So a server that stalls is
// charged for everything that had to wait (no coordinated omission).
type rateShape struct{ pairShape }

func (rateShape) drive(ctx context.Context, r *run, progress Progress) error {
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	progress.step("%.0f messages/s over %d senders, for %s after %s of warm-up", r.config.Rate, len(r.streams), r.config.Duration, r.config.Warmup)
	return r.paced(ctx)
}

// paced is a measured load at the config's rate.
func (r *run) paced(ctx context.Context) error {
	pacing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	err := r.measured(ctx, func() {
		go func() {
			defer close(done)
			r.pace(pacing, r.config.Rate, 0)
		}()
	})
	stop()
	<-done
	return err
}

// pace sends each message at its time, the streams taking turns. A device with so many
// messages unanswered gives up what it should send; 0 = none does.
func (r *run) pace(ctx context.Context, rate float64, most int) {
	clock := newPaceClock()
	defer clock.close()
	start := r.now()
	interval := float64(time.Second) / rate
	var lags tally
	for i := 0; ctx.Err() == nil; {
		now := r.now()
		for ; ; i++ {
			due := start + time.Duration(float64(i)*interval)
			if due > now {
				break
			}
			r.streams[i%len(r.streams)].sendAt(due, most)
			lags.lags = append(lags.lags, span{due, r.now()})
		}
		r.stats.add(&lags)
		clock.sleep(start + time.Duration(float64(i)*interval) - r.now())
	}
}

// sendAt sends a message that is due since a time, or gives it up.
func (s *stream) sendAt(due time.Duration, most int) {
	d := s.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if most > 0 && d.unanswered >= most {
		d.tally.givenUp++
		return
	}
	now := time.Now()
	d.now = now.Sub(d.run.begun)
	for i, other := range d.streams {
		if other == s {
			d.send(i, due)
		}
	}
	if d.live {
		d.conn.flush(now)
	}
	d.run.stats.add(&d.tally)
}
