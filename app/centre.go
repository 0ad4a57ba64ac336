package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/im-transfer/im/common/etcd"
	"github.com/im-transfer/im/configs"
)

// Centre is the configuration centre as an operator sees it.
type Centre struct {
	own      *configs.Config
	registry centreRegistry
	close    func() error
}

// centreRegistry is where the configuration centre is kept.
type centreRegistry interface {
	Settings(ctx context.Context) (<-chan map[string]string, error)
	PutSetting(ctx context.Context, name, value string) error
	DeleteSetting(ctx context.Context, name string) error
}

// Setting is a setting that can change while servers run, or a name in the centre
// that is none.
type Setting struct {
	Name    string
	Own     string // what the servers' own configuration says, if it is that of the Centre
	Centre  string // what the centre says, where IsSet
	IsSet   bool
	InForce string // empty where Problem says why the centre's value is not
	Problem error
}

// OpenCentre connects to the registry of a configuration, which should be that of
// the servers.
func OpenCentre(ctx context.Context, config *configs.Config, log *slog.Logger) (*Centre, error) {
	if config.Registry.Driver.Driver != "etcd" {
		return nil, errors.New("registry.driver: settings are changed for a cluster, whose registry is etcd; " +
			"those of a server on the embedded drivers are in its own configuration")
	}
	registry, err := etcd.Open(ctx, etcd.Options{URI: string(config.Registry.URI), TTL: config.Registry.TTL, Log: log})
	if err != nil {
		return nil, err
	}
	return &Centre{own: config, registry: registry, close: registry.Close}, nil
}

// Close ends the connection.
func (c *Centre) Close() error { return c.close() }

// List returns all settings by name.
func (c *Centre) List(ctx context.Context) ([]Setting, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed, err := c.registry.Settings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	centre := <-feed // it is there at once
	names := configs.Dynamic()
	for name := range centre {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	list := make([]Setting, len(names))
	for i, name := range names {
		list[i] = c.describe(name, centre)
	}
	return list, nil
}

func (c *Centre) describe(name string, centre map[string]string) Setting {
	s := Setting{Name: name, Own: c.own.Value(name), InForce: c.own.Value(name)}
	if s.Centre, s.IsSet = centre[name]; !s.IsSet {
		return s
	}
	next, err := c.own.With(name, s.Centre)
	if err != nil {
		s.InForce, s.Problem = "", err
		return s
	}
	s.InForce = next.Value(name)
	return s
}

// Set changes a setting for all servers, unless they would refuse it.
func (c *Centre) Set(ctx context.Context, name, value string) error {
	next, err := c.own.With(name, value)
	if err != nil {
		return err
	}
	return c.registry.PutSetting(ctx, name, next.Value(name))
}

// Unset lets a setting be again what the servers' own configuration says. A name
// that is no setting is removed too.
func (c *Centre) Unset(ctx context.Context, name string) error {
	return c.registry.DeleteSetting(ctx, name)
}
