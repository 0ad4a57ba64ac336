package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/tcp"
	"github.com/im-transfer/im/websocket"
)

const (
	// drainRetry is what clients of a stopping server are asked to wait, spread by
	// a half either way.
	drainRetry = time.Second
	// drainPatience bounds how long a stopping server waits for them to go.
	drainPatience = 3 * time.Second
	// othersPatience bounds the question for the servers that they may go to.
	othersPatience = 500 * time.Millisecond
)

// listener is what the websocket and the tcp server have in common.
type listener interface {
	Start() error
	Addr() net.Addr
	Stop(ctx context.Context) error
}

func (p *process) startWebSocket(ctx context.Context) error {
	c := p.config.WebSocket
	certificate, stop, err := listenerTLS(c.TLS, "websocket", p.log)
	if err != nil {
		return err
	}
	p.started("certificates of websocket", stop)
	scheme := "ws"
	if certificate != nil {
		scheme = "wss"
	}
	return p.startGateway(ctx, "websocket", c.Advertise, scheme, websocket.Path, func(hub *session.Hub, log *slog.Logger) listener {
		return websocket.New(websocket.Config{
			Listen: c.Listen, Origins: c.Origins, HTTPPort: p.httpPort(), TLS: certificate,
		}, hub, log)
	})
}

func (p *process) startTCP(ctx context.Context) error {
	c := p.config.TCP
	certificate, stop, err := listenerTLS(c.TLS, "tcp", p.log)
	if err != nil {
		return err
	}
	p.started("certificates of tcp", stop)
	scheme := "tcp"
	if certificate != nil {
		scheme = "tls"
	}
	return p.startGateway(ctx, "tcp", c.Advertise, scheme, "", func(hub *session.Hub, log *slog.Logger) listener {
		return tcp.New(tcp.Config{Listen: c.Listen, TLS: certificate}, hub, log)
	})
}

// startGateway starts a server of live connections: its link to the transfers, its
// hub of sessions and its listener; last, clients may learn of it.
func (p *process) startGateway(ctx context.Context, role, advertise, scheme, path string,
	build func(*session.Hub, *slog.Logger) listener,
) error {
	log := p.log.With("server", role)
	link, id, err := p.link(role)
	if err != nil {
		return err
	}
	c := p.config.Session
	hub := session.NewHub(session.Config{
		ServerVersion: p.options.Version, HeartbeatSeconds: c.HeartbeatSeconds, Window: c.Window,
		AuthTimeout: c.AuthTimeout, SlowTimeout: c.SlowTimeout, MaxConnections: c.MaxConnections,
		ReturnRate: c.ReturnRate, Rooms: c.Rooms, Tracer: p.tracer(role, id),
	}, link, log)
	p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "im_unreadable_entries_total", ConstLabels: prometheus.Labels{"server": role},
		Help: "Sessions that ended in front of an inbox entry that could not be decoded. Alarm when it rises.",
	}, func() float64 { return float64(hub.Unreadable()) }))
	server := build(hub, log)
	if err := server.Start(); err != nil {
		return taken(role+".listen", err)
	}
	p.started(role, func(ctx context.Context) error {
		patient, cancel := context.WithTimeout(ctx, drainPatience)
		defer cancel()
		if err := hub.Drain(patient, drainRetry, p.others(patient, role, id)); err != nil {
			log.Warn("some connections did not end in time", "error", err)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- server.Stop(ctx) }() // it waits for the connections, which the hub ends
		return errors.Join(hub.Stop(ctx), <-stopped)
	})
	address := server.Addr().String()
	p.Addresses[role+".listen"] = address
	if advertise == "" {
		advertise = address
	}
	url := scheme + "://" + advertise + path
	p.Addresses[role+".url"] = url
	return p.register(ctx, im.Server{ID: id, Role: role, Address: advertise, URL: url}, hub.Connections)
}

// others returns the addresses of the other live servers of a role, the least loaded
// first; none where the registry does not say.
func (p *process) others(ctx context.Context, role, self string) []string {
	ctx, cancel := context.WithTimeout(ctx, othersPatience)
	defer cancel()
	lists, err := p.registry.Watch(ctx, role)
	if err != nil {
		return nil
	}
	servers := slices.Clone(<-lists)
	slices.SortFunc(servers, func(a, b im.Server) int { return cmp.Compare(a.Load, b.Load) })
	var addresses []string
	for _, server := range servers {
		if server.ID != self {
			addresses = append(addresses, server.Address)
		}
	}
	return addresses
}

// httpPort is the port of the http server, whose pages may connect.
func (p *process) httpPort() string {
	_, port, err := net.SplitHostPort(p.Addresses["http.listen"])
	if err != nil {
		return ""
	}
	return port
}
