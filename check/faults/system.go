package faults

import (
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// Embedded returns what can be done to a system of one process. For it the ttl only
// says how long its pauses are: nobody takes its place.
func Embedded(e *local.Embedded, ttl time.Duration) Set {
	set := append(ofProcess("all", e.Name(), e.Server, ttl), ofDisk(e)...)
	return append(set, ofClock(e.Server, -10*time.Second, 10*time.Second, -2*time.Minute, 2*time.Minute, -2*time.Hour, 2*time.Hour)...)
}

// Cluster returns what can be done to a cluster whose servers all run. The ttl is
// registry.ttl, or queue.heartbeat if that is longer.
func Cluster(c *local.Cluster, ttl time.Duration) Set {
	var set Set
	for _, server := range c.Servers {
		set = append(set, ofProcess(server.Role, server.Name(), server, ttl)...)
		set = append(set, ofClock(server, -10*time.Second, 10*time.Second, -2*time.Minute, 2*time.Minute)...)
	}
	set = append(set, ofRabbitMQ(c, ttl)...)
	set = append(set, ofProcess("etcd", "etcd", c.Etcd, ttl)...)
	set = append(set, ofProcess("mongo", "mongo", c.Mongo, ttl)...)
	set = append(set, ofMemory(c.RabbitMQ)...)
	return append(set, ofLinks(c, ttl)...)
}
