package local

import (
	"context"
	"maps"
)

// StartServers starts so many servers of each role as the options say and waits
// until all are ready. The settings given are those of all servers, over the
// options'.
func (c *Cluster) StartServers(ctx context.Context, settings map[string]string) error {
	c.setUp(settings)
	for _, role := range Roles {
		count, given := c.options.Count[role]
		if !given {
			count = 2
		}
		for range count {
			if _, err := c.Add(role); err != nil {
				return err
			}
		}
	}
	starts := make([]func() error, len(c.Servers))
	for i, server := range c.Servers {
		starts[i] = func() error { return server.Start(ctx) }
	}
	return together(starts)
}

// setUp makes the settings that all servers share.
func (c *Cluster) setUp(settings map[string]string) {
	c.settings = map[string]string{
		"store.driver": "mongo", "store.uri": c.Mongo.URI(),
		"queue.driver": "rabbitmq", "queue.uri": c.QueueURI(),
		"registry.driver": "etcd", "registry.uri": c.Etcd.URI(),
		"cluster.secret": c.plan.ClusterSecret, "auth.secret": c.plan.AuthSecret, "http.service_key": c.plan.ServiceKey,
	}
	if c.Zipkin != nil {
		c.settings["tracing.endpoint"] = c.Zipkin.Endpoint()
	}
	maps.Copy(c.settings, c.options.Settings)
	maps.Copy(c.settings, settings)
}

// Setting returns a setting that all servers share.
func (c *Cluster) Setting(name string) string { return c.settings[name] }

// Add plans one more server of a role and does not start it.
func (c *Cluster) Add(role string) (*Server, error) {
	server, err := c.newServer(role, len(c.Role(role))+1)
	if err == nil {
		c.Servers = append(c.Servers, server)
	}
	return server, err
}

// Role returns the servers of a role, by number.
func (c *Cluster) Role(role string) []*Server {
	var servers []*Server
	for _, server := range c.Servers {
		if server.Role == role {
			servers = append(servers, server)
		}
	}
	return servers
}

// Server returns the server of a role with a number, from 1; nil when there is none.
func (c *Cluster) Server(role string, number int) *Server {
	servers := c.Role(role)
	if number < 1 || number > len(servers) {
		return nil
	}
	return servers[number-1]
}
