package rabbitmq_test

import (
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// A traced item shows its trace to who looks at the queue; another has no headers.
func TestTheTraceOfAnItemIsAHeader(t *testing.T) {
	const b3 = "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"
	uri := broker(t)
	c := config(uri)
	q := open(t, c)
	for _, trace := range []string{"", b3} {
		confirmed := make(chan error, 1)
		q.Publish(topic, 0, []im.Pack{{Body: []byte("item"), B3: trace}}, func(err error) { confirmed <- err })
		if err := <-confirmed; err != nil {
			t.Fatal(err)
		}
	}
	messages, err := channel(t, uri).Consume(c.Prefix+topic+".0", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []any{nil, b3} {
		select {
		case m := <-messages:
			if m.Headers["b3"] != want {
				t.Errorf("headers %v, want b3 %v", m.Headers, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no message came within 10 s")
		}
	}
}
