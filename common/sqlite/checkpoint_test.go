package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/im-transfer/im"
)

// The log stays bounded while writers and readers never rest.
func TestLogStaysBounded(t *testing.T) {
	const bound = 1 << 20
	dir := t.TempDir()
	s := openTest(t, dir, Options{CheckpointBytes: bound})
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	readers.Go(func() { // one, for it would starve the writer of a processor
		for ctx.Err() == nil {
			if _, err := s.EventsAfter(context.Background(), "a", 0, 200); err != nil {
				t.Error(err)
			}
		}
	})
	written := 0
	for seq := int64(1); written < 16*bound; seq++ {
		e := testEvent("a", seq)
		e.Body = make([]byte, 8<<10)
		written += len(e.Body)
		if err := s.InsertEvents(context.Background(), []im.Event{e}, nil); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	readers.Wait()
	info, err := os.Stat(filepath.Join(dir, "im.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 6*bound {
		t.Errorf("the log has %d bytes, the checkpoint is at %d", info.Size(), bound)
	}
}
