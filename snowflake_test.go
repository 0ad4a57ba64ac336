package im_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
)

// steps is a clock that goes where it is told, backwards too.
type steps struct{ ms int64 }

func (s *steps) now() time.Time { return time.UnixMilli(s.ms) }

// draw moves the clock: mostly a little, at times by more than a whole range.
func (s *steps) draw(t *rapid.T) {
	s.ms += rapid.OneOf(
		rapid.Int64Range(-5, 50),
		rapid.Int64Range(-1000, 3000),
		rapid.Int64Range(-100_000, 100_000),
	).Draw(t, "step")
}

// give draws ids under clock steps until the ceiling or a number of them.
func give(t *rapid.T, s *im.Snowflake, clock *steps, partition int, floor, ceiling int64) []int64 {
	var ids []int64
	for range rapid.IntRange(0, 40).Draw(t, "bursts") {
		clock.draw(t)
		for range rapid.IntRange(1, 300).Draw(t, "burst") {
			id, err := s.Next()
			if errors.Is(err, im.ErrCeiling) {
				return ids
			}
			if at := im.IDTimeMs(id); at < floor || at >= ceiling {
				t.Fatalf("id of %d outside [%d, %d)", at, floor, ceiling)
			}
			if im.IDPartition(id) != partition {
				t.Fatalf("id of partition %d, not %d", im.IDPartition(id), partition)
			}
			if len(ids) > 0 && id <= ids[len(ids)-1] {
				t.Fatalf("id %d after %d", id, ids[len(ids)-1])
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func TestOwnersWithAdjoiningRangesNeverMeetWhateverClocksDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partition := rapid.IntRange(0, im.MaxPartitions-1).Draw(t, "partition")
		begin := im.Epoch + rapid.Int64Range(0, 1<<40).Draw(t, "begin")
		middle := begin + rapid.Int64Range(1, 60_000).Draw(t, "first")
		end := middle + rapid.Int64Range(1, 60_000).Draw(t, "second")
		clock, other := &steps{begin}, &steps{begin}
		first := give(t, im.NewSnowflake(partition, begin, middle, clock.now), clock, partition, begin, middle)
		second := give(t, im.NewSnowflake(partition, middle, end, other.now), other, partition, middle, end)
		if len(first) > 0 && len(second) > 0 && second[0] <= first[len(first)-1] {
			t.Fatalf("the later owner gave %d, the former %d", second[0], first[len(first)-1])
		}
	})
}

func TestPartitionsNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.IntRange(0, im.MaxPartitions-1).Draw(t, "a")
		b := rapid.IntRange(0, im.MaxPartitions-1).Filter(func(p int) bool { return p != a }).Draw(t, "b")
		clock := &steps{im.Epoch}
		seen := map[int64]bool{}
		for _, partition := range []int{a, b} {
			for _, id := range give(t, im.NewSnowflake(partition, im.Epoch, im.Epoch+60_000, clock.now), clock, partition, im.Epoch, im.Epoch+60_000) {
				if seen[id] {
					t.Fatalf("partitions %d and %d both gave %d", a, b, id)
				}
				seen[id] = true
			}
		}
	})
}

func TestAFullCounterGoesOnInTheNextMillisecond(t *testing.T) {
	const perMs = 4096
	clock := &steps{im.Epoch + 7}
	s := im.NewSnowflake(5, im.Epoch, im.Epoch+9, clock.now)
	for i := range 2 * perMs {
		id, err := s.Next()
		if err != nil {
			t.Fatalf("id %d: %v", i, err)
		}
		if at, want := im.IDTimeMs(id), im.Epoch+7+int64(i/perMs); at != want {
			t.Fatalf("id %d is of %d, want %d", i, at, want)
		}
	}
	if _, err := s.Next(); !errors.Is(err, im.ErrCeiling) {
		t.Fatalf("at the ceiling: %v", err)
	}
}

func TestRaiseGoesOnAndNeverDown(t *testing.T) {
	clock := &steps{im.Epoch + 20_000}
	s := im.NewSnowflake(0, im.Epoch, im.Epoch+10_000, clock.now)
	if _, err := s.Next(); !errors.Is(err, im.ErrCeiling) {
		t.Fatalf("above the ceiling: %v", err)
	}
	if left := s.Remaining(); left != 0 {
		t.Fatalf("%v left above the ceiling", left)
	}
	s.Raise(im.Epoch + 30_000)
	s.Raise(im.Epoch + 5_000)
	if _, err := s.Next(); err != nil {
		t.Fatalf("after Raise: %v", err)
	}
	if left := s.Remaining(); left != 10*time.Second {
		t.Fatalf("%v left, want 10s", left)
	}
	clock.ms -= 100_000 // ids are ahead of the clock now
	if left := s.Remaining(); left != 10*time.Second {
		t.Fatalf("%v left after the clock fell, want 10s", left)
	}
}

func TestIDsStayPositiveToTheEnd(t *testing.T) {
	last := im.Epoch + 1<<41 - 1
	clock := &steps{last}
	id, err := im.NewSnowflake(im.MaxPartitions-1, last, last+1, clock.now).Next()
	if err != nil || id <= 0 || im.IDTimeMs(id) != last || im.IDPartition(id) != im.MaxPartitions-1 {
		t.Fatalf("id %d of %d, %v", id, im.IDTimeMs(id), err)
	}
}
