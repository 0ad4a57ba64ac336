package session

import (
	"net"
	"sync"

	"github.com/im-transfer/im"
)

const (
	// inlineBytes is all that an idle connection holds for reading: a heartbeat
	// or an ack fits.
	inlineBytes = 64
	// pageBytes fits most other messages; largeBytes fits the largest with its
	// framing.
	pageBytes  = 4096
	largeBytes = im.MaxClientFrameBytes + 64
)

// Buffers are what the connections of a server read into while a message is
// there. The zero value is ready.
type Buffers struct{ pages, larges sync.Pool } // of *[]byte

func (b *Buffers) take(n int) *[]byte {
	pool, size := &b.pages, pageBytes
	if n > pageBytes {
		pool, size = &b.larges, largeBytes
	}
	if buffer, ok := pool.Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, size)
	return &buffer
}

func (b *Buffers) give(buffer *[]byte) {
	if len(*buffer) == pageBytes {
		b.pages.Put(buffer)
		return
	}
	b.larges.Put(buffer)
}

// Reader reads from a connection in runs of bytes, for the transports. While
// nothing has been read it holds no buffer but a small one of its own. It is not
// safe for concurrent use.
type Reader struct {
	net      net.Conn
	buffers  *Buffers
	pooled   *[]byte // in use instead of inline; nil = not
	from, to int     // what has been read and not skipped
	inline   [inlineBytes]byte
}

// NewReader returns a reader of a connection.
func NewReader(c net.Conn, buffers *Buffers) *Reader { return &Reader{net: c, buffers: buffers} }

func (r *Reader) buffer() []byte {
	if r.pooled != nil {
		return *r.pooled
	}
	return r.inline[:]
}

// Peek waits for the next n bytes, at most the largest message with 64 bytes of
// framing, and returns them: valid until the next Peek or Rest. The error is the
// connection's; io.EOF also where a part had come.
func (r *Reader) Peek(n int) ([]byte, error) {
	for r.to-r.from < n {
		r.reserve(n)
		m, err := r.net.Read(r.buffer()[r.to:])
		r.to += m
		if err != nil && r.to-r.from < n {
			return nil, err
		}
	}
	return r.buffer()[r.from : r.from+n], nil
}

// reserve makes room for n bytes from the first one on.
func (r *Reader) reserve(n int) {
	old := r.buffer()
	switch {
	case len(old)-r.from >= n:
		return
	case len(old) >= n:
		copy(old, old[r.from:r.to])
	default:
		larger, held := r.buffers.take(n), r.to-r.from
		copy(*larger, old[r.from:r.to])
		r.release()
		r.pooled, r.to = larger, held
		return
	}
	r.from, r.to = 0, r.to-r.from
}

// Skip takes n bytes off that Peek has returned. They stay valid.
func (r *Reader) Skip(n int) { r.from += n }

// Rest gives the buffer back, if it holds nothing more, before a wait that may
// be long.
func (r *Reader) Rest() {
	if r.from < r.to {
		return
	}
	r.release()
}

func (r *Reader) release() {
	r.from, r.to = 0, 0
	if r.pooled != nil {
		r.buffers.give(r.pooled)
		r.pooled = nil
	}
}
