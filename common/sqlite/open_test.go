package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func openTest(t *testing.T, dir string, options Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with space?", "and % sign")
	first := openTest(t, dir, Options{})
	_, err := Open(context.Background(), dir, Options{})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("second open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := openTest(t, dir, Options{})
	if second.info != first.info {
		t.Fatalf("info %+v, was %+v", second.info, first.info)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	err := s.write(context.Background(), "test", func(tx *tx) error { return tx.exec("UPDATE store SET format = 2") })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("open: %v", err)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.InsertTerm(context.Background(), im.Term{}); err == nil {
		t.Error("write after close")
	}
	if _, err := s.Heads(context.Background(), []string{"u"}); err == nil {
		t.Error("read after close")
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir, Options{})
	for _, name := range []string{"im.db", "im.db-wal", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// What a start asks for must not grow with the tables.
func TestDueReceiptsReadPartialIndexes(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	for query, index := range map[string]string{dueMarks: "reads_due", dueCursors: "cursors_due", selectPlaces: "members_of_user"} {
		var plan []string
		err := s.read(context.Background(), "explain", func(c *conn) error {
			var args []any
			if query == selectPlaces {
				args = append(args, int64(1))
			}
			return c.each("EXPLAIN QUERY PLAN "+query, func(r row) bool {
				plan = append(plan, r.text(3))
				return true
			}, args...)
		})
		if err != nil || !strings.Contains(plan[0], index) {
			t.Errorf("%v, plan of %s: %s", err, query, strings.Join(plan, "; "))
		}
		for _, step := range plan[1:] {
			if strings.HasPrefix(step, "SCAN") {
				t.Errorf("plan of %s: %s", query, strings.Join(plan, "; "))
			}
		}
	}
}
