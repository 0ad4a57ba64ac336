package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// lookupTimeout bounds one question to one http server.
const lookupTimeout = 10 * time.Second

// gateways finds the server that a device connects to, as any client does: it asks
// one of the http servers, another when that does not answer. Gateways that were
// given are used instead, in turn.
type gateways struct {
	given     map[string][]*url.URL // by transport
	transport *http.Transport
	apis      []*client.API
	current   atomic.Uint32 // the http server that answered last
}

func newGateways(c *Config) (*gateways, error) {
	g := &gateways{
		given:     map[string][]*url.URL{},
		transport: &http.Transport{MaxIdleConnsPerHost: c.Parallel, ForceAttemptHTTP2: true},
	}
	for _, address := range c.Gateways {
		target, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("gateway %q: %w", address, err)
		}
		transport := TCP
		if target.Scheme == "ws" || target.Scheme == "wss" {
			transport = WebSocket
		}
		g.given[transport] = append(g.given[transport], target)
	}
	web := &http.Client{Transport: g.transport, Timeout: time.Minute}
	for _, server := range strings.Split(c.Server, ",") {
		g.apis = append(g.apis, client.NewAPI(strings.TrimSpace(server), web))
	}
	return g, nil
}

// close gives the connections to the http servers up.
func (g *gateways) close() { g.transport.CloseIdleConnections() }

// api is the http server that accounts are made at.
func (g *gateways) api() *client.API { return g.apis[0] }

// gateway is a server to connect to; its id is empty for one that was given.
type gateway struct {
	id  string
	url *url.URL
}

// find returns where a device connects to now, if possible not to the server that
// has failed it.
func (g *gateways) find(ctx context.Context, d *device) (gateway, error) {
	if d.next != "" {
		return named(d.transport, d.next), nil
	}
	if targets := g.given[d.transport]; len(targets) > 0 {
		return gateway{url: targets[int(d.history.Ref())%len(targets)]}, nil
	}
	var exclude []string
	if d.failed != "" {
		exclude = []string{d.failed}
	}
	found, err := g.ask(ctx, d.token, d.transport, exclude)
	if err != nil {
		return gateway{}, fmt.Errorf("ask for a %s server: %w", d.transport, err)
	}
	target, err := url.Parse(found.URL)
	if err != nil {
		return gateway{}, fmt.Errorf("ask for a %s server: %w", d.transport, err)
	}
	return gateway{found.ServerID, target}, nil
}

// named is a server whose address another one has told.
func named(transport, address string) gateway {
	if transport == TCP {
		return gateway{url: &url.URL{Scheme: "tcp", Host: address}}
	}
	return gateway{url: &url.URL{Scheme: "ws", Host: address, Path: "/ws"}}
}

func (g *gateways) ask(ctx context.Context, token, transport string, exclude []string) (client.Gateway, error) {
	var errs []error
	first := g.current.Load()
	for i := range uint32(len(g.apis)) {
		at := (first + i) % uint32(len(g.apis))
		bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
		found, err := g.apis[at].WithToken(token).Gateway(bounded, transport, exclude)
		cancel()
		var refusal *im.Error
		if err == nil || errors.As(err, &refusal) && refusal.Code.Final() {
			g.current.Store(at)
			return found, err
		}
		errs = append(errs, err)
	}
	return client.Gateway{}, errors.Join(errs...)
}
