package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Options of a Cluster. What is left out has the default that is said.
type Options struct {
	Dir    string         // of everything that the cluster writes; it must be there
	Binary string         // im, to run
	Count  map[string]int // of servers by role; two of each
	// Settings of all servers, by name, over those that the cluster gives.
	Settings map[string]string
	// Output takes the logs of all servers, each line with its server in front.
	// Nil: dir/servers.log.
	Output io.Writer
	// Tracing: Zipkin is started too.
	Tracing bool
	// Brokers is of how many nodes RabbitMQ consists; one, which is the default, or
	// three, each of which costs some 120 MB and half a minute of one core to start.
	Brokers int
	// Links: every connection between two parts goes through a link that can be
	// harmed, and so does every one of a client; see Links.
	Links bool
	// Clocks: the binary is a build with the tag fault, and the servers' wall clocks can
	// be made wrong; see Server.StepClock.
	Clocks bool
	// Disk, where it is above zero, is the size in bytes of a disk of their own that the
	// data of an embedded server are on; see Embedded.Disk.
	Disk int64
}

// Cluster is a whole system on this machine: the engines, and our servers as
// processes of their own. Everything in it can be stopped, killed, paused and
// started again by itself, and keeps its addresses. Nothing of it outlives this
// process, on Linux not even a kill -9. One goroutine uses it.
type Cluster struct {
	Dir        string
	RabbitMQ   *RabbitMQ // or the first of Brokers
	Brokers    *Brokers  // nil: RabbitMQ is one node
	Etcd       *Etcd
	Mongo      *Mongo
	Zipkin     *Zipkin // nil without tracing
	Servers    []*Server
	ServiceKey string // of the HTTP API

	borrowed bool // the engines are another cluster's
	options  Options
	plan     *plan
	settings map[string]string // of all servers
	output   *output
	log      io.Closer // nil = the caller's
	network  *network  // nil without links
}

// HasEngines says what is missing to start a cluster; nil when nothing is.
func HasEngines() error {
	var errs []error
	for name, has := range map[string]bool{"RabbitMQ": HasRabbitMQ(), "etcd": HasEtcd(), "MongoDB, or Java and Maven for its stand-in,": HasMongo()} {
		if !has {
			errs = append(errs, fmt.Errorf("%s is not installed", name))
		}
	}
	return errors.Join(errs...)
}

// StartEngines starts RabbitMQ, etcd, MongoDB and Zipkin, on the data that the
// folder has if it was a cluster's before. The servers come with StartServers; in
// between a caller may put something of its own between them. After an error
// nothing runs.
func StartEngines(ctx context.Context, options Options) (*Cluster, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkSettings(ctx, options.Binary, options.Settings); err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, options: options, output: &output{to: options.Output}}
	if c.plan, err = openPlan(dir); err != nil {
		return nil, fmt.Errorf("open the cluster: %w", err)
	}
	c.ServiceKey = c.plan.ServiceKey
	if options.Output == nil {
		file, err := os.OpenFile(filepath.Join(dir, "servers.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, errors.Join(err, c.plan.close())
		}
		c.output.to, c.log = file, file
	}
	if options.Links {
		c.network = newNetwork()
	}
	if err := c.startEngines(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) startEngines(ctx context.Context) error {
	ports, err := c.plan.ports("amqp", "etcd", "mongo", "zipkin")
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	starts := []func() error{
		func() error { return c.startRabbitMQ(ctx, in("rabbitmq"), ports[0]) },
		func() (err error) { c.Etcd, err = StartEtcd(ctx, in("etcd"), ports[1]); return err },
		func() (err error) { c.Mongo, err = StartMongo(ctx, in("mongo"), ports[2]); return err },
	}
	if c.options.Tracing {
		starts = append(starts, func() (err error) { c.Zipkin, err = StartZipkin(ctx, in("zipkin"), ports[3]); return err })
	}
	return together(starts)
}

// startRabbitMQ starts the broker, of one node or several.
func (c *Cluster) startRabbitMQ(ctx context.Context, dir string, port int) (err error) {
	if c.options.Brokers <= 1 {
		c.RabbitMQ, err = StartRabbitMQ(ctx, dir, port)
		return err
	}
	names := make([]string, c.options.Brokers)
	for i := range names {
		names[i] = fmt.Sprintf("amqp %d", i+1)
	}
	ports, err := c.plan.ports(names...)
	if err != nil {
		return err
	}
	if c.Brokers, err = StartBrokers(ctx, dir, ports...); err != nil {
		return err
	}
	c.RabbitMQ = c.Brokers.Nodes[0]
	return nil
}

// QueueURI returns where the servers find RabbitMQ, with all its nodes.
func (c *Cluster) QueueURI() string {
	if c.Brokers != nil {
		return c.Brokers.URI()
	}
	return c.RabbitMQ.URI()
}

// together does all things at once and waits for all of them.
func together(things []func() error) error {
	errs := make([]error, len(things))
	var running sync.WaitGroup
	for i, do := range things {
		running.Go(func() { errs[i] = do() })
	}
	running.Wait()
	return errors.Join(errs...)
}

// Stop stops everything in order: the servers that clients connect to, the
// transfers, the engines. The data stays. It may be called again.
func (c *Cluster) Stop() error {
	var edge, pipeline, engines []func() error
	for _, server := range c.Servers {
		if server.Role == "transfer" {
			pipeline = append(pipeline, server.Stop)
		} else {
			edge = append(edge, server.Stop)
		}
	}
	if !c.borrowed {
		engines = c.engines()
	}
	err := errors.Join(together(edge), together(pipeline), together(engines), c.plan.close())
	if c.network != nil {
		c.network.close()
	}
	if c.log != nil {
		err = errors.Join(err, c.log.Close())
		c.log = nil
	}
	return err
}

// engines returns what stops those that were started.
func (c *Cluster) engines() (stops []func() error) {
	switch {
	case c.Brokers != nil:
		stops = append(stops, c.Brokers.Stop)
	case c.RabbitMQ != nil:
		stops = append(stops, c.RabbitMQ.Stop)
	}
	if c.Etcd != nil {
		stops = append(stops, c.Etcd.Stop)
	}
	if c.Mongo != nil {
		stops = append(stops, c.Mongo.Stop)
	}
	if c.Zipkin != nil {
		stops = append(stops, c.Zipkin.Stop)
	}
	return stops
}
