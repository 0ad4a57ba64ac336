// Command cluster runs a whole system on this machine: RabbitMQ, etcd, MongoDB or
// its stand-in, Zipkin, and two of each of our servers, until Ctrl-C. What ends
// meanwhile is started again by a line that is typed. `make cluster` builds what it
// needs and starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/im-transfer/im/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// settings collects name=value pairs.
type settings map[string]string

func (s settings) String() string { return "" }

func (s settings) Set(pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return errors.New("want name=value")
	}
	s[name] = value
	return nil
}

// run starts the cluster, says where it is, does what is typed, and stops it when the
// context ends.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	options := local.Options{Settings: settings{}, Output: out, Count: map[string]int{}}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.StringVar(&options.Binary, "im", "./im", "the `binary` to run")
	flags.StringVar(&options.Dir, "data", "", "`folder` to keep everything in; else a temporary one, removed at the end")
	flags.BoolVar(&options.Tracing, "tracing", local.HasZipkin(), "run Zipkin")
	flags.IntVar(&options.Brokers, "brokers", 1, "of how many `nodes` RabbitMQ consists, 1 or 3")
	flags.Var(settings(options.Settings), "set", "`name=value` of a setting of all servers; may be given more than once")
	counts := map[string]*int{}
	for _, role := range local.Roles {
		counts[role] = flags.Int(role, 2, "how many "+role+" servers")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	for role, count := range counts {
		options.Count[role] = *count
	}
	if err := local.HasEngines(); err != nil {
		return err
	}
	remove, err := folder(&options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Fprintf(out, "starting the engines and servers, with everything under %s\n", options.Dir)
	cluster, err := local.StartEngines(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := cluster.StartServers(ctx, nil); err != nil {
		return err
	}
	greet(out, cluster, options)
	newConsole(cluster, out).serve(ctx, in)
	fmt.Fprintln(out, "stopping: the servers, then the engines")
	return nil
}

// folder makes the cluster's folder. What it returns removes a temporary one.
func folder(options *local.Options) (remove func() error, err error) {
	if options.Dir == "" {
		options.Dir, err = os.MkdirTemp("", "im-cluster-")
		return func() error { return os.RemoveAll(options.Dir) }, err
	}
	return func() error { return nil }, os.MkdirAll(options.Dir, 0o700)
}

// greet says where everything is, and what to do next.
func greet(out io.Writer, c *local.Cluster, options local.Options) {
	fmt.Fprint(out, "\nThe cluster is ready.\n\n")
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, server := range c.Servers {
		fmt.Fprintf(table, "  %s\t%s\t%s/metrics\tprocess %d\n", server.Name(), server.URL(), server.Admin(), server.PID())
	}
	note := ""
	if c.Mongo.StandIn() {
		note = "   (its stand-in, mongo-java-server: it judges no throughput)"
	}
	fmt.Fprintf(table, "  RabbitMQ\t%s\n  etcd\t%s\n  MongoDB\t%s%s\n", c.QueueURI(), c.Etcd.URI(), c.Mongo.URI(), note)
	if c.Zipkin != nil {
		fmt.Fprintf(table, "  Zipkin\t%s/zipkin/\n", c.Zipkin.URI())
	}
	table.Flush()
	web := c.Server("http", 1)
	if web == nil {
		return
	}
	fmt.Fprintf(out, `
Put load on it, and have it judged, from another terminal:

  %[1]s bench pairs --server %[2]s --service-key %[3]s --transport mixed --duration 30s

Talk to yourself, in two others:

  %[1]s chat --server %[2]s --user alice --password correct-horse --register
  %[1]s chat --server %[2]s --user bob --password correct-horse --register --to alice

Kill what you like with kill -9 meanwhile; what has ended is started again by a line
typed here, such as "restart transfer-1", or "restart rabbitmq" ("help" says more).
Ctrl-C stops everything.

`, options.Binary, web.URL(), c.ServiceKey)
}
