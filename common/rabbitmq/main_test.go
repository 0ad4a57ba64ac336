package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/transfer"
)

var (
	_ transfer.Consumer                    = (*rabbitmq.Consumer)(nil)
	_ queuetest.Driver[*rabbitmq.Consumer] = (*rabbitmq.Queue)(nil)
)

// shared is the broker of all tests that do it no harm. The first one starts it:
// not TestMain, which the fuzzer runs in many processes and kills.
var shared struct {
	sync.Mutex
	dir    string
	broker *local.RabbitMQ
}

func TestMain(m *testing.M) {
	status := m.Run()
	err := stopShared()
	if err == nil && status == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		return nil
	}
	return errors.Join(shared.broker.Stop(), os.RemoveAll(shared.dir))
}

// broker is the address of a healthy one; without any the test is skipped.
func broker(t testing.TB) string {
	t.Helper()
	if uri := os.Getenv("IM_TEST_RABBITMQ_URI"); uri != "" {
		return uri
	}
	if !local.HasRabbitMQ() {
		missing(t)
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		dir, err := os.MkdirTemp("", "im-rabbitmq") //nolint:usetesting // it outlives the test
		if err != nil {
			t.Fatal(err)
		}
		if shared.broker, err = local.StartRabbitMQ(context.Background(), dir, 0); err != nil {
			t.Fatal(errors.Join(err, os.RemoveAll(dir)))
		}
		shared.dir = dir
	}
	return shared.broker.URI()
}

// ownBroker starts one that the test may do anything to.
func ownBroker(t *testing.T) *local.RabbitMQ {
	t.Helper()
	if !local.HasRabbitMQ() {
		missing(t)
	}
	b, err := local.StartRabbitMQ(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func missing(t testing.TB) {
	t.Helper()
	const why = "RabbitMQ is not installed and IM_TEST_RABBITMQ_URI not set"
	if os.Getenv("IM_TEST_REQUIRE") == "all" {
		t.Fatal(why)
	}
	t.Skip(why + " (IM_TEST_REQUIRE=all makes this a failure)")
}

// prefixes tells the queues of one test from another's, and one run from the next.
var prefixes atomic.Int64

func config(uri string) rabbitmq.Config {
	return rabbitmq.Config{
		URIs: []string{uri}, Name: "test", Prefetch: queuetest.Prefetch,
		Prefix: fmt.Sprintf("test.%d.%d.", time.Now().UnixNano(), prefixes.Add(1)),
		Topics: []rabbitmq.Topic{
			{Name: transfer.TopicConversation, Partitions: queuetest.Partitions},
			{Name: transfer.TopicInbox, Partitions: queuetest.Partitions},
		},
	}
}

func open(t testing.TB, c rabbitmq.Config) *rabbitmq.Queue {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := rabbitmq.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if c.URIs[0] == os.Getenv("IM_TEST_RABBITMQ_URI") {
			deleteQueues(t, c)
		}
	})
	return q
}

// deleteQueues leaves a broker that is not ours as it was.
func deleteQueues(t testing.TB, c rabbitmq.Config) {
	conn, err := amqp.Dial(c.URIs[0])
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Error(err)
		return
	}
	for _, topic := range c.Topics {
		for number := range topic.Partitions {
			if _, err := ch.QueueDelete(fmt.Sprintf("%s%s.%d", c.Prefix, topic.Name, number), false, false, false); err != nil {
				t.Error(err)
				return
			}
		}
	}
}
