package faults

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/im-transfer/im/check/workload"
)

// Injector does the steps of a schedule in their order, at most so many at a time as
// there are lanes. A step waits for its gap, for a lane, and for its parts; those
// after it wait with it. What can not be done or mended ends the run.
func Injector(steps iter.Seq[Step], lanes int) workload.Injector {
	lanes = max(1, lanes)
	return func(ctx context.Context, over <-chan struct{}, marks chan<- workload.Mark) error {
		ctx, giveUp := context.WithCancel(ctx)
		defer giveUp()
		next, stop := iter.Pull(steps)
		defer stop()
		i := &injection{over: over, marks: marks, lanes: lanes, ended: make(chan outcome, lanes)}
		err := i.begin(ctx, next)
		if err != nil {
			giveUp()
		}
		for len(i.running) > 0 {
			if other := i.collect(<-i.ended); err == nil {
				err = other
			}
		}
		return err
	}
}

// injection is a schedule that is being done. It belongs to one goroutine; each fault
// that lasts has another.
type injection struct {
	over    <-chan struct{} // closed when the load ends
	marks   chan<- workload.Mark
	lanes   int
	running []Step
	ended   chan outcome // has room for all lanes
}

// outcome is how a step ended.
type outcome struct {
	step Step
	err  error
}

// begin begins one step after the other until the load is over, the run is given up
// or a step fails.
func (i *injection) begin(ctx context.Context, next func() (Step, bool)) error {
	gap := time.NewTimer(0)
	defer gap.Stop()
	last := time.Now()
	for step, more := next(); more; step, more = next() {
		gap.Reset(time.Until(last.Add(step.Gap)))
		for due := false; !due || !i.free(&step); {
			select {
			case <-gap.C:
				due = true
			case end := <-i.ended:
				if err := i.collect(end); err != nil {
					return err
				}
			case <-i.over:
				return nil
			case <-ctx.Done():
				return nil // the run tells why
			}
		}
		last = time.Now()
		i.running = append(i.running, step)
		go func() { i.ended <- outcome{step, i.do(ctx, &step)} }() // collected before the injector returns
	}
	return nil
}

// free reports whether there is a lane for a step, and nothing else holds its parts.
func (i *injection) free(step *Step) bool {
	return len(i.running) < i.lanes &&
		!slices.ContainsFunc(i.running, func(other Step) bool { return step.clashes(other.Parts) })
}

// collect takes a step that has ended out of those that run.
func (i *injection) collect(end outcome) error {
	i.running = slices.DeleteFunc(i.running, func(s Step) bool { return s.Number == end.step.Number })
	return end.err
}

// do does a step's fault, and mends it when its time is over, or at once when the
// load is.
func (i *injection) do(ctx context.Context, step *Step) error {
	mark := workload.Mark{At: time.Now(), Kind: step.Kind, Target: step.Target}
	mend, err := step.Do(ctx)
	if err != nil {
		return fmt.Errorf("fault %d, %s of %s: %w", step.Number, step.Kind, step.Target, err)
	}
	hold := time.NewTimer(step.Hold)
	defer hold.Stop()
	select {
	case <-hold.C:
	case <-i.over:
	case <-ctx.Done():
	}
	if err := mend(ctx); err != nil {
		return fmt.Errorf("mend fault %d, %s of %s: %w", step.Number, step.Kind, step.Target, err)
	}
	mark.Until = time.Now()
	i.marks <- mark
	return nil
}
