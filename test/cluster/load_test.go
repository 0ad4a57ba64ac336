package cluster

import (
	"bytes"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/bench"
)

// load is `im bench rate` in the background: pairs of users, one on each transport,
// spread over the servers by the gateway API, messages at fixed times whatever
// becomes of them. So the longest that one took tells how long the cluster was not
// there for somebody.
type load struct {
	t       *testing.T
	c       *cluster
	seconds chan bench.Second // the newest one
	until   chan struct{}
	done    chan struct{}
	report  *bench.Report // once done
	err     error
	fault   time.Time
	outage  time.Duration // in which something was away that nothing can replace
}

// messages is the rate of the load, per second.
const messages = 50

// underLoad puts load on and returns when messages flow.
func (c *cluster) underLoad(t *testing.T) *load {
	t.Helper()
	return c.underLoadOf(t, bench.Rate)
}

// underLoadOf is underLoad of another shape.
func (c *cluster) underLoadOf(t *testing.T, mode bench.Mode) *load {
	t.Helper()
	l := &load{t: t, c: c, seconds: make(chan bench.Second, 1), until: make(chan struct{}), done: make(chan struct{})}
	config := bench.Config{
		Mode: mode, Rate: messages, Server: c.webs(), ServiceKey: c.ServiceKey, Transport: bench.Mixed, Pairs: 15, Devices: 2,
		Members: 30, Senders: 15, Warmup: time.Second, Duration: 10 * time.Minute, Settle: patience, Until: l.until,
	}
	progress := bench.Progress{Second: func(s bench.Second) {
		select {
		case <-l.seconds:
		default:
		}
		l.seconds <- s // nobody else sends
	}}
	go func() {
		defer close(l.done)
		l.report, l.err = bench.Run(t.Context(), config, progress)
	}()
	l.fault = time.Now()
	l.untilFlowing()
	return l
}

// webs returns the http servers, as bench takes them.
func (c *cluster) webs() string {
	var list string
	for _, server := range c.Role("http") {
		list += "," + server.URL()
	}
	return list[1:]
}

// strikes does a fault.
func (l *load) strikes(fault func() error) {
	l.t.Helper()
	l.fault = time.Now()
	if err := fault(); err != nil {
		l.t.Fatal(err)
	}
}

// strikesFor does a fault that nothing can make up for, such as the only broker's
// end, and undoes it when so much time has passed. That time is taken off when it
// is judged how long the cluster needed to recover.
func (l *load) strikesFor(atLeast time.Duration, fault, undo func() error) {
	l.t.Helper()
	l.strikes(fault)
	l.lasts(atLeast)
	if err := undo(); err != nil {
		l.t.Fatal(err)
	}
	l.outage = time.Since(l.fault)
}

// lasts lets the load go on for a time: the time that a fault lasts is part of it.
func (l *load) lasts(d time.Duration) {
	l.t.Helper()
	select {
	case <-time.After(d):
	case <-l.done:
		l.t.Fatalf("the load has ended: %v", l.err)
	}
}

// untilFlowing waits until messages are answered as fast as they are sent, and
// nothing of what waited is left.
func (l *load) untilFlowing() {
	l.t.Helper()
	late := time.After(patience + l.outage)
	var last bench.Second
	for {
		select {
		case last = <-l.seconds:
			if !last.Warmup && last.Acked >= messages/2 && last.Unanswered < messages/2 && time.Since(l.fault) > time.Second {
				return
			}
		case <-l.done:
			l.t.Fatalf("the load has ended: %v", l.err)
		case <-late:
			l.t.Fatalf("messages do not flow: %s", last)
		}
	}
}

// recovers waits until messages flow again, and says after how long.
func (l *load) recovers() {
	l.t.Helper()
	l.untilFlowing()
	l.t.Logf("messages flow again %.1f s after the fault", time.Since(l.fault).Seconds())
}

// isJudged ends the load and has it judged: nothing may be lost, doubled or out of
// order, and nobody may have waited for longer than a recovery takes.
func (l *load) isJudged() {
	l.t.Helper()
	close(l.until)
	select {
	case <-l.done:
	case <-time.After(2 * patience):
		l.t.Fatal("the load does not end")
	}
	if l.err != nil {
		l.t.Errorf("the load was cut short: %v", l.err)
	}
	if l.report == nil {
		l.t.FailNow()
	}
	var text bytes.Buffer
	l.report.Verdict.WriteText(&text) //nolint:errcheck // a buffer
	if v := &l.report.Verdict; !v.OK() || v.Acknowledged == 0 || v.Acknowledged != v.Sent {
		l.t.Errorf("%s\n%v refused", text.String(), l.report.Whole.Refused)
	}
	longest := time.Duration(l.report.Delivery.Max * float64(time.Millisecond))
	l.t.Logf("%s: recovered in %.1f s (the longest of %d messages took %.1f s, of an outage of %.1f s; %d refused for now, %d reconnects)",
		l.t.Name(), (longest - l.outage).Seconds(), l.report.Verdict.Acknowledged, longest.Seconds(), l.outage.Seconds(),
		l.report.Whole.Refused[im.Unavailable], reconnects(l.report))
	if longest-l.outage > recovery {
		l.t.Errorf("it took %s to recover, allowed are %s", longest-l.outage, recovery)
	}
}

func reconnects(r *bench.Report) (n int) {
	for _, count := range r.Reconnects {
		n += count
	}
	return n
}
