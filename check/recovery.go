package check

import "time"

// Fault is something that was done to the system during a run.
type Fault struct {
	Kind   string        `json:"kind"`   // such as "kill -9"
	Target string        `json:"target"` // such as "transfer-1"
	At     time.Duration `json:"at_ns"`  // since the start of the run
	Until  time.Duration `json:"until_ns"`
	// Recovery is how long after Until acks and deliveries were back at 90 % of the
	// rates that they had before At, whatever else was done to the system meanwhile;
	// nil where they were not before the load ended.
	Recovery *time.Duration `json:"recovery_ns"`
}

// How a recovery is measured.
const (
	rateBefore = 5 * time.Second // the rate before a fault is that of this time
	rateAfter  = time.Second     // and it is back when it was so for this long
	recovered  = 0.9
)

// Recoveries finds the recovery of each fault; they are in the order of their times,
// and may overlap. The load began and ended at the times given. Where there was no
// second before a fault in which all others were over and recovered from, it is
// compared with the rates of the whole load.
func (t *Timeline) Recoveries(faults []Fault, begin, end time.Duration) {
	healthy := begin // since when
	for i := range faults {
		f := &faults[i]
		from, to := max(healthy, f.At-rateBefore), f.At
		if to-from < rateAfter {
			from, to = begin, end
		}
		f.Recovery = t.recovery(recovered*rate(t.acked, from, to), recovered*rate(t.delivered, from, to), f.Until, end)
		if f.Recovery != nil {
			healthy = max(healthy, f.Until+*f.Recovery)
		} else {
			healthy = end
		}
	}
}

// recovery returns how long after a fault's end both rates were at least so high.
func (t *Timeline) recovery(acked, delivered float64, until, end time.Duration) *time.Duration {
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
