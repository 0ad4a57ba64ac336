package bench

import (
	"context"

	"time"
)

// shape is what makes a mode: who there is, who writes to whom, and when. A new mode
// is a new shape and a line in shapeOf.
type shape interface {
	users(config *Config) int
	// layout adds the streams once users and devices are there.
	layout(ctx context.Context, r *run) error
	// drive connects and puts the load on, until it is over.
	drive(ctx context.Context, r *run, progress Progress) error
}

func shapeOf(config Config) shape {
	switch config.Mode {
	case Rate:
		return rateShape{}
	case Idle:
		return idleShape{}
	case Login:
		return loginShape{}
	case CatchUp:
		return catchUpShape{}
	case Storm:
		return stormShape{}
	case Overload:
		return overloadShape{}
	case Groups:
		return groupShape{}
	case Rooms:
		return roomShape{}
	}
	return pairShape{}
}

// pairShape is Pairs and Single: in every pair one writes to the other as fast as
// its window lets it.
type pairShape struct{}

func (pairShape) users(config *Config) int { return 2 * config.Pairs }

func (pairShape) layout(_ context.Context, r *run) error {
	for i := 0; i+1 < len(r.users); i += 2 {
		if err := r.stream(r.users[i].devices[0], r.users[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (pairShape) drive(ctx context.Context, r *run, progress Progress) error {
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	progress.step("%d senders, window %d, for %s after %s of warm-up", len(r.streams), r.config.Window, r.config.Duration, r.config.Warmup)
	if r.config.Messages > 0 {
		r.enough = r.config.Messages * len(r.streams)
		for _, s := range r.streams {
			s.left = r.config.Messages
		}
	}
	r.sending.Store(true)
	err := r.measured(ctx, r.kick)
	r.sending.Store(false)
	return err
}

// kick fills the windows of closed loops for the first time.
func (r *run) kick() {
	for _, s := range r.streams {
		d := s.device
		d.mu.Lock()
		if d.live {
			now := time.Now()
			d.now = now.Sub(r.begun)
			d.refill()
			d.conn.flush(now)
			r.stats.add(&d.tally)
		}
		d.mu.Unlock()
	}
}

// measured begins a load, waits for the end of the warm-up and of the measured
// time, and takes the marks between which figures count.
func (r *run) measured(ctx context.Context, begin func()) error {
	from := r.now() + r.config.Warmup
	to := from + r.config.Duration
	r.stats.measure(from, to)
	begin()
	for _, at := range []time.Duration{from, to} {
		if err := r.until(ctx, at); err != nil {
			return err
		}
		r.marks = append(r.marks, r.mark())
	}
	return nil
}

// until waits until a time since the start of the run, or until there have been
// messages enough, or whoever wanted the run has had enough.
func (r *run) until(ctx context.Context, at time.Duration) error {
	timed, cancel := context.WithTimeout(ctx, at-r.now())
	defer cancel()
	if r.enough > 0 {
		await(timed, func() bool { return r.answered(r.enough) })
	} else {
		select {
		case <-timed.Done():
		case <-r.config.Until:
		}
	}
	return context.Cause(ctx)
}

// answered reports whether so many messages have been sent and all have had a final
// answer.
func (r *run) answered(sent int) bool {
	totals := r.stats.totals()
	return totals.Sent >= sent && totals.open() == 0
}

// mark is the state of the counters at a moment.
type mark struct {
	at     time.Duration
	counts Counts
	own    time.Duration // CPU of the generator
	server time.Duration // CPU of the server, 0 = not known
}

func (r *run) mark() mark {
	return mark{at: r.now(), counts: r.stats.totals(), own: ownCPU(), server: r.server.cpu()}
}

// idleShape connects and does nothing but keep the connections alive.
type idleShape struct{}

func (idleShape) users(config *Config) int {
	return (config.Connect + config.Devices - 1) / config.Devices
}

func (idleShape) layout(context.Context, *run) error { return nil }

func (idleShape) drive(ctx context.Context, r *run, progress Progress) error {
	before := r.server.memory(ctx)
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	progress.step("%d connections idle for %s", len(r.devices), r.config.Warmup+r.config.Duration)
	err := r.measured(ctx, func() {})
	r.idle = newIdleResult(before, r.server.memory(ctx), len(r.devices))
	return err
}

// loginShape connects everybody at once, as often as the config says.
type loginShape struct{ idleShape }

func (loginShape) drive(ctx context.Context, r *run, progress Progress) error {
	r.stats.measure(0, 1<<62)
	r.marks = append(r.marks, r.mark())
	for round := range r.config.Rounds {
		began := r.now()
		if err := r.connect(ctx, r.devices); err != nil {
			return err
		}
		took := r.now() - began
		progress.step("round %d: %d logins in %s, %.0f/s", round+1, len(r.devices), took.Round(time.Millisecond), float64(len(r.devices))/took.Seconds())
		r.loginTime += took
		if round+1 < r.config.Rounds {
			r.leave(r.devices)
		}
	}
	r.marks = append(r.marks, r.mark())
	return nil
}

func (r *run) leave(devices []*device) {
	for _, d := range devices {
		d.hangUp()
	}
	for _, d := range devices {
		d.leave()
	}
}

// catchUpShape writes to users who are away; then they come back.
type catchUpShape struct{ pairShape }

// catchUp is how one device came back.
type catchUp struct {
	messages int
	took     time.Duration // from the beginning of the connection to the last message
}

func (catchUpShape) drive(ctx context.Context, r *run, progress Progress) error {
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	r.stats.measure(0, 1<<62)
	r.marks = append(r.marks, r.mark())
	for round := range r.config.Rounds {
		if err := r.catchUp(ctx, round, progress); err != nil {
			return err
		}
	}
	r.marks = append(r.marks, r.mark())
	return nil
}

// catchUp is one round: the receivers go, are written to, and come back one after
// the other.
func (r *run) catchUp(ctx context.Context, round int, progress Progress) error {
	away := r.receivers()
	r.leave(away)
	progress.step("round %d: %d messages to each of %d users who are away", round+1, r.config.Messages, len(r.streams))
	for _, s := range r.streams {
		s.left = r.config.Messages
	}
	r.sending.Store(true)
	r.kick()
	await(ctx, func() bool { return r.answered((round + 1) * r.config.Messages * len(r.streams)) })
	r.sending.Store(false)
	for _, d := range away {
		if err := r.comeBack(ctx, d, progress); err != nil {
			return err
		}
	}
	return nil
}

// comeBack connects one device and waits until it has what it missed. What has not
// come in the time to settle is the judge's.
func (r *run) comeBack(ctx context.Context, d *device, progress Progress) error {
	reached, began := d.awaits(r.config.Messages), r.now()
	if err := d.connect(ctx); err != nil {
		return err
	}
	late := time.NewTimer(r.config.Settle)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		progress.step("%s did not catch up in %s", d.user.name, r.config.Settle)
		return nil
	case <-reached:
	}
	took := r.now() - began
	r.samples = append(r.samples, catchUp{r.config.Messages, took})
	progress.step("%s caught up %d messages in %s", d.user.name, r.config.Messages, took.Round(10*time.Microsecond))
	return nil
}

func (r *run) receivers() []*device {
	var receivers []*device
	for i := 1; i < len(r.users); i += 2 {
		receivers = append(receivers, r.users[i].devices...)
	}
	return receivers
}
