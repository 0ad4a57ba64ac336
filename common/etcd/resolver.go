package etcd

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/resolver"

	"github.com/im-transfer/im"
)

// Scheme is that of the names which the Resolver knows: "im:///transfer" is all live
// transfers.
const Scheme = "im"

// roundRobin spreads calls over all servers of a name.
const roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// Resolver returns a resolver of gRPC names for calls that any server of a role can
// answer: give it to grpc.NewClient by grpc.WithResolvers. Calls go to all servers in
// turn that can be reached. For streams that belong to one server, dial its address.
func (r *Registry) Resolver() resolver.Builder { return names{r} }

type names struct{ registry *Registry }

// Scheme returns Scheme.
func (names) Scheme() string { return Scheme }

// Build begins to follow the servers of a target's role.
func (n names) Build(target resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	lists, err := n.registry.Watch(ctx, target.Endpoint())
	if err != nil {
		cancel()
		return nil, fmt.Errorf("resolve %s: %w", target.URL.Redacted(), err)
	}
	f := &follower{cancel: cancel}
	config := conn.ParseServiceConfig(roundRobin)
	f.running.Go(func() {
		for list := range lists {
			state := resolver.State{Addresses: addresses(list), ServiceConfig: config}
			if err := conn.UpdateState(state); err != nil { // an empty list: calls wait or fail by themselves
				n.registry.log.Debug("gRPC takes no list of servers", "role", target.Endpoint(), "servers", len(list), "error", err)
			}
		}
	})
	return f, nil
}

func addresses(servers []im.Server) []resolver.Address {
	list := make([]resolver.Address, len(servers))
	for i, server := range servers {
		list[i] = resolver.Address{Addr: server.Address}
	}
	return list
}

// follower gives one gRPC client the lists of a role.
type follower struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// ResolveNow does nothing: every change is told by itself.
func (*follower) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends it.
func (f *follower) Close() {
	f.cancel()
	f.running.Wait()
}
