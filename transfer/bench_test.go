package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// BenchmarkLife measures a message's whole life in the transfer, on SQLite with a
// sync per commit: 100 pairs with a window of 16 each, everybody attached through
// one stream. An operation is a message: accepted, stored, in both inboxes, pushed
// to both members, acknowledged.
func BenchmarkLife(b *testing.B) {
	const pairs, window = 100, 16
	w := start(b)
	g := w.gate()
	for i := range 2 * pairs {
		w.users(fmt.Sprint("u", i))
		g.attach(uint64(i+1), fmt.Sprint("u", i), "d1")
	}
	body := strings.Repeat("x", 128)
	sent, answered, pushes := 0, 0, 0
	post := func(pair uint64) {
		from := 2 * (pair - 1)
		send, err := text(fmt.Sprint("u", from+1), im.NewID(), "", body).MarshalVT()
		must(b, err)
		g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
			Session: from + 1, Request: pair, UserId: fmt.Sprint("u", from), DeviceId: "d1", What: &imv1.Publish_Send{Send: send},
		}}})
		sent++
	}
	b.ResetTimer()
	for pair := uint64(1); pair <= pairs && sent < b.N; pair++ {
		for n := 0; n < window && sent < b.N; n++ {
			post(pair)
		}
	}
	for answered < b.N || pushes < 2*b.N {
		select {
		case r := <-g.replies:
			if r.GetSendAck() == nil {
				b.Fatal(r)
			}
			if answered++; sent < b.N {
				post(r.Request)
			}
		case <-g.pushes:
			pushes++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
