package rabbitmq_test

import (
	"testing"

	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/transfer"
)

// Without packs an acknowledged item never comes again, which the suite wants to
// see when consumers go.
func TestConforms(t *testing.T) {
	uri := broker(t)
	queuetest.Run(t, func(t *testing.T) queuetest.Opened {
		c := config(uri)
		c.PackBytes = -1
		q, other := open(t, c), open(t, c)
		return queuetest.Opened{
			Queue: queuetest.Of(q), Close: q.Close,
			Another: func() transfer.Queue { return queuetest.Of(other) },
		}
	})
}
