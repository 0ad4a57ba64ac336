package queuetest_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (transfer.Queue, func() error) {
	t.Helper()
	q := memory.NewQueue(queuetest.Prefetch,
		memory.Topic{Name: transfer.TopicConversation, Partitions: queuetest.Partitions, Bound: queuetest.Bound},
		memory.Topic{Name: transfer.TopicInbox, Partitions: queuetest.Partitions, Bound: queuetest.Bound})
	return queuetest.Of(q), q.Close
}

// A wrapper that is told nothing must itself pass the suite.
func TestFaultyWithoutFaults(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Opened {
		q, closeQueue := open(t)
		return queuetest.Opened{Queue: queuetest.NewFaulty(q, nil), Close: closeQueue}
	})
}

func TestFates(t *testing.T) {
	for _, c := range []struct {
		name      string
		fate      queuetest.Fate
		confirmed bool // before Release
		failed    bool
		arrived   int
	}{
		{"deliver", queuetest.Deliver, true, false, 1},
		{"lose", queuetest.Lose, true, true, 0},
		{"doubt", queuetest.Doubt, true, true, 1},
		{"delay", queuetest.Delay, false, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, closeQueue := open(t)
			defer closeQueue() //nolint:errcheck // never fails
			faulty := queuetest.NewFaulty(q, func(string, int, []im.Pack) queuetest.Fate { return c.fate })
			var confirms []error
			faulty.Publish(transfer.TopicInbox, 0, []im.Pack{{Body: []byte("x")}},
				func(err error) { confirms = append(confirms, err) })
			if got := len(confirms) == 1; got != c.confirmed {
				t.Fatalf("confirmed at once: %v", got)
			}
			faulty.Release()
			if len(confirms) != 1 || (confirms[0] != nil) != c.failed {
				t.Fatalf("confirms: %v", confirms)
			}
			if n := faulty.Backlog(transfer.TopicInbox, 0); n != c.arrived {
				t.Fatalf("%d items arrived", n)
			}
		})
	}
}

func TestBreakTakesThePartitionAway(t *testing.T) {
	q, closeQueue := open(t)
	defer closeQueue() //nolint:errcheck // never fails
	faulty := queuetest.NewFaulty(q, nil)
	faulty.Publish(transfer.TopicInbox, 0, []im.Pack{{Body: []byte("x")}}, func(error) {})
	first, err := faulty.Consume(t.Context(), transfer.TopicInbox, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := first.Receive(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}

	if err := faulty.Break(transfer.TopicInbox, 0); err != nil {
		t.Fatal(err)
	}

	if _, err := first.Receive(t.Context(), 1); !errors.Is(err, queuetest.ErrBroken) {
		t.Fatalf("receive: %v", err)
	}
	if err := first.Ack(got[0].Tag); !errors.Is(err, queuetest.ErrBroken) {
		t.Fatalf("ack: %v", err)
	}
	second, err := faulty.Consume(t.Context(), transfer.TopicInbox, 0)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := second.Receive(t.Context(), 1); err != nil || string(again[0].Body) != "x" {
		t.Fatalf("the item does not come again: %v", err)
	}
}

func TestCarriedItemsComeAgainTogether(t *testing.T) {
	q, closeQueue := open(t)
	defer closeQueue() //nolint:errcheck // never fails
	faulty := queuetest.NewFaulty(q, nil)
	faulty.Carry(3)
	for _, body := range []string{"1", "2", "3", "4", "5", "6"} {
		faulty.Publish(transfer.TopicInbox, 0, []im.Pack{{Body: []byte(body)}}, func(error) {})
	}
	for acked, again := range []string{"1", "1", "1", "4", "4", "4"} { // how many are acknowledged
		consumer, err := faulty.Consume(t.Context(), transfer.TopicInbox, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := consumer.Receive(t.Context(), 6)
		if err != nil || string(got[0].Body) != again {
			t.Fatalf("%v, %v; %s is to come first", got, err, again)
		}
		for _, d := range got {
			if string(d.Body) == string(rune('1'+acked)) {
				if err := consumer.Ack(d.Tag); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := consumer.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
