package faults

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// cards returns a set of faults that do nothing: every kind at every part.
func cards(kinds, parts []string) Set {
	var set Set
	for _, part := range parts {
		for _, kind := range kinds {
			set = append(set, Fault{
				Kind: kind, Target: part, Parts: []string{part}, Least: time.Second, Most: 3 * time.Second,
				Do: func(context.Context) (func(context.Context) error, error) {
					return func(context.Context) error { return nil }, nil
				},
			})
		}
	}
	return set
}

var (
	kinds = []string{Kill, LongPause, Pause, Restart}
	parts = []string{"etcd", "http", "rabbitmq", "transfer"}
)

// first returns the first steps of a set's schedule.
func first(n int, set Set, seed uint64) []Step {
	var steps []Step
	for step := range set.Schedule(seed, 2*time.Second) {
		if steps = append(steps, step); len(steps) == n {
			break
		}
	}
	return steps
}

func plan(steps []Step) string {
	var lines []string
	for _, step := range steps {
		lines = append(lines, step.String())
	}
	return strings.Join(lines, "\n")
}

func TestASeedAlwaysMakesTheSameSchedule(t *testing.T) {
	set := cards(kinds, parts)
	one, other := plan(first(200, set, 7)), plan(first(200, set, 8))
	if again := plan(first(200, cards(kinds, parts), 7)); again != one {
		t.Errorf("two schedules of one seed:\n%s\n\n%s", one, again)
	}
	if one == other {
		t.Error("another seed makes the same schedule")
	}
	if steps := first(1, Set{}, 7); len(steps) != 0 {
		t.Errorf("nothing can be done, but %v is", steps)
	}
}

func TestEveryKindAndTargetHasItsTurn(t *testing.T) {
	counts := map[string]int{}
	for i, step := range first(160, cards(kinds, parts), 3) {
		counts[step.Kind]++
		counts[step.Kind+step.Target]++
		if step.Number != i+1 {
			t.Fatalf("step %d has the number %d", i+1, step.Number)
		}
		if step.Gap < time.Second || step.Gap > 3*time.Second || step.Hold < time.Second || step.Hold > 3*time.Second {
			t.Errorf("out of bounds: %s", step)
		}
	}
	for _, kind := range kinds {
		if counts[kind] != 40 {
			t.Errorf("%d times %s", counts[kind], kind)
		}
		for _, part := range parts {
			if counts[kind+part] != 10 {
				t.Errorf("%d times %s of %s", counts[kind+part], kind, part)
			}
		}
	}
}

// A step that needs not wait for those before it to be mended comes first.
func TestNeighboursSeldomClash(t *testing.T) {
	clashes, pairs := 0, 0
	steps := first(400, cards(kinds, append(parts, "mongo", "tcp", "websocket")), 5)
	for i := range steps {
		for j := i + 1; j < min(i+recently, len(steps)); j++ {
			pairs++
			if steps[j].clashes(steps[i].Parts) {
				clashes++
			}
		}
	}
	if clashes > pairs/20 { // without the choice a seventh
		t.Errorf("%d of %d neighbours clash", clashes, pairs)
	}
}

func TestOnlyTheKindsThatAreAskedFor(t *testing.T) {
	set := cards(kinds, parts)
	if all, err := set.Only(All); err != nil || len(all) != len(set) {
		t.Errorf("%d of %d, %v", len(all), len(set), err)
	}
	some, err := set.Only(Kill, Pause)
	if got := some.Kinds(); err != nil || !slices.Equal(got, []string{Kill, Pause}) || len(some) != 8 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := set.Only(Kill, "flood"); err == nil || !strings.Contains(err.Error(), `"flood"`) || !strings.Contains(err.Error(), Restart) {
		t.Errorf("what is not there was promised: %v", err)
	}
	if len(set) != len(kinds)*len(parts) {
		t.Error("the set itself was changed")
	}
}
