package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/im-transfer/im/deploy/local"
)

// part is a server or an engine, which can be ended and started again.
type part interface {
	Start(ctx context.Context) error
	Stop() error
	Kill()
	PID() int
	Ended() <-chan struct{}
}

// console does what is typed, and says when something has ended by itself. One
// goroutine uses it and the cluster.
type console struct {
	out    io.Writer
	names  []string
	parts  map[string]part
	ending chan ending
}

// ending is the end of a part's process.
type ending struct {
	name    string
	process <-chan struct{}
}

func newConsole(c *local.Cluster, out io.Writer) *console {
	k := &console{out: out, parts: map[string]part{}, ending: make(chan ending)}
	for _, server := range c.Servers {
		k.add(server.Name(), server)
	}
	if c.Brokers == nil {
		k.add("rabbitmq", c.RabbitMQ)
	} else {
		for i, node := range c.Brokers.Nodes {
			k.add(fmt.Sprintf("rabbitmq-%d", i+1), node)
		}
	}
	k.add("etcd", c.Etcd)
	k.add("mongo", c.Mongo)
	if c.Zipkin != nil {
		k.add("zipkin", c.Zipkin)
	}
	return k
}

func (k *console) add(name string, p part) {
	k.names = append(k.names, name)
	k.parts[name] = p
}

// serve does what comes by lines until ctx ends. The end of the lines is no end of the
// cluster: there may never have been any.
func (k *console) serve(ctx context.Context, in io.Reader) {
	lines := make(chan string)
	go read(ctx, in, lines)
	for _, name := range k.names {
		k.watch(ctx, name)
	}
	for {
		select {
		case line := <-lines:
			if err := k.do(ctx, strings.Fields(line)); err != nil {
				fmt.Fprintln(k.out, "cluster:", err)
			}
		case e := <-k.ending:
			if k.parts[e.name].Ended() == e.process { // else it was asked for
				fmt.Fprintf(k.out, "cluster: %s has ended; \"restart %s\" starts it again\n", e.name, e.name)
			}
		case <-ctx.Done():
			return
		}
	}
}

// read hands lines on. It ends with the input, which a terminal's may outlive ctx.
func read(ctx context.Context, in io.Reader, lines chan<- string) {
	for scanner := bufio.NewScanner(in); scanner.Scan(); {
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

// watch tells of the end of the process that a part has now.
func (k *console) watch(ctx context.Context, name string) {
	process := k.parts[name].Ended()
	if process == nil {
		return
	}
	go func() {
		select {
		case <-process:
		case <-ctx.Done():
			return
		}
		select {
		case k.ending <- ending{name, process}:
		case <-ctx.Done():
		}
	}()
}

const usage = `  restart NAME   end it in order, if it runs, and start it again
  kill NAME      end it as kill -9 does
  stop NAME      end it in order
  list           what runs
NAME is one of `

// do does one line.
func (k *console) do(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	if len(words) == 1 && words[0] == "list" {
		for _, name := range k.names {
			fmt.Fprintf(k.out, "  %-12s %s\n", name, state(k.parts[name]))
		}
		return nil
	}
	if len(words) != 2 || !slices.Contains([]string{"restart", "kill", "stop"}, words[0]) || k.parts[words[1]] == nil {
		_, err := fmt.Fprintf(k.out, "%s%s.\n", usage, strings.Join(k.names, ", "))
		return err
	}
	name, p := words[1], k.parts[words[1]]
	switch words[0] {
	case "kill":
		p.Kill()
	case "stop":
		return p.Stop()
	case "restart":
		if err := p.Stop(); err != nil {
			return err
		}
		if err := p.Start(ctx); err != nil {
			return err
		}
		k.watch(ctx, name)
	}
	fmt.Fprintf(k.out, "cluster: %s: %s\n", name, state(p))
	return nil
}

func state(p part) string {
	if process := p.Ended(); process != nil {
		select {
		case <-process:
		default:
			return fmt.Sprint("runs as process ", p.PID())
		}
	}
	return "does not run"
}
