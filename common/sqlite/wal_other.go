//go:build !linux

package sqlite

import "modernc.org/libc"

// syncData is an ordinary sync.
func (w *walFile) syncData(tls *libc.TLS, file uintptr, flags int32) int32 {
	return call[func(*libc.TLS, uintptr, int32) int32](w.under.FxSync)(tls, file, flags)
}
