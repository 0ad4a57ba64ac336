package workload

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/im-transfer/im/check"
)

// harm sums up the faults of one name.
type harm struct {
	Name     string
	Count    int
	Away     spread // from done to mended
	Recovery spread // of those that were recovered from
	Missing  int    // those that were not before the load ended
}

// spread is a distribution of times.
type spread struct{ P50, Max time.Duration }

func byKind(f *check.Fault) string   { return f.Kind }
func byTarget(f *check.Fault) string { return f.Kind + " " + f.Target }

// harm sums up the faults by their names, in their order.
func (r *Report) harm(name func(*check.Fault) string) []harm {
	away, recovery := map[string][]time.Duration{}, map[string][]time.Duration{}
	for i := range r.Faults {
		f := &r.Faults[i]
		away[name(f)] = append(away[name(f)], f.Until-f.At)
		if f.Recovery != nil {
			recovery[name(f)] = append(recovery[name(f)], *f.Recovery)
		}
	}
	var all []harm
	for of, times := range away {
		all = append(all, harm{
			Name: of, Count: len(times), Away: spreadOf(times), Recovery: spreadOf(recovery[of]), Missing: len(times) - len(recovery[of]),
		})
	}
	slices.SortFunc(all, func(a, b harm) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func spreadOf(times []time.Duration) spread {
	if len(times) == 0 {
		return spread{}
	}
	slices.Sort(times)
	const shown = 10 * time.Millisecond
	return spread{times[len(times)/2].Round(shown), times[len(times)-1].Round(shown)}
}

// Back says how long it took until the rates were back.
func (h harm) Back() string {
	if h.Missing == h.Count {
		return "not recovered before the load ended"
	}
	text := fmt.Sprintf("recovered in %s, at most %s", h.Recovery.P50, h.Recovery.Max)
	if h.Missing > 0 {
		text += fmt.Sprintf("; %d not before the load ended", h.Missing)
	}
	return text
}
