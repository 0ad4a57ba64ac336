package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/im-transfer/im/check/workload"
	"github.com/im-transfer/im/deploy/local"
)

// localSystem is a system that a check has started for itself.
type localSystem struct {
	dir        string   // of everything that it writes
	servers    []string // base URLs
	serviceKey string
	embedded   *local.Server // nil: a cluster
	stop       func() error
}

// startLocal starts the system that the options ask for; nil where they ask for none.
func startLocal(ctx context.Context, log io.Writer, options checkOptions) (*localSystem, error) {
	switch {
	case options.killEvery < 0 || options.killEvery > 0 && options.local != "embedded":
		return nil, errors.New("--kill-every needs --local embedded, and a time above zero")
	case options.local == "":
		return nil, nil //nolint:nilnil // none is what was asked for
	case options.local != "embedded" && options.local != "cluster":
		return nil, fmt.Errorf("--local is %q: want embedded or cluster", options.local)
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "im-check-")
	if err != nil {
		return nil, err
	}
	start := startCluster
	if options.local == "embedded" {
		start = startEmbedded
	}
	fmt.Fprintf(log, "starting %s, with everything under %s\n", options.local, dir)
	system, err := start(ctx, local.Options{Dir: dir, Binary: binary})
	if err != nil {
		return nil, fmt.Errorf("%w (see %s)", err, dir)
	}
	system.dir = dir
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
	return &localSystem{servers: []string{e.URL()}, serviceKey: e.ServiceKey, embedded: e.Server, stop: e.Stop}, nil
}

func startCluster(ctx context.Context, options local.Options) (*localSystem, error) {
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
	system := &localSystem{serviceKey: cluster.ServiceKey, stop: cluster.Stop}
	for _, server := range cluster.Role("http") {
		system.servers = append(system.servers, server.URL())
	}
	return system, nil
}

// injector returns what harms the system; nil where nothing is to.
func (s *localSystem) injector(options checkOptions, seed uint64) workload.Injector {
	if options.killEvery == 0 {
		return nil
	}
	dice := rand.New(rand.NewPCG(seed, 1<<40))
	return func(ctx context.Context, marks chan<- workload.Mark) error {
		for {
			wait := time.NewTimer(time.Duration((0.5 + dice.Float64()) * float64(options.killEvery)))
			select {
			case <-ctx.Done():
				wait.Stop()
				return nil
			case <-wait.C:
			}
			mark := workload.Mark{At: time.Now(), Kind: "kill -9", Target: "im all"}
			s.embedded.Kill()
			// A context of its own: it must be mended also when the load has ended.
			if err := s.embedded.Start(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			mark.Until = time.Now()
			marks <- mark
		}
	}
}
