package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/check/faults"
	"github.com/im-transfer/im/check/workload"
	"github.com/im-transfer/im/deploy/local"
)

// faultOptions say what a check does to the system that it starts.
type faultOptions struct {
	kinds []string // none: nothing
	every time.Duration
	lanes int
	plan  bool
}

func faultFlags(command *cobra.Command, options *faultOptions) {
	flags := command.Flags()
	flags.StringSliceVar(&options.kinds, "faults", nil, "with --local: do these `kinds` of faults to it, with commas between, or all")
	flags.DurationVar(&options.every, "faults-every", 3*time.Second, "mean time from one fault to the next")
	flags.IntVar(&options.lanes, "fault-lanes", 2, "so many faults at once, never two on servers of one role or on one engine")
	flags.BoolVar(&options.plan, "plan", false, "show the faults of the run and make none")
}

func (o *faultOptions) validate(local string) error {
	switch {
	case len(o.kinds) > 0 && local == "":
		return errors.New("--faults needs --local: a system that the check has started")
	case o.plan && len(o.kinds) == 0:
		return errors.New("--plan needs --faults")
	case o.every <= 0:
		return errors.New("--faults-every is not above zero")
	case o.lanes < 1:
		return errors.New("--fault-lanes is less than one")
	}
	return nil
}

// diskSize is the disk in memory for the data of an embedded server that is to be
// without room at times. It takes as much memory as is on it.
const diskSize = 1 << 30

// disk returns the size of such a disk, 0 where none is needed or can be made.
func (o *faultOptions) disk(log io.Writer) int64 {
	if !slices.Contains(o.kinds, faults.FullDisk) && !slices.Contains(o.kinds, faults.All) {
		return 0
	}
	if err := local.CanMakeDisk(); err != nil {
		fmt.Fprintf(log, "%s can not be done here: %v\n", faults.FullDisk, err)
		return 0
	}
	return diskSize
}

// injector returns what does a run's faults; nil where none are asked for.
func (o *faultOptions) injector(set faults.Set, seed uint64) workload.Injector {
	if len(o.kinds) == 0 {
		return nil
	}
	return faults.Injector(set.Schedule(seed, o.every), o.lanes)
}

// writePlan writes the faults that fit into a run if none waits for another.
func (o *faultOptions) writePlan(w io.Writer, set faults.Set, seed uint64, duration time.Duration) error {
	if _, err := fmt.Fprintf(w, "seed %d\n", seed); err != nil {
		return err
	}
	var begins time.Duration
	for step := range set.Schedule(seed, o.every) {
		if begins += step.Gap; begins >= duration {
			break
		}
		if _, err := fmt.Fprintln(w, step); err != nil {
			return err
		}
	}
	return nil
}
