package app

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/transfer"
)

// startTransfer starts the pipeline, and then lets the other servers in. At the end
// the pipeline stops first: while it finishes what is in hand its streams carry the
// answers.
func (p *process) startTransfer(ctx context.Context) error {
	listener, address, options, err := p.listenTransfer(ctx)
	if err != nil {
		return err
	}
	wire := newWire(listener, options...)
	p.started("grpc", wire.stop)
	p.watch("grpc", wire.failed)
	c := p.config
	var store transfer.Store = p.store
	if p.options.WrapStore != nil {
		store = p.options.WrapStore(store)
	}
	platforms, err := c.Session.PlatformLimits()
	if err != nil {
		return fmt.Errorf("session.platforms: %w", err)
	}
	id := im.NewID()
	server := transfer.New(transfer.Config{
		ServerID: id, Address: address,
		ConversationPartitions: c.Transfer.ConversationPartitions, InboxPartitions: c.Transfer.InboxPartitions,
		Prefetch: c.Transfer.Prefetch, Backlog: c.Transfer.Backlog,
		DevicesPerPlatform: c.Session.PerPlatform, PlatformDevices: platforms,
		Retention: c.Retention.Inbox, KeepConnections: c.Retention.Connections, KeepProgress: c.Retention.Progress,
		Metrics:     p.metrics,
		GiveUpAfter: p.giveUpAfter(), Now: p.now,
		Tracer: p.tracer("transfer", id),
	}, store, p.queue, p.registry, p.tokens, p.log)
	p.settings.follow(func(c *configs.Config) { server.SetPolicy(transferPolicy(c)) })
	p.started("transfer", server.Stop)
	if err := server.Start(ctx); err != nil {
		return fmt.Errorf("start transfer: %w", err)
	}
	p.watch("transfer", server.Failed())
	p.pipeline = server
	p.operators = append(p.operators, (&quarantine{transfer: server, log: p.log}).handle)
	wire.serve(server)
	return nil
}

// giveUpAfter is the silence of an engine after which a transfer leaves its partitions
// to others: that after which others take those of one that is silent itself. On the
// embedded drivers there are none.
func (p *process) giveUpAfter() time.Duration {
	if p.config.Embedded() {
		return 0
	}
	return p.config.Registry.TTL
}

// listenTransfer opens the listener that the transfer is reached by: in memory
// where all servers are in this process. It returns the address that others dial,
// and what is asked of them.
func (p *process) listenTransfer(ctx context.Context) (net.Listener, string, []grpc.ServerOption, error) {
	if p.config.Embedded() {
		listener := bufconn.Listen(wireBuffer)
		p.dial = dialMemory(listener)
		return listener, "transfer", nil, nil
	}
	c := p.config.Transfer
	options, stop, err := serverCredentials(p.config.Cluster, c.Listen, p.now, p.log)
	if err != nil {
		return nil, "", nil, err
	}
	p.started("certificates of grpc", stop)
	options = append(options, grpc.KeepaliveParams(serverAlive), grpc.KeepaliveEnforcementPolicy(aliveRules))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, "", nil, taken("transfer.listen", fmt.Errorf("transfer.listen: %w", err))
	}
	address := listener.Addr().String()
	p.Addresses["transfer.listen"] = address
	if c.Advertise != "" {
		address = c.Advertise
	}
	return listener, address, options, nil
}

// dialTransfers makes the way to the transfers, once for all links of the process.
func (p *process) dialTransfers() error {
	if p.dial != nil {
		return nil
	}
	options, stop, err := dialCredentials(p.config.Cluster, p.now, p.log)
	if err != nil {
		return err
	}
	p.started("certificates of links", stop)
	p.dial = dialNetwork(options...)
	return nil
}

// link starts a link of a role to the transfers.
func (p *process) link(role string) (*session.Link, string, error) {
	if err := p.dialTransfers(); err != nil {
		return nil, "", err
	}
	id := im.NewID()
	link := session.NewLink(session.LinkConfig{
		ServerID: id, Role: role, InboxPartitions: p.config.Transfer.InboxPartitions,
		ConversationPartitions: p.config.Transfer.ConversationPartitions,
		Servers:                p.registry, Dial: p.dial, Explain: explainer(p.config.Cluster, time.Now),
	}, p.log.With("server", role))
	p.started(role+" link", link.Stop)
	if err := link.Start(); err != nil {
		return nil, "", fmt.Errorf("start the link of the %s server: %w", role, err)
	}
	p.links = append(p.links, roleLink{role, link})
	return link, id, nil
}
