package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/check/faults"
	"github.com/im-transfer/im/deploy/local"
)

// localSystem is a system that a check has started for itself.
type localSystem struct {
	dir        string   // of everything that it writes
	servers    []string // base URLs
	serviceKey string
	faults     faults.Set // that are asked for
	stop       func() error
}

// startLocal starts the system that the options ask for; nil where they ask for none.
func startLocal(ctx context.Context, log io.Writer, options checkOptions) (*localSystem, error) {
	if err := options.faults.validate(options.local); err != nil {
		return nil, err
	}
	start := map[string]func(context.Context, local.Options) (*localSystem, error){
		"embedded": startEmbedded, "cluster": startCluster,
	}[options.local]
	switch {
	case options.local == "":
		return nil, nil //nolint:nilnil // none is what was asked for
	case start == nil:
		return nil, fmt.Errorf("--local is %q: want embedded or cluster", options.local)
	case options.brokers != 1 && options.brokers != 3:
		return nil, fmt.Errorf("--brokers is %d: want 1 or 3", options.brokers)
	case options.brokers == 3 && options.local != "cluster":
		return nil, errors.New("--brokers 3 needs --local cluster")
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "im-check-")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "starting %s, with everything under %s\n", options.local, dir)
	system, err := start(ctx, local.Options{
		Dir: dir, Binary: binary, Brokers: options.brokers, Clocks: app.ClockFaults, Disk: options.faults.disk(log),
	})
	if err != nil {
		return nil, fmt.Errorf("%w (see %s)", err, dir)
	}
	system.dir = dir
	if len(options.faults.kinds) > 0 {
		if system.faults, err = system.faults.Only(options.faults.kinds...); err != nil {
			return nil, errors.Join(err, system.end(log, nil))
		}
	}
	return system, nil
}

// end stops the system and removes what it has written, unless someone will want to
// look into what has become of the check.
func (s *localSystem) end(log io.Writer, outcome error) error {
	err := s.stop()
	if outcome != nil && !errors.Is(outcome, context.Canceled) {
		fmt.Fprintf(log, "the data and logs are kept in %s\n", s.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func startEmbedded(ctx context.Context, options local.Options) (*localSystem, error) {
	e, err := local.StartEmbedded(ctx, options)
	if err != nil {
		return nil, err
	}
	return &localSystem{servers: []string{e.URL()}, serviceKey: e.ServiceKey, faults: faults.Embedded(e, leaseTTL), stop: e.Stop}, nil
}

// How soon the servers of a check's cluster take a silent one for dead: sooner than an
// operator has it, so that a run sees more of it.
const (
	leaseTTL  = 5 * time.Second
	heartbeat = 2 * time.Second
)

func startCluster(ctx context.Context, options local.Options) (*localSystem, error) {
	if err := local.HasEngines(); err != nil {
		return nil, err
	}
	options.Links = true
	cluster, err := local.StartEngines(ctx, options)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{"registry.ttl": leaseTTL.String(), "queue.heartbeat": heartbeat.String()}
	if err := cluster.StartServers(ctx, settings); err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	system := &localSystem{serviceKey: cluster.ServiceKey, faults: faults.Cluster(cluster, leaseTTL), stop: cluster.Stop}
	for _, server := range cluster.Role("http") {
		system.servers = append(system.servers, server.URL())
	}
	return system, nil
}
