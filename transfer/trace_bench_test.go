package transfer

import (
	"context"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// discard is a tracer that nothing should come to.
type discard struct{ t testing.TB }

func (d discard) Report(span im.Span) { d.t.Errorf("reported %+v", span) }

// With a tracer, a message that is not traced takes what it takes without one.
func TestWhatIsNotTracedAllocatesNothingMore(t *testing.T) {
	s := benchServer()
	s.config.Tracer = discard{t}
	g := newGateway("g", newMetrics(nil))
	unsampled := &imv1.Event{B3: "0"}
	seq := &sequencer{server: s}
	box := &inbox{server: s}
	batch := []*pending{{command: &imv1.Command{}}, {command: &imv1.Command{B3: "0"}}}
	commands := batchOf(batch)
	envelopes := []*imv1.InboxEnvelope{{}, {What: &imv1.InboxEnvelope_Event{Event: unsampled}}}
	commit := &inboxCommit{batch: &inboxBatch{}}
	for name, step := range map[string]func(){
		"accept": func() {
			trace := s.traceAccepted(TopicConversation, commands, s.now())
			_ = trace.b3()
			trace.confirmed(nil)
		},
		"sequence": func() {
			trace := seq.traceBatch(batch)
			trace.reach(markInserting)
			trace.reach(markStored)
			trace.sequenced(batch, nil)
		},
		"fan-out": func() { _ = s.firstTrace(envelopes) },
		"inbox":   func() { commit.batch.trace = box.traceBatch(envelopes); commit.batch.trace.committed(commit) },
		"push":    func() { commit.batch.trace.pushing(unsampled, g) },
		"send":    func() { s.pushed(nil, nil) },
	} {
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s takes %v allocations", name, n)
		}
	}
}

func batchOf(all []*pending) *batch {
	b := &batch{}
	for _, p := range all {
		b.commands = append(b.commands, p.command)
	}
	return b
}

// BenchmarkTraced measures a batch through the sequencer with a tracer: nothing of
// it traced, or all.
func BenchmarkTraced(b *testing.B) {
	for name, header := range map[string]string{"none": "", "all": "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"} {
		b.Run(name, func(b *testing.B) {
			s := benchServer()
			s.config.Tracer = ignore{}
			g := newGateway("g", newMetrics(nil))
			s.gateways["g"] = g
			seq := &sequencer{
				server: s, store: s.store, log: s.log, term: benchTerm(s),
				conversations: map[string]*conversation{}, recent: newRecents(2048),
				hints: newHints(func([]im.Conversation) error { return nil }),
			}
			defer seq.hints.stop()
			items := newBenchItems(b, 64)
			b.ReportAllocs()
			for b.Loop() {
				items.renew()
				batch, err := seq.decode(context.Background(), items.deliveries)
				for _, p := range batch {
					p.command.B3 = header
				}
				seq.trace = seq.traceBatch(batch)
				if err == nil {
					err = seq.process(context.Background(), batch)
				}
				if err != nil {
					b.Fatal(err)
				}
				g.take()
			}
		})
	}
}

type ignore struct{}

func (ignore) Report(im.Span) {}
