package session

import (
	"net"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// highWater is how many bytes may wait to be written before pushes only raise
// the head, signals are dropped and the socket is not read any further.
const highWater = 64 << 10

// keptBuffer is the largest write buffer that is kept for use again.
const keptBuffer = 256 << 10

func (h *Hub) takeBuffer() *[]byte {
	if b, ok := h.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, 2048)
	return &b
}

func (h *Hub) giveBuffer(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		h.buffers.Put(b)
	}
}

// pending is how many bytes the device has yet to take.
func (s *Session) pending() int {
	if s.out == nil {
		return s.inFlight
	}
	return s.inFlight + len(*s.out)
}

// spoken is the form to write in.
func (s *Session) spoken() wire.Form {
	if s.form == 0 {
		return s.conn.FirstForm()
	}
	return s.form
}

// buffer returns what is to be written, with the deliver frame ended.
func (s *Session) buffer() *[]byte {
	if s.out == nil {
		s.out = s.hub.takeBuffer()
	}
	s.endDeliver("")
	return s.out
}

// put adds a frame; it is not written before flush. The caller holds mu.
func (s *Session) put(op wire.Op, seq int32, m wire.Body) {
	if s.closing {
		return
	}
	out := s.buffer()
	start := len(*out)
	batch, err := wire.AppendMessage(*out, s.spoken(), op, seq, m)
	if err != nil {
		s.hub.log.Error("encode a frame", "op", op.String(), "error", err)
		return
	}
	*out = s.conn.Seal(batch, start, s.spoken() == wire.Text)
}

// putEncoded adds a frame whose body is encoded already.
func (s *Session) putEncoded(op wire.Op, body []byte) {
	out := s.buffer()
	start := len(*out)
	batch := wire.AppendFrame(*out, s.form, op, 0, body)
	*out = s.conn.Seal(batch, start, s.form == wire.Text)
}

// putFrame adds a whole frame.
func (s *Session) putFrame(frame []byte) {
	if s.closing {
		return
	}
	out := s.buffer()
	start := len(*out)
	*out = s.conn.Seal(append(*out, frame...), start, s.form == wire.Text)
}

// deliver adds an entry encoded in the session's form, without its seq if that
// is given, to the deliver frame that is being filled. A traced one has a frame
// of its own.
func (s *Session) deliver(seq int64, entry []byte, b3 string) {
	if s.out == nil {
		s.out = s.hub.takeBuffer()
	}
	if s.opened && len(*s.out)-s.openedAt+len(entry)+2*wire.EntryOverhead > s.hub.config.MaxFrame || b3 != "" {
		s.endDeliver("")
	}
	if !s.opened {
		s.opened, s.openedAt = true, len(*s.out)
		*s.out = wire.BeginDeliver(*s.out, s.form)
	}
	if seq > 0 {
		*s.out = wire.SpliceEntry(*s.out, s.form, seq, entry)
	} else {
		*s.out = wire.AppendEntry(*s.out, s.form, entry)
	}
	if b3 != "" {
		s.endDeliver(b3)
	}
}

func (s *Session) endDeliver(b3 string) {
	if s.opened {
		s.opened = false
		batch := wire.EndDeliver(*s.out, s.openedAt, s.form, b3)
		*s.out = s.conn.Seal(batch, s.openedAt, s.form == wire.Text)
	}
}

// control adds an answer of the transport's own, unless much is waiting.
func (s *Session) control(sealed []byte) {
	s.mu.Lock()
	if !s.closing && s.pending() < highWater {
		out := s.buffer()
		*out = append(*out, sealed...)
	}
	s.mu.Unlock()
	s.flush()
}

// flush starts a writer if something is to be written and none is at work.
func (s *Session) flush() {
	s.mu.Lock()
	start := s.writes()
	s.mu.Unlock()
	if start {
		s.hub.crew.start(s, (*Session).write)
	}
}

// writes reports whether a writer is to be started. The caller holds mu.
func (s *Session) writes() bool {
	start := s.out != nil && !s.writing && !s.abandoned
	if start {
		s.writing = true
	}
	return start
}

// write writes all that is pending, and what comes meanwhile, with one Write for
// what has gathered. At the end of a session it shuts the sending side.
func (s *Session) write() {
	batch, finished := s.takeOut()
	for ; batch != nil; batch, finished = s.takeOut() {
		_, err := s.conn.NetConn().Write(*batch)
		im.CrashPoint(im.CrashWritten)
		s.hub.giveBuffer(batch)
		if err != nil {
			s.abandon()
		}
	}
	if finished {
		closeWrite(s.conn.NetConn())
	}
}

// takeOut takes what is to be written next. With nothing left the writer's work
// ends and the inbox goes on; finished says that nothing more will ever come. It
// is judged here, under one lock: a reason put a moment later has another writer.
func (s *Session) takeOut() (batch *[]byte, finished bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = 0
	s.traceWritten()
	s.wake()
	if s.out == nil && s.rooms != nil {
		s.tellSkipped()
	}
	if s.out == nil || s.abandoned {
		s.writing = false
		s.pump()
		s.caughtUp()
		return nil, s.closing && !s.abandoned
	}
	s.endDeliver("")
	batch = s.out
	s.out, s.inFlight = nil, len(*batch)
	s.traceWriting()
	s.setWriteDeadline()
	return batch, false
}

// closeWrite tells the client that nothing more comes, where the connection can.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() //nolint:errcheck // it is closed soon anyway
	}
}

// closeNow closes a connection without waiting to say so over TLS.
func closeNow(conn net.Conn) {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = c.NetConn()
	}
	conn.Close()
}
