package im

import (
	"errors"
	"time"
)

// Epoch is the zero of message ids, Unix milliseconds: 2026-01-01T00:00:00Z.
const Epoch int64 = 1767225600000

// The layout of a message id, from the top: a zero bit, 41 bits of milliseconds
// since Epoch (69 years), 10 bits of conversation partition, 12 bits of counter.
const (
	partitionBits = 10
	counterBits   = 12
	// MaxPartitions bounds the conversation partitions of a cluster.
	MaxPartitions = 1 << partitionBits
)

// ErrCeiling: the ids up to the ceiling are used up; a new term raises it.
var ErrCeiling = errors.New("id ceiling reached")

// Snowflake gives the ids of one conversation partition, after Twitter's
// Snowflake with the partition as worker. Ids increase strictly. They never reach
// the ceiling and never fall below the floor that they were started with, so two
// owners whose ranges do not overlap can not give the same id, whatever their
// clocks do. Not safe for concurrent use: the partition's goroutine owns it.
type Snowflake struct {
	partition int64
	now       func() time.Time
	ms        int64 // the millisecond in use, Unix
	counter   int64 // ids given in it
	ceiling   int64 // Unix milliseconds, exclusive
}

// NewSnowflake returns a generator of ids in milliseconds [floor, ceiling).
func NewSnowflake(partition int, floor, ceiling int64, now func() time.Time) *Snowflake {
	return &Snowflake{partition: int64(partition), now: now, ms: floor, ceiling: ceiling}
}

// Next returns the next id. A full counter goes on in the next millisecond.
// ErrCeiling asks for Raise.
func (s *Snowflake) Next() (int64, error) {
	if now := s.now().UnixMilli(); now > s.ms {
		s.ms, s.counter = now, 0
	}
	if s.counter == 1<<counterBits {
		s.ms, s.counter = s.ms+1, 0
	}
	if s.ms >= s.ceiling {
		return 0, ErrCeiling
	}
	id := (s.ms-Epoch)<<(partitionBits+counterBits) | s.partition<<counterBits | s.counter
	s.counter++
	return id, nil
}

// Raise sets a higher ceiling, Unix milliseconds; a lower one changes nothing.
func (s *Snowflake) Raise(ceiling int64) { s.ceiling = max(s.ceiling, ceiling) }

// Remaining is how far the ids, or the clock where it is ahead of them, are from
// the ceiling; not negative.
func (s *Snowflake) Remaining() time.Duration {
	return time.Duration(max(0, s.ceiling-max(s.ms, s.now().UnixMilli()))) * time.Millisecond
}

// IDTimeMs returns the millisecond, Unix, in an id.
func IDTimeMs(id int64) int64 { return id>>(partitionBits+counterBits) + Epoch }

// IDPartition returns the conversation partition in an id.
func IDPartition(id int64) int {
	return int(id >> counterBits & (MaxPartitions - 1))
}
