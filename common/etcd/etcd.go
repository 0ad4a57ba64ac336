// Package etcd keeps the registry in etcd: who lives, the cluster's facts, and the
// settings that change while servers run.
//
// A Registry mirrors the cluster's few keys. One goroutine reads them all a few
// times per TTL, which also tells whether etcd answers, and in between follows a
// watch, which makes it quick. What callers watch are views of the mirror, so that
// the last list stands while etcd is away. A goroutine for each server registered
// here keeps its row alive.
//
// The keys, all under /im/<cluster>/:
//
//	facts            im.ClusterFacts as JSON; whoever writes it first has set them
//	servers/<id>     im.Server as JSON, under the lease of its server
//	settings/<name>  a setting's value as text
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/logutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// ErrClosed is what calls return after Close.
var ErrClosed = errors.New("the registry is closed")

// Options say where etcd is and how long things take.
type Options struct {
	// URI is one address or several with commas between: http://host:2379, or https
	// for TLS, with user:password@ where etcd asks for it. /name after an address
	// is the cluster's, as Cluster; ?ca=, &cert= and &key= name PEM files: whom to
	// trust in place of the system's roots, and what to show.
	URI string
	// Cluster separates clusters in one etcd: 1 to 64 of a-z, 0-9, '.', '_' and '-';
	// empty = the URI's, or else "im".
	Cluster  string
	Username string      // empty = the URI's
	Password string      // of Username
	TLS      *tls.Config // nil = what the URI says
	// TTL is how long a server that has died stays listed; whole seconds, at least
	// 1, 0 = 10 s. The same for all servers of a cluster. etcd may raise it to its
	// own least, about 2 s.
	TTL time.Duration
	// Timeout bounds every call that asks etcd; 0 = 5 s.
	Timeout time.Duration
	// Wait is how long Open, Facts and the first Register of a server wait for an etcd
	// that does not answer; 0 = 10 s, less =
	// as long as the context.
	Wait time.Duration
	Log  *slog.Logger // nil = the default
}

// Registry is the registry as one server sees it. All methods are safe for
// concurrent use.
type Registry struct {
	options Options
	prefix  string // of all keys, with a slash at the end
	log     *slog.Logger
	client  *clientv3.Client
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	ending  sync.WaitGroup // registrations whose context has ended
	busy    chan struct{}  // holds a token while a registration is changed
	once    sync.Once

	mu     sync.Mutex // guards what follows; nobody asks etcd while holding it
	closed bool
	view   view
	feeds  map[feed]func() bool // with what forgets the feed's context
	mine   map[string]*registration
}

var clusterName = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// Open connects to etcd and reads the cluster's keys. While etcd does not answer it
// waits, at most Options.Wait and as long as the context.
func Open(ctx context.Context, options Options) (*Registry, error) {
	config, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("registry.uri: %w", err)
	}
	r := &Registry{
		options: options, prefix: "/im/" + options.Cluster + "/", log: options.Log,
		busy: make(chan struct{}, 1), view: newView(options.TTL), feeds: map[feed]func() bool{}, mine: map[string]*registration{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	m := &mirror{registry: r, unread: map[string]bool{}}
	bounded, cancel := ctx, func() {}
	if options.Wait > 0 {
		bounded, cancel = context.WithTimeout(ctx, options.Wait)
	}
	defer cancel()
	if err := r.connect(bounded, config, m); err != nil {
		r.cancel()
		if bounded.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("it does not answer within %s: %w", options.Wait, err)
		}
		return nil, fmt.Errorf("registry.uri: etcd at %s: %w", strings.Join(config.Endpoints, ","), err)
	}
	r.running.Go(m.run)
	return r, nil
}

// complete fills in what was left out and returns the client's configuration.
func (o *Options) complete() (clientv3.Config, error) {
	config, err := o.parse()
	if err != nil {
		return config, err
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&o.TTL, 10 * time.Second}, {&o.Timeout, 5 * time.Second}, {&o.Wait, 10 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Cluster == "" {
		o.Cluster = "im"
	}
	if !clusterName.MatchString(o.Cluster) {
		return config, fmt.Errorf("%q is no name of a cluster", o.Cluster)
	}
	if o.TTL < time.Second || o.TTL%time.Second != 0 {
		return config, fmt.Errorf("a TTL of %s is not whole seconds", o.TTL)
	}
	// Whoever has lost its lease must be back within a TTL after an outage, so that
	// the pauses between attempts to connect may not grow beyond a part of it.
	config.DialTimeout = o.Timeout
	config.DialKeepAliveTime, config.DialKeepAliveTimeout = 10*time.Second, 3*time.Second
	config.DialOptions = []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: min(o.TTL/10, time.Second)},
		MinConnectTimeout: min(o.TTL/2, 5*time.Second),
	})}
	const silent = 100 // above every level: what an operator must know we log ourselves
	if config.Logger, err = logutil.CreateDefaultZapLogger(silent); err != nil {
		return config, fmt.Errorf("make etcd's logger: %w", err)
	}
	return config, nil
}

// connect makes the client, which asks for a token where there is a password, and
// reads the keys, again and again until that works or is hopeless.
func (r *Registry) connect(ctx context.Context, config clientv3.Config, m *mirror) error {
	forget := context.AfterFunc(ctx, r.cancel)
	config.Context = r.ctx
	err := again(ctx, func(ctx context.Context) (err error) {
		if r.client == nil {
			if r.client, err = clientv3.New(config); err != nil {
				return err
			}
		}
		return m.read(ctx)
	})
	if !forget() && err == nil {
		err = ctx.Err()
	}
	if err != nil && r.client != nil {
		r.client.Close()
	}
	return err
}

// Close ends the registrations of this process and everything that it watches. It
// takes at most about Options.Timeout; leases that could not be revoked by then run
// out by themselves. Later calls do nothing.
func (r *Registry) Close() error {
	var err error
	r.once.Do(func() { err = r.close() })
	return err
}

func (r *Registry) close() error {
	r.mu.Lock()
	r.closed = true
	mine := r.mine
	r.mine = map[string]*registration{}
	r.mu.Unlock()
	bounded, cancel := context.WithTimeout(context.Background(), r.options.Timeout)
	defer cancel()
	var errs []error
	for _, g := range mine {
		errs = append(errs, g.end(bounded))
	}
	r.ending.Wait() // they are bounded too
	r.cancel()
	r.running.Wait()
	r.mu.Lock()
	for f, forget := range r.feeds {
		forget()
		f.close()
	}
	clear(r.feeds)
	r.mu.Unlock()
	return errors.Join(append(errs, r.client.Close())...)
}
