package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/sqlite"
)

// crashDir names the directory in which this binary, run once more by
// TestKilled, writes until it is killed.
const crashDir = "IM_SQLITE_CRASH_DIR"

const crashPartitions = 8

// TestKilled kills a writing process without notice: everything that it was
// answered is there, every event with its pack, and nothing has a hole.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		acknowledged := writeAndKill(t, dir)
		s := openDir(t, dir)
		packs, err := s.PendingPacks(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for p := range crashPartitions {
			events, err := s.EventsAfter(context.Background(), crashConversation(p), 0, 1_000_000)
			if err != nil {
				t.Fatal(err)
			}
			total += len(events)
			if int64(len(events)) < acknowledged[p] || len(events) > 0 && events[len(events)-1].Seq != int64(len(events)) {
				t.Fatalf("round %d: %d acknowledged, %d stored", round, acknowledged[p], len(events))
			}
		}
		if len(packs) != total {
			t.Fatalf("round %d: %d events, %d packs", round, total, len(packs))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func crashConversation(partition int) string {
	return im.GroupConversation(fmt.Sprint("crash ", partition))
}

// writeAndKill returns the highest seq of each partition that was answered.
func writeAndKill(t *testing.T, dir string) map[int]int64 {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), crashDir+"="+dir)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[int]int64)
	lines := bufio.NewScanner(output)
	for n := 0; lines.Scan(); n++ {
		var partition int
		var seq int64
		if _, err := fmt.Sscan(lines.Text(), &partition, &seq); err != nil {
			continue // cut off by the kill
		}
		acknowledged[partition] = max(acknowledged[partition], seq)
		if n == 300 {
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	return acknowledged
}

// crashWriter appends to every conversation until it is killed, and prints what
// was answered.
func crashWriter(dir string) error {
	s, err := sqlite.Open(context.Background(), dir, sqlite.Options{})
	if err != nil {
		return err
	}
	var output sync.Mutex
	failed := make(chan error)
	for p := range crashPartitions {
		go func() { failed <- crashPartition(s, p, &output) }()
	}
	return <-failed
}

func crashPartition(s *sqlite.Store, p int, output *sync.Mutex) error {
	states, err := s.EventsAfter(context.Background(), crashConversation(p), 0, 1_000_000)
	if err != nil {
		return err
	}
	for seq := int64(len(states)) + 1; ; seq++ {
		e := im.Event{
			ID: seq<<12 | int64(p), ConversationID: crashConversation(p), Seq: seq, Kind: im.KindMessage,
			SenderID: "u", DeviceID: "d", ClientID: fmt.Sprint(seq), Body: make([]byte, 300),
		}
		pack := im.Pack{Ref: im.PackRef{Commit: e.ID, Partition: p}, Partition: p, Body: e.Body}
		if err := s.InsertEvents(context.Background(), []im.Event{e}, []im.Pack{pack}); err != nil {
			return err
		}
		output.Lock()
		fmt.Println(p, seq)
		output.Unlock()
	}
}
