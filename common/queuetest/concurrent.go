package queuetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im/transfer"
)

func waitsForFormer(t *testing.T, o Opened) {
	first := consume(t, o.Queue, transfer.TopicInbox, 0)
	var closed atomic.Bool
	next := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		second, err := o.another().Consume(ctx, transfer.TopicInbox, 0)
		switch {
		case err != nil:
		case !closed.Load():
			err = fmt.Errorf("two consumers at a time")
		default:
			err = second.Close()
		}
		next <- err
	}()
	for i := range 50 { // the first goes on as the only one
		body := fmt.Sprint(i)
		publish(t, o.Queue, transfer.TopicInbox, 0, body)
		got := receive(t, first, 1)
		expect(t, got, body)
		ack(t, first, got[0])
	}
	closed.Store(true)
	shut(t, first)
	select {
	case err := <-next:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the next consumer still waits")
	}
}

// Of the concurrent story: publishers, items of each, and after how many
// received ones a consumer gives up its partition.
const (
	publishers = 4
	each       = 250
	turnAfter  = 37
)

// concurrent has several publishers write to one partition whose consumers come
// and go with items unacknowledged. What is received, repeats dropped, is every
// publisher's sequence without a hole.
func concurrent(t *testing.T, o Opened) {
	var running sync.WaitGroup
	var confirms atomic.Int64
	for publisher := range publishers {
		q := o.another()
		running.Go(func() {
			for i := range each {
				q.Publish(transfer.TopicConversation, 1, packs(1, fmt.Sprintf("%d %d", publisher, i)),
					func(err error) {
						if err != nil {
							t.Errorf("publish: %v", err)
						}
						confirms.Add(1)
					})
			}
		})
	}
	var seen [publishers]int
	for done := 0; done < publishers*each; {
		done += turn(t, o, &seen)
	}
	running.Wait()
	eventually(t, "each publish is confirmed", func() bool { return confirms.Load() >= publishers*each })
	nothing(t, consume(t, o.Queue, transfer.TopicConversation, 1))
	if n := confirms.Load(); n != publishers*each {
		t.Fatalf("%d confirms for %d publishes", n, publishers*each)
	}
}

// turn is one consumer's time: it acknowledges every third of what it gets, and
// all only at the end of the story. It returns how many were new and
// acknowledged.
func turn(t *testing.T, o Opened, seen *[publishers]int) int {
	t.Helper()
	consumer := consume(t, o.another(), transfer.TopicConversation, 1)
	defer shut(t, consumer)
	acknowledged, base := 0, sum(seen)
	next := *seen
	for received := 1; received <= turnAfter; received++ {
		d := receive(t, consumer, 1)[0]
		var publisher, number int
		if _, err := fmt.Sscanf(string(d.Body), "%d %d", &publisher, &number); err != nil {
			t.Fatalf("body %q: %v", d.Body, err)
		}
		if o.Packs && number < seen[publisher] && received == 1 {
			ack(t, consumer, d) // it came again with others
			received--
			continue
		}
		if number != next[publisher] {
			t.Fatalf("publisher %d: item %d where %d is due", publisher, number, next[publisher])
		}
		next[publisher]++
		if received%3 == 0 || sum(&next) == publishers*each {
			ack(t, consumer, d)
			*seen = next
			acknowledged = sum(seen) - base
		}
		if sum(&next) == publishers*each {
			break
		}
	}
	return acknowledged
}

func sum(counts *[publishers]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}
