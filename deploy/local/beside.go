package local

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Beside returns further clusters on the engines of this one, with which they share
// nothing else: each has a database, a virtual host of the broker and a place in the
// registry of its own, under the last element of its folder, which is made. Of the
// options they take all but those of the engines. Their servers come with
// StartServers; each may be used by another goroutine, and is stopped before this one.
func (c *Cluster) Beside(ctx context.Context, clusters ...Options) ([]*Cluster, error) {
	var names []string
	var made []*Cluster
	for _, options := range clusters {
		beside, err := c.beside(options)
		if err != nil {
			return nil, err
		}
		names, made = append(names, filepath.Base(beside.Dir)), append(made, beside)
	}
	return made, c.RabbitMQ.addHosts(ctx, names)
}

func (c *Cluster) beside(options Options) (*Cluster, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	settings := map[string]string{}
	for setting, uri := range map[string]string{
		"store.uri": c.Mongo.URI(), "queue.uri": c.RabbitMQ.URI(), "registry.uri": c.Etcd.URI(),
	} {
		if settings[setting], err = within(uri, filepath.Base(dir)); err != nil {
			return nil, err
		}
	}
	for setting, value := range options.Settings {
		settings[setting] = value
	}
	options.Settings = settings
	made := &Cluster{
		Dir: dir, RabbitMQ: c.RabbitMQ, Etcd: c.Etcd, Mongo: c.Mongo, options: options, borrowed: true,
		output: &output{to: options.Output},
	}
	if options.Output == nil {
		made.output = c.output
	}
	if made.plan, err = openPlan(dir); err != nil {
		return nil, fmt.Errorf("open the cluster: %w", err)
	}
	made.ServiceKey = made.plan.ServiceKey
	return made, nil
}

// within is the address of a part of an engine.
func within(uri, name string) (string, error) {
	parsed, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	parsed.Path = "/" + name
	return parsed.String(), nil
}

// addHosts makes virtual hosts for our user, all with one call, for each takes seconds.
func (r *RabbitMQ) addHosts(ctx context.Context, names []string) error {
	_, err := r.Control(ctx, "eval", `[begin
		rabbit_vhost:add(Name, <<"im">>),
		ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"im">>)
	end || Name <- [<<"`+strings.Join(names, `">>, <<"`)+`">>]].`)
	return err
}
