package faults

import (
	"context"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// Clock makes a server's wall clock wrong and then right again. One that owns
// partitions reads it when it starts, and so is started again for both.
const Clock = "clock"

// How long a clock is wrong, at least and at most.
const leastWrong, mostWrong = time.Second, 8 * time.Second

// ofClock returns what can be done to the clock of a server in a build that allows it.
// Servers whose clocks are more than five minutes apart do not talk to each other.
func ofClock(s *local.Server, offsets ...time.Duration) Set {
	if !s.HasClock() {
		return nil
	}
	step := func(ctx context.Context, offset time.Duration) error {
		if err := s.StepClock(offset); err != nil || s.Role != "transfer" && s.Role != "all" {
			return err
		}
		s.Kill()
		return s.Start(ctx)
	}
	var set Set
	for _, offset := range offsets {
		set = append(set, Fault{
			Kind: Clock, Target: s.Name() + " " + signed(offset), Parts: []string{s.Role}, Least: leastWrong, Most: mostWrong,
			Do: func(ctx context.Context) (func(context.Context) error, error) {
				return func(ctx context.Context) error { return step(ctx, 0) }, step(ctx, offset)
			},
		})
	}
	return set
}

func signed(d time.Duration) string {
	if d > 0 {
		return "+" + d.String()
	}
	return d.String()
}
