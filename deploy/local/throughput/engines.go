package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/im-transfer/im/deploy/local"
)

// engine is what an engine does alone, driven by our driver as the pipeline drives
// it.
type engine struct {
	name string
	what string
	rate float64 // per second, of items or rows
	each float64 // of them for one direct message
}

// engines measures RabbitMQ and MongoDB by the drivers' benchmarks. For a direct
// message there is an item in its conversation's partition, and one in each of the two
// users' inbox partitions; an event in the store, and an entry in each of the two
// inboxes, of which the benchmark writes two in a block.
func engines(ctx context.Context, c *local.Cluster, o options) ([]engine, error) {
	measured := []struct {
		engine
		pkg, benchmark, variable, uri, unit string
	}{
		{
			engine{name: "RabbitMQ", what: "publish, confirm, consume and acknowledge 300 bytes, 16 partitions, packed", each: 3},
			"./common/rabbitmq", "^BenchmarkQueue$/^packed$/^partitions=16$", "IM_TEST_RABBITMQ_URI", c.RabbitMQ.URI(), "items/s",
		},
		{
			engine{name: "MongoDB", what: "ordered insert of events, 100 at once, from 16 partitions", each: 1},
			"./common/mongo", "^BenchmarkInsertEvents$/^batch=100$", "IM_TEST_MONGODB_URI", c.Mongo.URI(), "rows/s",
		},
		{
			engine{name: "MongoDB", what: "ordered insert of inbox blocks of two entries, 100 at once, from 16 partitions", each: 1},
			"./common/mongo", "^BenchmarkCommitInbox$/^blocks=100$", "IM_TEST_MONGODB_URI", c.Mongo.URI(), "rows/s",
		},
	}
	var all []engine
	for _, m := range measured {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", m.benchmark, "-benchtime", o.raw.String(), m.pkg) //nolint:gosec // ours
		cmd.Env = append(os.Environ(), m.variable+"="+m.uri)
		output, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w: %s", m.name, err, output)
		}
		figure := regexp.MustCompile(`([0-9.e+]+) ` + regexp.QuoteMeta(m.unit)).FindSubmatch(output)
		if figure == nil {
			return nil, fmt.Errorf("measure %s: no %s in %s", m.name, m.unit, output)
		}
		if m.rate, err = strconv.ParseFloat(string(figure[1]), 64); err != nil {
			return nil, fmt.Errorf("measure %s: %w", m.name, err)
		}
		all = append(all, m.engine)
	}
	return all, nil
}
