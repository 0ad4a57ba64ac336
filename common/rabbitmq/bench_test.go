package rabbitmq_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/rabbitmq"
)

// BenchmarkQueue publishes items of 300 bytes, waits for their confirms and
// consumes and acknowledges them, all at the same time: what the broker can do, and
// what packs make of it.
func BenchmarkQueue(b *testing.B) {
	uri := broker(b)
	for _, partitions := range []int{1, 16} {
		for _, way := range []struct {
			name              string
			packBytes, window int
		}{{"single", -1, 256}, {"packed", 0, 0}} {
			b.Run(fmt.Sprintf("%s/partitions=%d", way.name, partitions), func(b *testing.B) {
				c := config(uri)
				c.Topics = []rabbitmq.Topic{{Name: topic, Partitions: partitions}}
				c.PackBytes, c.Window, c.Prefetch, c.Patience = way.packBytes, way.window, 1024, patience
				benchmark(b, open(b, c), partitions)
			})
		}
	}
}

func benchmark(b *testing.B, q *rabbitmq.Queue, partitions int) {
	const unanswered = 16384
	room := make(chan struct{}, unanswered)
	failed := make(chan error, 1)
	confirmed := func(err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
		<-room
	}
	var work errgroup.Group
	for p := range partitions {
		count := b.N / partitions
		if p < b.N%partitions {
			count++
		}
		consumer, err := q.Consume(b.Context(), topic, p)
		if err != nil {
			b.Fatal(err)
		}
		work.Go(func() error { return errors.Join(drain(b, consumer, count), consumer.Close()) })
	}
	b.ResetTimer()
	b.ReportAllocs()
	for i := range b.N {
		room <- struct{}{}
		q.Publish(topic, i%partitions, []im.Pack{{Body: make([]byte, 300)}}, confirmed)
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	for len(room) > 0 {
		runtime.Gosched()
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

func drain(b *testing.B, consumer *rabbitmq.Consumer, count int) error {
	for got := 0; got < count; {
		batch, err := consumer.Receive(b.Context(), 256)
		if err != nil {
			return err
		}
		got += len(batch)
		if err := consumer.Ack(batch[len(batch)-1].Tag); err != nil {
			return err
		}
	}
	return nil
}
