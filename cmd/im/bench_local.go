package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/im-transfer/im/bench"
	"github.com/im-transfer/im/deploy/local"
)

// The ways in which a storm's server ends.
const (
	strikeKill = "kill" // kill -9
	strikeStop = "stop" // SIGTERM: devices are told to go
)

// startBench starts the system that --local asks for and tells the config of it: where it
// is, its processes, and how to end its server. Nil where none is asked for.
func startBench(ctx context.Context, log io.Writer, output benchOutput, config *bench.Config) (*localSystem, error) {
	start := map[string]func(context.Context, local.Options, string, *bench.Config) (*localSystem, error){
		"embedded": benchEmbedded, "cluster": benchCluster,
	}[output.local]
	switch {
	case output.local == "":
		return nil, nil //nolint:nilnil // none is what was asked for
	case start == nil:
		return nil, fmt.Errorf("--local is %q: want embedded or cluster", output.local)
	case output.strike != strikeKill && output.strike != strikeStop:
		return nil, fmt.Errorf("--strike is %q: want kill or stop", output.strike)
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "im-bench-")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "starting %s, with everything under %s\n", output.local, dir)
	system, err := start(ctx, local.Options{Dir: dir, Binary: binary}, output.strike, config)
	if err != nil {
		return nil, fmt.Errorf("%w (see %s)", err, dir)
	}
	system.dir = dir
	return system, nil
}

// benchEmbedded starts one process; a strike ends it and starts it again.
func benchEmbedded(ctx context.Context, options local.Options, strike string, config *bench.Config) (*localSystem, error) {
	e, err := local.StartEmbedded(ctx, options)
	if err != nil {
		return nil, err
	}
	config.Server, config.ServiceKey, config.PIDs = e.URL(), e.ServiceKey, []int{e.PID()}
	config.Strike = func(ctx context.Context) error {
		return errors.Join(ends(e.Server, strike), e.Start(ctx))
	}
	return &localSystem{stop: e.Stop}, nil
}

// benchCluster starts a cluster, for a storm with one server of the run's transport: a
// strike starts another and ends the first, so that all devices are its and have one to
// go to.
func benchCluster(ctx context.Context, options local.Options, strike string, config *bench.Config) (*localSystem, error) {
	transport := cmp.Or(config.Transport, bench.WebSocket)
	if config.Mode == bench.Storm {
		if transport == bench.Mixed {
			return nil, errors.New("a storm ends a server of one transport: --transport is websocket or tcp")
		}
		options.Count = map[string]int{transport: 1}
	}
	if err := local.HasEngines(); err != nil {
		return nil, err
	}
	cluster, err := local.StartEngines(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := cluster.StartServers(ctx, nil); err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	servers := cluster.Role("http")
	config.Server, config.ServiceKey = servers[0].URL()+","+servers[1].URL(), cluster.ServiceKey
	for _, server := range cluster.Servers {
		config.PIDs = append(config.PIDs, server.PID())
	}
	config.Strike = func(ctx context.Context) error {
		other, err := cluster.Add(transport)
		if err == nil {
			err = other.Start(ctx)
		}
		if err != nil {
			return err
		}
		return ends(cluster.Server(transport, 1), strike)
	}
	return &localSystem{stop: cluster.Stop}, nil
}

// ends ends a server.
func ends(server *local.Server, strike string) error {
	if strike == strikeStop {
		return server.Stop()
	}
	server.Kill()
	return nil
}
