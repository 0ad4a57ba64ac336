package workload

import (
	"maps"
	"sync/atomic"

	"github.com/im-transfer/im"
)

// counts are what a run's progress shows. The report's figures come from the history.
type counts struct {
	sent, acked, delivered atomic.Int64
}

// tally is what a device has done that its history does not tell.
type tally struct {
	attempts    int
	actions     map[action]int
	sessions    map[string]int // by transport and form
	disconnects map[string]int // against its will, by reason
	refused     map[im.Code]int
}

func newTally() *tally {
	return &tally{actions: map[action]int{}, sessions: map[string]int{}, disconnects: map[string]int{}, refused: map[im.Code]int{}}
}

func (t *tally) add(other *tally) {
	t.attempts += other.attempts
	addAll(t.actions, other.actions)
	addAll(t.sessions, other.sessions)
	addAll(t.disconnects, other.disconnects)
	addAll(t.refused, other.refused)
}

func addAll[K comparable](to, from map[K]int) {
	for key, n := range maps.All(from) {
		to[key] += n
	}
}
