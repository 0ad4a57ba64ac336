package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/im-transfer/im"
)

// dirtyPages is how many pages of a file have not reached the disk; it asks the kernel
// (cachestat, since 6.5).
func dirtyPages(t *testing.T, name string) uint64 {
	t.Helper()
	const cachestat = 451
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var whole struct{ off, len uint64 }
	var found struct{ cached, dirty, writeback, evicted, recent uint64 }
	_, _, errno := syscall.Syscall6(cachestat, file.Fd(), uintptr(unsafe.Pointer(&whole)), uintptr(unsafe.Pointer(&found)), 0, 0, 0)
	if errors.Is(errno, syscall.ENOSYS) || errors.Is(errno, syscall.EPERM) || errors.Is(errno, syscall.EOPNOTSUPP) {
		t.Skip("the kernel does not say")
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	return found.dirty + found.writeback
}

// When a commit has returned nothing of the log is left in memory alone: what a kill -9
// can not show.
func TestACommitIsOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	probe := filepath.Join(dir, "probe")
	if err := os.WriteFile(probe, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if dirtyPages(t, probe) == 0 {
		t.Skip("this file system has no pages that are dirty")
	}
	s := openTest(t, dir, Options{})
	for seq := int64(1); seq <= 50; seq++ {
		if err := s.InsertEvents(context.Background(), []im.Event{testEvent("a", seq)}, nil); err != nil {
			t.Fatal(err)
		}
		if n := dirtyPages(t, filepath.Join(dir, "im.db-wal")); n > 0 {
			t.Fatalf("%d pages of the log are not on the disk after commit %d", n, seq)
		}
	}
}
