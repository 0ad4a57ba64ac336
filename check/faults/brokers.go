package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// KillLeader ends, with SIGKILL, the node of RabbitMQ that leads the most queues of a
// topic, and starts it again.
const KillLeader = "kill-leader"

// ofRabbitMQ returns what can be done to the broker: to its one node, or to each of
// several and to those that lead. All nodes are one part, so that two of three stay.
func ofRabbitMQ(c *local.Cluster, ttl time.Duration) Set {
	const part = "rabbitmq"
	if c.Brokers == nil {
		return ofProcess(part, part, c.RabbitMQ, ttl)
	}
	var set Set
	for i, node := range c.Brokers.Nodes {
		set = append(set, ofProcess(part, fmt.Sprintf("%s-%d", part, i+1), node, ttl)...)
	}
	for _, topic := range []string{"conversation", "inbox"} {
		set = append(set, Fault{
			Kind: KillLeader, Target: topic, Parts: []string{part}, Most: mostDown,
			Do: func(ctx context.Context) (func(context.Context) error, error) {
				leader, err := busiestLeader(ctx, c.Brokers, "im."+topic+".")
				if err != nil {
					return nil, err
				}
				leader.Kill()
				return leader.Start, nil
			},
		})
	}
	return set
}

// busiestLeader returns the node that leads the most of the queues whose names begin
// so.
func busiestLeader(ctx context.Context, brokers *local.Brokers, prefix string) (*local.RabbitMQ, error) {
	leaders, err := brokers.Leaders(ctx)
	if err != nil {
		return nil, err
	}
	led := map[*local.RabbitMQ]int{}
	for queue, node := range leaders {
		if strings.HasPrefix(queue, prefix) {
			led[node]++
		}
	}
	var busiest *local.RabbitMQ
	for _, node := range brokers.Nodes { // in their order: of two that lead as many, always the same
		if led[node] > led[busiest] {
			busiest = node
		}
	}
	if busiest == nil {
		return nil, fmt.Errorf("nobody leads a queue %s*", prefix)
	}
	return busiest, nil
}
