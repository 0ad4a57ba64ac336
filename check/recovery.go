package check

import "time"

// Fault is something that was done to the system during a run.
type Fault struct {
	Kind   string        `json:"kind"`   // such as "kill -9"
	Target string        `json:"target"` // such as "transfer-1"
	At     time.Duration `json:"at_ns"`  // since the start of the run
	Until  time.Duration `json:"until_ns"`
	// Recovery is how long after Until acks and deliveries were back at 90 % of the
	// rates that they had before At; nil where they were not before the load ended.
	Recovery *time.Duration `json:"recovery_ns"`
}

// How a recovery is measured.
const (
	rateBefore = 5 * time.Second // the rate before a fault is that of this time
	rateAfter  = time.Second     // and it is back when it was so for this long
	recovered  = 0.9
)

// Recoveries finds the recovery of each fault; they are in the order of their times.
// The load ended at the time given. The time before a fault leaves out the one before
// it, if it can.
func (t *Timeline) Recoveries(faults []Fault, end time.Duration) {
	var healthy time.Duration // since when
	for i := range faults {
		f := &faults[i]
		from := max(0, f.At-rateBefore)
		if healthy > from && f.At-healthy >= rateAfter {
			from = healthy
		}
		f.Recovery = t.recovery(from, f.At, f.Until, end)
		healthy = f.Until
		if f.Recovery != nil {
			healthy += *f.Recovery
		}
	}
}

// recovery returns how long after a fault's end both rates were what they had been
// between two times.
func (t *Timeline) recovery(from, at, until, end time.Duration) *time.Duration {
	acked, delivered := recovered*rate(t.acked, from, at), recovered*rate(t.delivered, from, at)
	for now := until; now+rateAfter <= end; now += tenth {
		if rate(t.acked, now, now+rateAfter) >= acked && rate(t.delivered, now, now+rateAfter) >= delivered {
			took := now - until
			return &took
		}
	}
	return nil
}

// rate returns the events per second between two times, to a tenth of a second.
func rate(tenths []int, from, to time.Duration) float64 {
	first, last := int(from/tenth), int(to/tenth)
	if last <= first {
		return 0
	}
	sum := 0
	for i := first; i < min(last, len(tenths)); i++ {
		sum += tenths[i]
	}
	return float64(sum) / (time.Duration(last-first) * tenth).Seconds()
}
