package sqlite

import (
	"context"
	"testing"

	"github.com/im-transfer/im"
)

func TestFactsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	first := im.ClusterFacts{ConversationPartitions: 16, InboxPartitions: 32, Prefetch: 64, Format: 1}
	other := im.ClusterFacts{ConversationPartitions: 8, InboxPartitions: 8, Prefetch: 8, Format: 2}
	for _, given := range []im.ClusterFacts{first, other} {
		s := openTest(t, dir, Options{})
		for range 2 {
			want := first
			want.Prefetch = given.Prefetch
			if got, err := s.Facts(context.Background(), given); err != nil || got != want {
				t.Fatalf("facts are %+v, %v, want %+v", got, err, want)
			}
			given = other
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
