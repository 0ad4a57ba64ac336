package sqlite

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// BenchmarkInsertEvents writes batches of one conversation partition each, from
// 16 partitions at once, as the sequencers do. The rows/s it reports are synced.
func BenchmarkInsertEvents(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := openBench(b)
			var partition atomic.Int64
			b.SetParallelism(8) // of two processors: 16 callers
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				p := partition.Add(1)
				batch := newBenchEvents(p, size)
				for seq := int64(1); pb.Next(); seq++ {
					batch.next(seq)
					if err := s.InsertEvents(context.Background(), batch.events, batch.packs); err != nil {
						b.Error(err)
						return
					}
				}
			})
			reportRows(b, b.N*size, before)
		})
	}
}

// BenchmarkCommitInbox writes the blocks of one inbox partition each, two
// entries a block, from 16 partitions at once.
func BenchmarkCommitInbox(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("blocks=%d", size), func(b *testing.B) {
			s := openBench(b)
			var partition atomic.Int64
			b.SetParallelism(8)
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				p := partition.Add(1)
				blocks := newBenchBlocks(p, size)
				for first := int64(1); pb.Next(); first += 2 {
					for i := range blocks {
						blocks[i].FirstSeq = first
					}
					if err := s.CommitInbox(context.Background(), &im.InboxCommit{Blocks: blocks}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			reportRows(b, b.N*size, before)
		})
	}
}

// reportRows adds rows/s, which is the disk's and the machine's other load's as
// much as ours, and the processor time of a row, which is ours.
func reportRows(b *testing.B, rows int, before time.Duration) {
	b.Helper()
	used := cpuTime(b) - before
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(used.Microseconds())/float64(rows), "cpu-µs/row")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(context.Background(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// benchEvents is a batch over 32 conversations of a partition, with a pack.
type benchEvents struct {
	partition int64
	events    []im.Event
	packs     []im.Pack
	seqs      [32]int64
}

func newBenchEvents(partition int64, size int) *benchEvents {
	batch := &benchEvents{partition: partition, events: make([]im.Event, size)}
	for i := range batch.events {
		batch.events[i] = im.Event{
			Kind: im.KindMessage, DeviceID: "d1", Counted: true, Hash: 1 << 62,
			AtMs: 1767225600000, AcceptedAtMs: 1767225599998, Body: make([]byte, 120),
		}
	}
	batch.packs = []im.Pack{{Body: make([]byte, 200*size)}}
	return batch
}

func (b *benchEvents) next(round int64) {
	for i := range b.events {
		n := round*int64(len(b.events)) + int64(i)
		c := n % int64(len(b.seqs))
		b.seqs[c]++
		e := &b.events[i]
		e.ID = n<<14 | b.partition
		e.ConversationID = im.DirectConversation(fmt.Sprint("a", b.partition), fmt.Sprint("b", c))
		e.SenderID = fmt.Sprint("user", b.partition)
		e.Seq = b.seqs[c]
		e.ClientID = fmt.Sprintf("019b0000-0000-7000-8000-%012x", n)
	}
	b.packs[0].Ref = im.PackRef{Commit: b.events[0].ID, Partition: 3}
}

func newBenchBlocks(partition int64, size int) []im.Block {
	blocks := make([]im.Block, size)
	for i := range blocks {
		conversation := im.DirectConversation(fmt.Sprint("a", partition), fmt.Sprint("b", i))
		blocks[i] = im.Block{UserID: fmt.Sprint("u", partition, "-", i), AtMs: 1767225600000}
		for k := range int64(2) {
			id := partition<<40 + int64(i)<<8 + k
			blocks[i].Entries = append(blocks[i].Entries, im.InboxEntry{
				EventID: im.EventIDOf(id), Kind: im.KindMessage, MessageID: id, ConversationID: conversation, ConversationSeq: id,
			})
		}
	}
	return blocks
}
