package rabbitmq_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/deploy/local"
)

// A broker that is harmed in every way meets two publishers: one that wants its
// answers in time, and one that waits for as long as it takes.
func TestFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	b := ownBroker(t)
	for _, story := range []struct {
		name string
		harm func(t *testing.T, b *local.RabbitMQ, hasty *stream)
	}{
		{"kill -9 and restart", func(t *testing.T, b *local.RabbitMQ, hasty *stream) {
			b.Kill()
			eventually(t, "the hasty one is refused", func() bool { return hasty.refusals() > 0 })
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"connections cut", func(t *testing.T, b *local.RabbitMQ, hasty *stream) {
			for range 3 {
				hasty.grows(t, 100)
				control(t, b, "close_all_connections", "test")
			}
		}},
		{"stopped for a while", func(t *testing.T, b *local.RabbitMQ, hasty *stream) {
			signal(t, b, syscall.SIGSTOP)
			defer signal(t, b, syscall.SIGCONT)
			// Longer than three heartbeats: the connections are given up.
			eventually(t, "the hasty one is refused again and again", func() bool { return hasty.refusals() > 1000 })
		}},
		{"blocked by its memory alarm", func(t *testing.T, b *local.RabbitMQ, hasty *stream) {
			control(t, b, "set_vm_memory_high_watermark", "absolute", "1")
			defer control(t, b, "set_vm_memory_high_watermark", "absolute", "4GB")
			eventually(t, "the hasty one is refused", func() bool { return hasty.refusals() > 0 })
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			c := config(b.URI())
			c.Heartbeat = time.Second
			hasty := open(t, c)
			c.Patience = patience
			patient := open(t, c)
			one, other := startStream(hasty, 0, steadily), startStream(patient, 1, steadily)
			one.grows(t, 200)
			other.grows(t, 200)

			story.harm(t, b, one)

			one.grows(t, 200)
			other.grows(t, 200)
			one.end()
			other.end()
			if one.slowest > 2*time.Second+200*time.Millisecond { // the machine may be busy
				t.Errorf("an answer took %s", one.slowest)
			}
			if other.refused > 0 {
				t.Errorf("%d of the patient publisher's items were refused", other.refused)
			}
			one.judge(t, hasty, 0)
			other.judge(t, hasty, 1)
		})
	}
}

func (s *stream) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func control(t *testing.T, b *local.RabbitMQ, arguments ...string) {
	t.Helper()
	if _, err := b.Control(context.Background(), arguments...); err != nil {
		t.Error(err)
	}
}

func signal(t *testing.T, b *local.RabbitMQ, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(b.PID(), s); err != nil {
		t.Error(err)
	}
}

// While publishers are blocked, what is queued is received and acknowledged.
func TestABlockedBrokerServesConsumers(t *testing.T) {
	b := ownBroker(t)
	q := open(t, config(b.URI()))
	for i := range 20 {
		if err := put(t, q, 0, string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
	}
	control(t, b, "set_vm_memory_high_watermark", "absolute", "1")

	for range 3 { // the first one shows the broker a publisher to block
		began := time.Now()
		if err := put(t, q, 0, "late"); im.AsError(err).Code != im.Unavailable {
			t.Fatalf("publish to a blocked broker: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("the answer took %s", took)
		}
	}
	c := consume(t, q, 0)
	for i := range 20 {
		d := take(t, c, 1)[0]
		if string(d.Body) != string(rune('a'+i)) {
			t.Fatalf("item %d is %q", i, d.Body)
		}
		if err := c.Ack(d.Tag); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the acks reach the broker", func() bool { return q.Backlog(topic, 0) == 0 })

	control(t, b, "set_vm_memory_high_watermark", "absolute", "4GB")
	eventually(t, "publishers are served again", func() bool { return put(t, q, 0, "again") == nil })
}

// A consumer whose broker dies is told, and finds everything again, in order.
func TestAConsumerLosesItsPartitionWithTheBroker(t *testing.T) {
	t.Parallel()
	b := ownBroker(t)
	q := open(t, config(b.URI()))
	c := consume(t, q, 0)
	for i := range 20 {
		if err := put(t, q, 0, string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
	}
	got := take(t, c, 8) // the full prefetch
	if err := c.Ack(got[1].Tag); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ack reaches the broker", func() bool { return q.Backlog(topic, 0) == 10 })

	b.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, err := c.Receive(ctx, 1); err != nil {
			if !errors.Is(err, rabbitmq.ErrLost) {
				t.Fatalf("receive: %v", err)
			}
			break
		}
	}
	if err := c.Ack(got[2].Tag); err == nil {
		t.Fatal("acknowledged what is lost")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	c = consume(t, q, 0)
	for i := 2; i < 20; i++ {
		d := take(t, c, 1)[0]
		if string(d.Body) != string(rune('a'+i)) {
			t.Fatalf("item %d is %q", i, d.Body)
		}
		if err := c.Ack(d.Tag); err != nil {
			t.Fatal(err)
		}
	}
}

// Neither Consume nor Close waits for a broker that stands still.
func TestABrokerThatStandsStillHoldsNobody(t *testing.T) {
	b := ownBroker(t)
	q := open(t, config(b.URI()))
	signal(t, b, syscall.SIGSTOP)
	stopped := true
	defer func() {
		if stopped {
			signal(t, b, syscall.SIGCONT)
		}
	}()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := q.Consume(ctx, topic, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("consume: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Fatalf("it took %s", took)
	}

	signal(t, b, syscall.SIGCONT)
	stopped = false
	if err := put(t, open(t, config(b.URI())), 0, "it goes on"); err != nil {
		t.Fatal(err)
	}
}
