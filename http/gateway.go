package http

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

// gateways are the live servers of one transport as the registry has last told.
type gateways struct {
	mu      sync.Mutex
	servers []im.Server
}

type gatewayQuery struct {
	Transport string   `query:"transport" enum:"websocket,tcp" doc:"websocket if left out."`
	Exclude   []string `query:"exclude,explode" doc:"Servers that failed; one is given only when no other lives."`
}

// Gateway is a server to connect to.
type Gateway struct {
	ServerID string `json:"server_id"`
	Address  string `json:"address" doc:"host:port"`
	URL      string `json:"url" doc:"ws://…/ws or tcp://…"`
}

func (s *Server) gatewayRoutes(api huma.API) {
	register(s, api, operation("get-gateway", http.MethodGet, "/v1/gateway", "Gateway", byToken, "Find a server to connect to",
		"A live, least-loaded server of the transport; unavailable when none lives."), s.findGateway)
}

// follow keeps the lists of live servers until the context ends.
func (s *Server) follow(ctx context.Context) error {
	for role, list := range s.gateways {
		updates, err := s.Discovery.Watch(ctx, role)
		if err != nil {
			return wrap("watch "+role+" servers", err)
		}
		s.running.Go(func() {
			for servers := range updates {
				list.set(servers)
			}
		})
	}
	return nil
}

func (s *Server) findGateway(_ context.Context, in *gatewayQuery) (*answer[Gateway], error) {
	list, ok := s.gateways[orElse(in.Transport, "websocket")]
	if !ok {
		return nil, invalid("the transport is not websocket or tcp")
	}
	server, ok := list.pick(in.Exclude)
	if !ok {
		return nil, im.Retry(im.Unavailable, time.Second, "no server of this transport lives")
	}
	return reply(Gateway{server.ID, server.Address, server.URL}), nil
}

// set takes a new list. It is copied: pick counts in it.
func (g *gateways) set(servers []im.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.servers = slices.Clone(servers)
}

// lists reports whether a server is among them; true before there is a list.
func (g *gateways) lists(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.servers == nil || slices.ContainsFunc(g.servers, func(s im.Server) bool { return s.ID == id })
}

// pick returns the least loaded server that is not excluded, or of the excluded
// ones when there is no other. Whoever is sent there counts as load until the
// registry tells anew, so that a crowd does not go to one server.
func (g *gateways) pick(exclude []string) (im.Server, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	best := -1
	for i, server := range g.servers {
		if best < 0 || g.better(server, g.servers[best], exclude) {
			best = i
		}
	}
	if best < 0 {
		return im.Server{}, false
	}
	g.servers[best].Load++
	return g.servers[best], true
}

func (g *gateways) better(a, b im.Server, exclude []string) bool {
	if x, y := slices.Contains(exclude, a.ID), slices.Contains(exclude, b.ID); x != y {
		return y
	}
	return a.Load < b.Load
}
