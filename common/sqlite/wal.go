package sqlite

import (
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// walVFS names the file system of the writer's connection. It is the default one,
// but for the log: SQLite writes every page of a commit with two calls, here they
// gather in memory and go out with one, at the latest before the log is synced.
// Nobody misses them meanwhile: other connections look at frames only after the
// commit has been published, which follows the sync, and whatever the writer itself
// asks of the log is asked after they are out.
const walVFS = "im"

// walBytes bounds what gathers: 30 pages and their headers, for the default file
// system writes less than 128 KiB at once. It is memory of SQLite's, one piece for
// each log.
const walBytes = 30 * (pageBytes + 24)

// The log grows by as much as it has, within these bounds, and not by what is
// written: a commit that makes the file longer waits for the file system's journal
// too, which takes longer than its own pages. Recovery ends at the first frame that is
// not valid, and zeros are none.
const (
	minGrowth = 256 << 10
	maxGrowth = 4 << 20
)

// walFile lies behind the default file system's own part of an open log. Its
// connection alone uses it.
type walFile struct {
	methods lib.Tsqlite3_io_methods  // what SQLite calls
	under   *lib.Tsqlite3_io_methods // the default file system's
	buffer  uintptr
	length  int32
	offset  int64 // in the log, of the buffer
	size    int64 // of the file
	synced  bool  // once, with its directory
}

// registerWAL makes walVFS known to SQLite, whose list of file systems is the
// process's.
var registerWAL = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	vfs := (*lib.Tsqlite3_vfs)(memory(libc.Xcalloc(tls, 1, lib.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))))
	*vfs = *defaultVFS(tls)
	name, err := libc.CString(walVFS)
	if err != nil {
		return err
	}
	vfs.FzName, vfs.FpNext, vfs.FxOpen = name, 0, function(walOpen)
	vfs.FszOsFile = walPlace(vfs.FszOsFile) + int32(unsafe.Sizeof(walFile{}))
	if code := lib.Xsqlite3_vfs_register(tls, address(vfs), 0); code != lib.SQLITE_OK {
		return fmt.Errorf("register the log's file system: code %d", code)
	}
	return nil
})

func defaultVFS(tls *libc.TLS) *lib.Tsqlite3_vfs {
	return (*lib.Tsqlite3_vfs)(memory(lib.Xsqlite3_vfs_find(tls, 0)))
}

// walPlace is where a walFile lies in a file that takes size bytes itself.
func walPlace(size int32) int32 { return (size + 7) &^ 7 }

func walOf(tls *libc.TLS, file uintptr) *walFile {
	return (*walFile)(memory(file + uintptr(walPlace(defaultVFS(tls).FszOsFile)))) //nolint:gosec // not negative
}

// walOpen opens a file as the default file system does, and puts itself in front of
// a log.
func walOpen(tls *libc.TLS, _, path, file uintptr, flags int32, outFlags uintptr) int32 {
	vfs := lib.Xsqlite3_vfs_find(tls, 0)
	open := call[func(_ *libc.TLS, _, _, _ uintptr, _ int32, _ uintptr) int32]((*lib.Tsqlite3_vfs)(memory(vfs)).FxOpen)
	code := open(tls, vfs, path, file, flags, outFlags)
	if code != lib.SQLITE_OK || flags&lib.SQLITE_OPEN_WAL == 0 {
		return code
	}
	opened, w := (*lib.Tsqlite3_file)(memory(file)), walOf(tls, file)
	*w = walFile{under: (*lib.Tsqlite3_io_methods)(memory(opened.FpMethods)), buffer: libc.Xmalloc(tls, walBytes)}
	if w.buffer == 0 {
		call[func(*libc.TLS, uintptr) int32](w.under.FxClose)(tls, file)
		opened.FpMethods = 0
		return lib.SQLITE_NOMEM
	}
	if code := w.measure(tls, file); code != lib.SQLITE_OK {
		walClose(tls, file)
		opened.FpMethods = 0
		return code
	}
	w.methods = *w.under
	w.methods.FxClose, w.methods.FxRead, w.methods.FxWrite = function(walClose), function(walRead), function(walWrite)
	w.methods.FxTruncate, w.methods.FxSync, w.methods.FxFileSize = function(walTruncate), function(walSync), function(walSize)
	opened.FpMethods = address(&w.methods)
	return code
}

// walWrite adds to what is gathered if it comes right behind it.
func walWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	w := walOf(tls, file)
	if w.length > 0 && (offset != w.offset+int64(w.length) || w.length+n > walBytes) {
		if code := w.flush(tls, file); code != lib.SQLITE_OK {
			return code
		}
	}
	if n > walBytes {
		return w.write(tls, file, data, n, offset)
	}
	if w.length == 0 {
		w.offset = offset
	}
	libc.Xmemcpy(tls, w.buffer+uintptr(w.length), data, lib.Tsize_t(n)) //nolint:gosec // not negative
	w.length += n
	return lib.SQLITE_OK
}

// flush writes what is gathered. What can not be written is dropped: SQLite then
// gives the transaction up, and the connection is closed.
func (w *walFile) flush(tls *libc.TLS, file uintptr) int32 {
	n := w.length
	if w.length = 0; n == 0 {
		return lib.SQLITE_OK
	}
	return w.write(tls, file, w.buffer, n, w.offset)
}

func (w *walFile) write(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	code := w.put(tls, file, data, n, offset)
	if code == lib.SQLITE_OK && w.size < offset+int64(n) {
		w.size = offset + int64(n)
		w.grow(tls, file)
	}
	return code
}

func (w *walFile) put(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	return call[func(_ *libc.TLS, _, _ uintptr, _ int32, _ int64) int32](w.under.FxWrite)(tls, file, data, n, offset)
}

// grow puts zeros behind the end, as many as there is room for: the commit does not
// need them.
func (w *walFile) grow(tls *libc.TLS, file uintptr) {
	zeros := libc.Xcalloc(tls, 1, walBytes)
	if zeros == 0 {
		return
	}
	defer libc.Xfree(tls, zeros)
	for end := w.size + min(max(w.size, minGrowth), maxGrowth); w.size < end; {
		n := int32(min(end-w.size, walBytes)) //nolint:gosec // below 128 KiB
		if w.put(tls, file, zeros, n, w.size) != lib.SQLITE_OK {
			return
		}
		w.size += int64(n)
	}
}

// measure asks how long the file is.
func (w *walFile) measure(tls *libc.TLS, file uintptr) int32 {
	room := tls.Alloc(8)
	defer tls.Free(8)
	code := call[func(_ *libc.TLS, _, _ uintptr) int32](w.under.FxFileSize)(tls, file, room)
	w.size = *(*int64)(memory(room))
	return code
}

func walSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	w := walOf(tls, file)
	if code := w.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	if w.synced {
		return w.syncData(tls, file, flags)
	}
	code := call[func(*libc.TLS, uintptr, int32) int32](w.under.FxSync)(tls, file, flags)
	w.synced = code == lib.SQLITE_OK
	return code
}

func walRead(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	w := walOf(tls, file)
	if code := w.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return call[func(_ *libc.TLS, _, _ uintptr, _ int32, _ int64) int32](w.under.FxRead)(tls, file, data, n, offset)
}

func walTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	w := walOf(tls, file)
	if code := w.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	code := call[func(*libc.TLS, uintptr, int64) int32](w.under.FxTruncate)(tls, file, size)
	if code == lib.SQLITE_OK {
		w.size = size
	}
	return code
}

func walSize(tls *libc.TLS, file, size uintptr) int32 {
	w := walOf(tls, file)
	if code := w.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return call[func(_ *libc.TLS, _, _ uintptr) int32](w.under.FxFileSize)(tls, file, size)
}

// walClose drops what is gathered: it belongs to no commit, for those are synced.
func walClose(tls *libc.TLS, file uintptr) int32 {
	w := walOf(tls, file)
	libc.Xfree(tls, w.buffer)
	w.buffer, w.length = 0, 0
	return call[func(*libc.TLS, uintptr) int32](w.under.FxClose)(tls, file)
}

// memory is a pointer to memory of SQLite's, which Go's collector does not know, and
// address the way back.
func memory(at uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&at)) } //nolint:gosec // SQLite's addresses are integers

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) } //nolint:gosec // as above

// function is the address by which the translated SQLite calls f, which must not be
// a closure, and call the way back.
func function[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) } //nolint:gosec // modernc.org's form of a C function

func call[F any](at uintptr) F { return *(*F)(unsafe.Pointer(&at)) } //nolint:gosec // as above
