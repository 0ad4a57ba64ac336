package session

import (
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// never is a tracer that samples nothing.
type never struct{ t testing.TB }

func (never) Join(from im.Trace) im.Trace { return from }
func (n never) Report(span im.Span)       { n.t.Errorf("reported %+v", span) }

// With a tracer, what is not traced takes what it takes without one, and a session
// remembers nothing of it.
func TestWhatIsNotTracedAllocatesNothing(t *testing.T) {
	allocations := func(tracer Tracer) float64 {
		s := newSession(NewHub(Config{Tracer: tracer}, nil, nil), &takesAll{socket: socket{}})
		s.phase, s.form = phaseLive, wire.Proto
		p := &pushed{proto: []byte{}}
		publish := &imv1.Publish{}
		n := testing.AllocsPerRun(100, func() {
			s.join(publish, "")
			s.join(publish, "0")
			s.push(s.cursor+1, p)
			s.writing = true
			s.write()
			s.mu.Lock()
			s.progress(s.cursor)
			s.mu.Unlock()
		})
		if s.traces != nil {
			t.Error("the session remembers what is not traced")
		}
		return n
	}
	if with, without := allocations(never{t}), allocations(nil); with != without {
		t.Errorf("%v allocations with a tracer, %v without", with, without)
	}
}
