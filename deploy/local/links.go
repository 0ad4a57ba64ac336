package local

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/im-transfer/im/deploy/local/links"
)

// The names of parts that are no servers, at the ends of links.
const (
	PartRabbitMQ = "rabbitmq"
	PartEtcd     = "etcd"
	PartMongo    = "mongo"
	PartClients  = "clients"
)

// Link is the way from one part of a cluster to another: From connects to To. Parts
// are servers, by name, the engines, and all clients together.
type Link struct {
	*links.Link
	From, To string
}

// network is the links of a cluster. Servers reach an engine at an address that is
// the link's, and a transfer through a gate of their own, since it tells all of them
// the same address: its name, which leads nowhere but through a gate.
type network struct {
	gates []*links.Gate

	mu    sync.Mutex // gates look links up while servers are added
	links map[[2]string]Link
}

func newNetwork() *network { return &network{links: map[[2]string]Link{}} }

// link makes the link between two parts, if there is none.
func (n *network) link(from, to, target string) *links.Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	ends := [2]string{from, to}
	if _, known := n.links[ends]; !known {
		n.links[ends] = Link{Link: links.New(target), From: from, To: to}
	}
	return n.links[ends].Link
}

// between returns the link between two parts, nil where there is none.
func (n *network) between(from, to string) *links.Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[[2]string{from, to}].Link
}

// close breaks every link. A second call does nothing.
func (n *network) close() {
	for _, gate := range n.gates {
		gate.Close()
	}
	for _, link := range n.all() {
		link.Close()
	}
}

func (n *network) all() []Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]Link, 0, len(n.links))
	for _, link := range n.links {
		all = append(all, link)
	}
	slices.SortFunc(all, func(a, b Link) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return all
}

// Links returns the links of a cluster that was started with them, sorted by name:
// of every server to etcd, of http servers and transfers to MongoDB, of transfers to
// RabbitMQ, of all others to each transfer, and of the clients to each server that
// they connect to.
func (c *Cluster) Links() []Link {
	if c.network == nil {
		return nil
	}
	return c.network.all()
}

// Link returns the link from one part to another, nil where there is none.
func (c *Cluster) Link(from, to string) *links.Link {
	if c.network == nil {
		return nil
	}
	return c.network.between(from, to)
}

// SetLinks puts a fault on every link of a part.
func (c *Cluster) SetLinks(part string, fault links.Fault) {
	for _, link := range c.Links() {
		if link.From == part || link.To == part {
			link.Set(fault)
		}
	}
}

// joinNetwork leads what a server connects to, and what connects to it, over links.
func (c *Cluster) joinNetwork(s *Server) error {
	if err := c.linkEngines(s); err != nil {
		return err
	}
	if s.Role == "transfer" {
		_, port, _ := strings.Cut(s.Address(), ":")
		s.settings["transfer.advertise"] = s.name + ":" + port
		for _, other := range c.Servers {
			if other.Role != "transfer" {
				c.network.link(other.name, s.name, s.Address())
			}
		}
		return nil
	}
	for _, transfer := range c.Role("transfer") {
		c.network.link(s.name, transfer.name, transfer.Address())
	}
	gate, err := links.OpenGate(context.Background(), func(host string) *links.Link { return c.network.between(s.name, host) })
	if err != nil {
		return err
	}
	c.network.gates = append(c.network.gates, gate)
	s.proxy = gate.URL()
	if s.front, err = c.network.link(PartClients, s.name, s.Address()).Listen(); err != nil {
		return err
	}
	if s.Role != "http" {
		s.settings[s.Role+".advertise"] = s.front
	}
	return nil
}

// linkEngines puts links between a server and the engines that it uses.
func (c *Cluster) linkEngines(s *Server) error {
	engines := map[string]string{PartEtcd: "registry.uri"}
	switch s.Role {
	case "http":
		engines[PartMongo] = "store.uri"
	case "transfer":
		engines[PartMongo], engines[PartRabbitMQ] = "store.uri", "queue.uri"
	}
	for part, setting := range engines {
		uris := strings.Split(s.settings[setting], ",")
		for i, uri := range uris {
			node := part
			if len(uris) > 1 {
				node += "-" + strconv.Itoa(i+1)
			}
			var err error
			if uris[i], err = c.linkEngine(s, node, uri); err != nil {
				return fmt.Errorf("%s: %w", setting, err)
			}
		}
		s.settings[setting] = strings.Join(uris, ",")
	}
	return nil
}

// linkEngine puts a link between a server and an engine, or a node of it, and returns
// its URI as the server sees it.
func (c *Cluster) linkEngine(s *Server, node, address string) (string, error) {
	uri, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if uri.Host, err = c.network.link(s.name, node, uri.Host).Listen(); err != nil {
		return "", err
	}
	if node == PartMongo { // a replica set would tell its members' addresses, past the link
		uri.Path, uri.RawQuery = "/", "directConnection=true"
	}
	return uri.String(), nil
}
