package rabbitmq_test

import (
	"testing"

	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/transfer"
)

// With packs an acknowledged item may come again when a consumer goes, beside one
// that was not; without, never.
func TestConforms(t *testing.T) {
	for name, packBytes := range map[string]int{"items": -1, "packs": 0} {
		t.Run(name, func(t *testing.T) {
			uri := broker(t)
			queuetest.Run(t, func(t *testing.T) queuetest.Opened {
				c := config(uri)
				c.PackBytes = packBytes
				q, other := open(t, c), open(t, c)
				return queuetest.Opened{
					Queue: queuetest.Of(q), Close: q.Close, Packs: packBytes >= 0,
					Another: func() transfer.Queue { return queuetest.Of(other) },
				}
			})
		})
	}
}
