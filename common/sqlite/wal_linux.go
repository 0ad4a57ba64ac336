package sqlite

import (
	"errors"
	"syscall"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// syncData syncs the log without what does not matter of its inode, the time above
// all, which would be a transaction of the file system's own. SQLite does so wherever
// it is built to know that there is fdatasync; ours was not.
func (w *walFile) syncData(_ *libc.TLS, file uintptr, _ int32) int32 {
	fd := int((*lib.TunixFile)(memory(file)).Fh)
	for {
		err := syscall.Fdatasync(fd)
		switch {
		case err == nil:
			return lib.SQLITE_OK
		case !errors.Is(err, syscall.EINTR):
			return lib.SQLITE_IOERR_FSYNC
		}
	}
}
