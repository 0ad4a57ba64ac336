package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Brokers are several nodes of RabbitMQ that form one broker: its queues have a
// copy on each of three, one of which leads. Each node may be killed, paused and
// started again by itself, and keeps its address. They share a port mapper and a
// cookie with each other and nothing with anybody else. One goroutine uses them.
type Brokers struct {
	Nodes []*RabbitMQ

	mapper *process
}

// StartBrokers starts a node on each of these ports of 127.0.0.1, 0 for one that is
// free, with all their files in dir, and waits until all of them take connections,
// at most four minutes. A folder that was that of Brokers before needs the same ports
// again: they are in the nodes' names.
func StartBrokers(ctx context.Context, dir string, ports ...int) (*Brokers, error) {
	b, err := newBrokers(dir, ports)
	if err != nil {
		return nil, err
	}
	var starts []func() error
	for _, node := range b.Nodes { // at once: those of a cluster wait for each other
		starts = append(starts, func() error { return node.Start(ctx) })
	}
	if err := together(starts); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// newBrokers writes the nodes' files and starts their port mapper.
func newBrokers(dir string, ports []int) (*Brokers, error) {
	bin, err := rabbitmqPrograms()
	if err != nil {
		return nil, err
	}
	free, err := FreePorts(1 + 2*len(ports))
	if err != nil {
		return nil, err
	}
	epmd, amqp, dist := free[0], free[1:1+len(ports)], free[1+len(ports):]
	peers := make([]string, len(ports))
	for i, port := range ports {
		if port != 0 {
			amqp[i] = port
		}
		peers[i] = nodeName(amqp[i])
	}
	b, cookie := &Brokers{}, rand.Text()
	for i := range ports {
		node := newRabbitMQ(bin, filepath.Join(dir, strconv.Itoa(i+1)), amqp[i], epmd, dist[i])
		node.name, node.peers = fmt.Sprintf("RabbitMQ %d", i+1), peers
		b.Nodes = append(b.Nodes, node)
		if err := errors.Join(node.writeConfig(), node.writeCookie(cookie)); err != nil {
			return nil, fmt.Errorf("configure RabbitMQ: %w", err)
		}
	}
	b.mapper, err = startMapper(epmd, filepath.Join(dir, "epmd"))
	return b, err
}

// writeCookie lets a node talk with those that have the same cookie.
func (r *RabbitMQ) writeCookie(cookie string) error {
	file := filepath.Join(r.dir, ".erlang.cookie")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) { // it is for reading only
		return err
	}
	return os.WriteFile(file, []byte(cookie), 0o400)
}

// URI returns where clients connect: the addresses of all nodes, with commas between
// them, as queue.uri takes them.
func (b *Brokers) URI() string { return strings.Join(b.URIs(), ",") }

// URIs returns the addresses of all nodes.
func (b *Brokers) URIs() []string {
	uris := make([]string, len(b.Nodes))
	for i, node := range b.Nodes {
		uris[i] = node.URI()
	}
	return uris
}

// Leader returns the node that leads a queue, asked of a node that runs. It takes
// some seconds.
func (b *Brokers) Leader(ctx context.Context, queue string) (*RabbitMQ, error) {
	leaders, err := b.Leaders(ctx)
	if err != nil {
		return nil, err
	}
	if leaders[queue] == nil {
		return nil, fmt.Errorf("nobody leads the queue %s", queue)
	}
	return leaders[queue], nil
}

// Leaders returns which node leads which queue. Queues without a leader just now are
// left out.
func (b *Brokers) Leaders(ctx context.Context) (map[string]*RabbitMQ, error) {
	var running *RabbitMQ
	named := map[string]*RabbitMQ{}
	for _, node := range b.Nodes {
		named[node.Node()] = node
		if node.PID() != 0 {
			running = node
		}
	}
	if running == nil {
		return nil, errors.New("no node of RabbitMQ runs")
	}
	text, err := running.Control(ctx, "list_queues", "--no-table-headers", "name", "leader")
	if err != nil {
		return nil, err
	}
	leaders := map[string]*RabbitMQ{}
	for line := range strings.Lines(text) {
		queue, leader, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if node := named[leader]; node != nil {
			leaders[queue] = node
		}
	}
	return leaders, nil
}

// Stop ends all nodes in order, and their port mapper. It may be called again.
func (b *Brokers) Stop() error {
	var stops []func() error
	for _, node := range b.Nodes {
		stops = append(stops, node.Stop)
	}
	err := together(stops)
	if b.mapper != nil {
		b.mapper.kill()
		b.mapper = nil
	}
	return err
}
