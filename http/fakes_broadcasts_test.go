package http

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/im-transfer/im"
)

// memoryBroadcasts keeps broadcasts and terms as a store does.
type memoryBroadcasts struct {
	mu         sync.Mutex
	broadcasts map[string]im.Broadcast
	terms      map[string][]im.Term // by partition, ascending
	users      []string             // ascending
	errs       []error              // of the next calls that change something; nil = none
}

func newMemoryBroadcasts() *memoryBroadcasts {
	return &memoryBroadcasts{broadcasts: map[string]im.Broadcast{}, terms: map[string][]im.Term{}}
}

// next is the error that the next change is to have, where there is one.
func (m *memoryBroadcasts) next() error {
	if len(m.errs) == 0 {
		return nil
	}
	err := m.errs[0]
	m.errs = m.errs[1:]
	return err
}

func (m *memoryBroadcasts) InsertBroadcast(_ context.Context, b im.Broadcast) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, is := m.broadcasts[b.ID]; is {
		return im.ErrDuplicate
	}
	m.broadcasts[b.ID] = b
	return m.next()
}

func (m *memoryBroadcasts) Broadcast(_ context.Context, id string) (im.Broadcast, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, is := m.broadcasts[id]
	if !is {
		return b, im.ErrNotFound
	}
	return b, nil
}

func (m *memoryBroadcasts) RunningBroadcasts(context.Context) ([]im.Broadcast, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var running []im.Broadcast
	for _, b := range m.broadcasts {
		if b.State == im.BroadcastRunning {
			b.Content, b.UserIDs = nil, nil
			running = append(running, b)
		}
	}
	return running, nil
}

func (m *memoryBroadcasts) LatestBroadcasts(_ context.Context, from im.BroadcastCursor, limit int) ([]im.Broadcast, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	newest := func(a, b im.Broadcast) int {
		return cmp.Or(cmp.Compare(b.CreatedAtMs, a.CreatedAtMs), cmp.Compare(b.ID, a.ID))
	}
	all := slices.SortedFunc(maps.Values(m.broadcasts), newest)
	if from != (im.BroadcastCursor{}) {
		all = slices.DeleteFunc(all, func(b im.Broadcast) bool {
			return newest(b, im.Broadcast{ID: from.ID, CreatedAtMs: from.CreatedAtMs}) <= 0
		})
	}
	return all[:min(limit, len(all))], nil
}

func (m *memoryBroadcasts) RaiseBroadcast(_ context.Context, id string, p im.BroadcastProgress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.next(); err != nil {
		return err
	}
	b := m.broadcasts[id]
	b.State, b.Cursor = max(b.State, p.State), max(b.Cursor, p.Cursor)
	b.Sent, b.Refused = max(b.Sent, p.Sent), max(b.Refused, p.Refused)
	m.broadcasts[id] = b
	return nil
}

func (m *memoryBroadcasts) UsersAfter(_ context.Context, after string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, is := slices.BinarySearch(m.users, after)
	if is {
		from++
	}
	return m.users[from:min(len(m.users), from+limit)], nil
}

func (m *memoryBroadcasts) LastTerm(_ context.Context, partition string) (im.Term, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	terms := m.terms[partition]
	if len(terms) == 0 {
		return im.Term{}, im.ErrNotFound
	}
	return terms[len(terms)-1], nil
}

func (m *memoryBroadcasts) InsertTerm(_ context.Context, term im.Term) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.terms[term.Partition] {
		if other.Term == term.Term {
			return im.ErrDuplicate
		}
	}
	m.terms[term.Partition] = append(m.terms[term.Partition], term)
	return nil
}
