package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	mongoReady = 5 * time.Minute  // bounds the wait for a MongoDB that starts; the stand-in reads all that it has
	mongoEnd   = 30 * time.Second // and for one that is told to stop, which writes its data out
)

// Mongo is a MongoDB with ports, data and log of its own on the loopback address:
// mongod as a replica set of one, or, where there is no mongod on PATH, the
// stand-in of mongo_java.go. One goroutine uses it.
type Mongo struct {
	service
	dir  string
	port int
}

// HasMongod reports whether a real MongoDB is installed here.
func HasMongod() bool {
	_, err := exec.LookPath("mongod")
	return err == nil
}

// HasMongo reports whether StartMongo can start anything: mongod, or a Java for the
// stand-in, and Maven unless the stand-in has been fetched before.
func HasMongo() bool { return HasMongod() || standIn().available() }

// StartMongo starts a MongoDB with all its files in dir, on a port of 127.0.0.1, 0
// for one that is free. It waits until it can be written to, at most five minutes, and
// longer only for the stand-in's first download.
func StartMongo(ctx context.Context, dir string, port int) (*Mongo, error) {
	m := &Mongo{service: service{name: "MongoDB", patience: mongoEnd}, dir: dir, port: port}
	if m.port == 0 {
		ports, err := FreePorts(1)
		if err != nil {
			return nil, err
		}
		m.port = ports[0]
	}
	if err := m.Start(ctx); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

// StandIn reports whether it is the stand-in: no transactions, no explain, no
// replica set.
func (m *Mongo) StandIn() bool { return !HasMongod() }

// Start starts it on the data that it has, after Stop or Kill. One that runs is
// left alone.
func (m *Mongo) Start(ctx context.Context) error {
	if m.runs() {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(m.dir, "data"), 0o700); err != nil {
		return fmt.Errorf("make MongoDB's folder: %w", err)
	}
	cmd, err := m.command(ctx)
	if err != nil {
		return fmt.Errorf("find MongoDB: %w", err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // the stand-in ends when we do, and it breaks
		return err
	}
	cmd.SysProcAttr = endingWithUs(syscall.SIGTERM) // mongod writes its data out
	output := filepath.Join(m.dir, "mongo.log")
	if m.server, err = startProcess(cmd, output); err != nil {
		return fmt.Errorf("start MongoDB: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, mongoReady)
	defer cancel()
	if err := m.server.until(bounded, func() bool { return m.writable(bounded) }); err != nil {
		return fmt.Errorf("start MongoDB, see %s: %w", output, err)
	}
	return nil
}

func (m *Mongo) command(ctx context.Context) (*exec.Cmd, error) {
	if m.StandIn() {
		return m.javaCommand(ctx)
	}
	return exec.Command("mongod", "--dbpath", filepath.Join(m.dir, "data"), "--port", strconv.Itoa(m.port), //nolint:gosec // the mongod on PATH
		"--bind_ip", "127.0.0.1", "--replSet", mongoSet, "--wiredTigerCacheSizeGB", "0.5", "--unixSocketPrefix", m.dir), nil
}

// writable reports whether it takes writes.
func (m *Mongo) writable(ctx context.Context) bool {
	if !m.StandIn() {
		return isPrimary(ctx, m.address())
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.address())
	if err != nil {
		return false
	}
	defer connection.Close()
	return true
}

func (m *Mongo) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

// URI returns its address, as store.uri wants it.
func (m *Mongo) URI() string {
	if m.StandIn() {
		return "mongodb://" + m.address()
	}
	return "mongodb://" + m.address() + "/?replicaSet=" + mongoSet
}
