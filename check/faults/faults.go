// Package faults harms a local system on a schedule that a seed makes, so that the
// same seed does the same things in the same order to the same parts for the same
// times. What the system makes of them, and so when each begins, differs.
//
// A Fault is one way to harm one part: what it does, and what mends it. A Set is all
// ways that there are: Cluster and Embedded make those of a system that runs, and
// another kind is one more Fault in a file of its own. Set.Schedule deals them out,
// and Injector does them while a workload runs.
package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is one way to harm one part of a system.
type Fault struct {
	Kind   string // such as "kill"; by it faults are chosen and counted
	Target string // such as "transfer-1"
	// Parts are what is away, or not itself, while the fault lasts. Of two faults that
	// share one the second waits until the first is mended: the servers of a role are
	// one part, so that one of them always stays.
	Parts []string
	// Least and Most bound how long it lasts before it is mended. Short times are more
	// frequent than long ones.
	Least, Most time.Duration
	// Do harms the target and returns what mends it, which is called once. After an
	// error nothing is harmed. Both wait until the thing is done; an error of either
	// means that the run says nothing. When ctx ends the run has been given up.
	Do func(ctx context.Context) (mend func(ctx context.Context) error, err error)
}

// Set is the ways there are to harm a system.
type Set []Fault

// Kinds returns the kinds of fault in the set, by name.
func (s Set) Kinds() []string {
	var kinds []string
	for _, fault := range s {
		kinds = append(kinds, fault.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// All is the name that stands for every kind.
const All = "all"

// Only returns the faults of the kinds named. A kind that the set does not have is
// an error: who asks for it would believe that it was done.
func (s Set) Only(kinds ...string) (Set, error) {
	if slices.Contains(kinds, All) {
		return s, nil
	}
	has := s.Kinds()
	for _, kind := range kinds {
		if !slices.Contains(has, kind) {
			return nil, fmt.Errorf("no fault %q can be done here, only %s", kind, strings.Join(has, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(s), func(f Fault) bool { return !slices.Contains(kinds, f.Kind) }), nil
}
