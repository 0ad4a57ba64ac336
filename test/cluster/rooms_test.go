package cluster

import (
	"testing"

	"github.com/im-transfer/im/bench"
)

// A room with members on every gateway outlives its owner and one of the gateways: whoever
// was there is in again, and everybody sees all that was said, in one order.
func TestARoomOutlivesItsServers(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoadOf(t, bench.Rooms)
	for _, role := range []string{"transfer", "websocket"} {
		victim := c.busiest(role)

		load.strikes(func() error { victim.Kill(); return nil })

		load.recovers()
		c.starts(t, victim)
	}
	load.isJudged()
	if load.report.Room.Skipped > 0 {
		t.Errorf("%d deliveries were skipped, with nobody slow", load.report.Room.Skipped)
	}
}
