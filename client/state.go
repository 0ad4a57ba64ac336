package client

import (
	"context"
	"slices"
	"sync"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Snapshot is all that a device must keep to go on after a restart.
type Snapshot struct {
	UserID     string
	Known      bool  // LastSeq is set; false on a new device
	LastSeq    int64 // entries up to it are handled
	InboxEpoch string
	Sends      []*imv1.Send // not yet answered, in the order sent; not to be changed
}

// State keeps a device's snapshot. The client calls Load once, and Save from one
// goroutine, never two at once. An application that writes entries into a
// database of its own can implement State there and so have each exactly once:
// Load then returns the seq that its last transaction stored.
type State interface {
	// Load returns what was saved last; the zero Snapshot when nothing was.
	Load(ctx context.Context) (Snapshot, error)
	// Save returns once the snapshot would survive a crash. After an error the
	// former one must still be there.
	Save(ctx context.Context, snapshot Snapshot) error
}

// MemoryState is a State that lives as long as the process. Its zero value is
// ready.
type MemoryState struct {
	mu       sync.Mutex
	snapshot Snapshot
}

// Load returns what was saved last.
func (m *MemoryState) Load(context.Context) (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	snapshot := m.snapshot
	snapshot.Sends = slices.Clone(m.snapshot.Sends)
	return snapshot, nil
}

// Save keeps the snapshot.
func (m *MemoryState) Save(_ context.Context, snapshot Snapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot = snapshot
	return nil
}
