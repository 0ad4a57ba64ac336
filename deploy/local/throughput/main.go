// Command throughput measures, in one run on one machine, what RabbitMQ and MongoDB
// do alone and what the cluster does on them, and prints a table for
// docs/performance.md. `make cluster-bench` builds what it needs and runs it; it is
// to be run from the repository's root, on a machine with nothing else to do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

// options say how long and how much.
type options struct {
	binary   string
	raw      time.Duration // of each measurement of an engine alone
	warmup   time.Duration
	measured time.Duration // of the cluster
	pairs    int
	window   int
	profiles string // folder, where they are kept
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("throughput", flag.ContinueOnError)
	flags.StringVar(&o.binary, "im", "./im", "the `binary` to run")
	flags.DurationVar(&o.raw, "raw", 5*time.Second, "how long each engine is measured alone")
	flags.DurationVar(&o.warmup, "warmup", 5*time.Second, "load before the cluster is measured")
	flags.DurationVar(&o.measured, "duration", 20*time.Second, "how long it is measured")
	flags.IntVar(&o.pairs, "pairs", 100, "pairs of users")
	flags.IntVar(&o.window, "window", 16, "unacknowledged messages of each sender")
	flags.StringVar(&o.profiles, "profiles", "bench/results", "`folder` for the profiles of the transfers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := local.HasEngines(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.profiles, 0o755); err != nil { //nolint:gosec // figures are no secret
		return err
	}
	dir, err := os.MkdirTemp("", "im-throughput-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cluster, err := local.StartEngines(ctx, local.Options{Dir: dir, Binary: o.binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	alone, err := engines(ctx, cluster, o)
	if err != nil {
		return err
	}
	if err := cluster.StartServers(ctx, nil); err != nil {
		return fmt.Errorf("%w (see %s)", err, filepath.Join(dir, "servers.log"))
	}
	together, err := underLoad(ctx, cluster, o)
	if err != nil {
		return err
	}
	write(out, cluster, alone, together)
	return nil
}
