package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/im-transfer/im"
)

// A transaction that is larger than the writer's cache goes into the log before its
// commit, is read from there, and may still be rolled back; what was committed is
// whole when the store is opened again.
func TestTransactionLargerThanTheCache(t *testing.T) {
	const events, bodyBytes = 100, 20 << 10
	dir := t.TempDir()
	s := openTest(t, dir, Options{CacheBytes: 64 << 10})
	large := func(conversation string) []im.Event {
		made := make([]im.Event, events)
		for i := range made {
			made[i] = testEvent(conversation, int64(i+1))
			made[i].Body = make([]byte, bodyBytes)
			for at := range made[i].Body {
				made[i].Body[at] = byte(i + at)
			}
		}
		return made
	}
	readBack := func(conversation string) func(*tx) error {
		return func(tx *tx) error {
			key, err := tx.conversationKey(conversation)
			if err != nil {
				return err
			}
			stored, err := s.appendEvents(nil, tx.conn, conversation, eventsAfter, key, int64(0), int64(events))
			checkLarge(t, stored, events, bodyBytes)
			return err
		}
	}
	twice := append(large("refused"), testEvent("refused", 1))
	errs := inOneGroup(s, insertRequest(large("a")...), readBack("a"), insertRequest(twice...), insertRequest(large("b")...))
	for i, refused := range []bool{false, false, true, false} {
		if (errs[i] != nil) != refused {
			t.Errorf("request %d: %v", i, errs[i])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	for _, conversation := range []string{"a", "b"} {
		stored, err := s.EventsAfter(context.Background(), conversation, 0, events+1)
		if err != nil {
			t.Fatal(err)
		}
		checkLarge(t, stored, events, bodyBytes)
	}
	if got := countTest(t, s, "refused"); got != 0 {
		t.Errorf("%d events of a refused request", got)
	}
	err := s.read(context.Background(), "check", func(c *conn) error {
		_, err := c.one("PRAGMA integrity_check", func(r row) {
			if r.text(0) != "ok" {
				t.Error(r.text(0))
			}
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkLarge(t *testing.T, stored []im.Event, events, bodyBytes int) {
	t.Helper()
	if len(stored) != events {
		t.Errorf("%d events, want %d", len(stored), events)
	}
	for i := range stored {
		if len(stored[i].Body) != bodyBytes {
			t.Fatalf("event %d has %d bytes", i, len(stored[i].Body))
		}
		for at, b := range stored[i].Body {
			if b != byte(i+at) {
				t.Fatalf("event %d differs at byte %d", i, at)
			}
		}
	}
}

// Few commits make the log's file longer, and what is in it when the machine goes
// down, with nothing but zeros behind, is found again.
func TestLogGrowsAhead(t *testing.T) {
	const commits, longer = 300, 8
	dir, copied := t.TempDir(), t.TempDir()
	s := openTest(t, dir, Options{})
	sizes := map[int64]bool{}
	for seq := int64(1); seq <= commits; seq++ {
		if err := s.InsertEvents(context.Background(), []im.Event{testEvent("a", seq)}, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "im.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		sizes[info.Size()] = true
	}
	if len(sizes) > longer {
		t.Errorf("the log had %d lengths in %d commits", len(sizes), commits)
	}
	for _, name := range []string{"im.db", "im.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := countTest(t, openTest(t, copied, Options{}), "a"); n != commits {
		t.Errorf("%d events of %d", n, commits)
	}
}
