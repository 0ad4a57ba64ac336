package mongo

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
// 16 partitions at once, as the sequencers do.
func BenchmarkInsertEvents(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := openTest(b, Options{})
			inPartitions(b, size, func(partition, round int64) error {
				return s.InsertEvents(context.Background(), benchEvents(partition, round, size), nil)
			})
		})
	}
}

// BenchmarkCommitInbox writes the blocks of one inbox partition each, two
// entries a block, from 16 partitions at once.
func BenchmarkCommitInbox(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("blocks=%d", size), func(b *testing.B) {
			s := openTest(b, Options{})
			inPartitions(b, size, func(partition, round int64) error {
				return s.CommitInbox(context.Background(), &im.InboxCommit{Blocks: benchBlocks(partition, round, size)})
			})
		})
	}
}

// inPartitions calls write from 16 partitions at once and reports rows and what
// this process spends on one; the server is another.
func inPartitions(b *testing.B, size int, write func(partition, round int64) error) {
	b.Helper()
	var partitions atomic.Int64
	b.SetParallelism(8) // of two processors: 16 callers
	before := cpuTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		partition := partitions.Add(1)
		for round := int64(0); pb.Next(); round++ {
			if err := write(partition, round); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	rows := float64(b.N * size)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/rows, "cpu-µs/row")
}

// cpuTime is what this process has used of its processors.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchEvents are the next events of 32 conversations of a partition.
func benchEvents(partition, round int64, size int) []im.Event {
	const conversations = 32
	events := make([]im.Event, size)
	for i := range events {
		n := round*int64(size) + int64(i)
		events[i] = im.Event{
			ID: n<<14 | partition, Seq: n/conversations + 1, Kind: im.KindMessage, Counted: true, Hash: 1 << 62,
			ConversationID: im.DirectConversation(fmt.Sprint("a", partition), fmt.Sprint("b", n%conversations)),
			SenderID:       fmt.Sprint("user", partition), DeviceID: "d1",
			ClientID: fmt.Sprintf("019b0000-0000-7000-8000-%012x", n),
			AtMs:     1767225600000, AcceptedAtMs: 1767225599998, Body: make([]byte, 120),
		}
	}
	return events
}

// benchBlocks are the next blocks of a partition's users.
func benchBlocks(partition, round int64, size int) []im.Block {
	blocks := make([]im.Block, size)
	for i := range blocks {
		conversation := im.DirectConversation(fmt.Sprint("a", partition), fmt.Sprint("b", i))
		blocks[i] = im.Block{UserID: fmt.Sprint("u", partition, "-", i), FirstSeq: 2*round + 1, AtMs: 1767225600000}
		for seq := 2*round + 1; seq <= 2*round+2; seq++ {
			id := seq<<22 | partition<<12 | int64(i)
			blocks[i].Entries = append(blocks[i].Entries, im.InboxEntry{
				EventID: im.EventIDOf(id), Kind: im.KindMessage, MessageID: id, ConversationID: conversation, ConversationSeq: seq,
			})
		}
	}
	return blocks
}
