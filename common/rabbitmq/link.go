package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	dialTimeout   = 5 * time.Second // for TCP, TLS and the AMQP handshake
	redialFirst   = 50 * time.Millisecond
	redialLongest = 2 * time.Second
	closeTimeout  = time.Second
)

// link is a connection that is made anew whenever it breaks, each time to the next
// of the broker's nodes.
type link struct {
	purpose string
	config  Config
	node    int // the first to try, an index of config.URIs
	log     *slog.Logger
	prepare func(*amqp.Connection) error // what must be done before it is used
	blocked func(bool)                   // told what the broker says, false at first
	leaving chan error                   // holds one reason to give the connection up

	mu      sync.Mutex // guards what follows
	conn    *amqp.Connection
	fault   error         // why there is none
	changed chan struct{} // closed when conn or fault changes
}

func newLink(purpose string, config Config, node int, prepare func(*amqp.Connection) error, blocked func(bool)) *link {
	return &link{
		purpose: purpose, config: config, node: node, log: config.Log.With("connection", purpose),
		prepare: prepare, blocked: blocked, leaving: make(chan error, 1), changed: make(chan struct{}),
	}
}

// leave gives the connection up, for the next node, if there is one. It never waits.
func (l *link) leave(reason error) {
	select {
	case l.leaving <- reason:
	default:
	}
}

// stay forgets a reason to give the last connection up: it is none for the next.
func (l *link) stay() {
	select {
	case reason := <-l.leaving:
		l.log.Debug("left already", "reason", reason)
	default:
	}
}

// await returns the connection as soon as there is one. strict: not if the broker
// is reached and has queues that are not ours.
func (l *link) await(ctx context.Context, strict bool) (*amqp.Connection, error) {
	for {
		l.mu.Lock()
		conn, fault, changed := l.conn, l.fault, l.changed
		l.mu.Unlock()
		switch {
		case conn != nil:
			return conn, nil
		case strict && errors.Is(fault, ErrArguments), errors.Is(fault, ErrClosed):
			return nil, fault
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the broker: %w", context.Cause(ctx)), fault)
		}
	}
}

func (l *link) set(conn *amqp.Connection, fault error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.fault = conn, fault
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps the connection until the context ends.
func (l *link) run(ctx context.Context) {
	defer l.set(nil, ErrClosed)
	wait := redialFirst
	for attempt := l.node; ctx.Err() == nil; attempt++ {
		err := l.once(ctx, l.config.URIs[attempt%len(l.config.URIs)], &wait)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("no connection to RabbitMQ; trying again", "in", wait, "error", err)
		l.set(nil, err)
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
		}
		wait = min(2*wait, redialLongest)
	}
}

// once lives through one connection and says why it ended.
func (l *link) once(ctx context.Context, uri string, wait *time.Duration) error {
	conn, raw, err := l.dial(ctx, uri)
	if err != nil {
		return err
	}
	defer hangUp(conn, raw)
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	stop := context.AfterFunc(ctx, func() { raw.Close() }) // it waits for the broker
	err = l.prepare(conn)
	if stop(); err != nil {
		return err
	}
	*wait = redialFirst
	l.log.Info("connected to RabbitMQ", "node", conn.RemoteAddr().String(), "version", conn.Properties["version"])
	l.blocked(false)
	l.stay()
	l.set(conn, nil)
	for {
		select {
		case b, ok := <-blocked:
			if !ok {
				blocked = nil
				continue
			}
			l.log.Warn("RabbitMQ blocks publishers, or no longer does", "blocked", b.Active, "reason", b.Reason)
			l.blocked(b.Active)
		case reason := <-closed:
			if reason == nil {
				return amqp.ErrClosed
			}
			return reason
		case reason := <-l.leaving:
			return reason
		case <-ctx.Done():
			l.set(nil, ErrClosed)
			return ctx.Err()
		}
	}
}

func (l *link) dial(ctx context.Context, uri string) (*amqp.Connection, net.Conn, error) {
	var raw net.Conn
	stop := func() bool { return true }
	defer func() { stop() }()
	config := amqp.Config{
		Heartbeat:       l.config.Heartbeat,
		TLSClientConfig: l.config.TLS.Clone(),
		Properties:      amqp.NewConnectionProperties(),
		Dial: func(network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn.SetDeadline(time.Now().Add(dialTimeout)) // taken back after the handshake
			stop = context.AfterFunc(ctx, func() { conn.Close() })
			raw = &impatient{Conn: conn, patience: 3 * l.config.Heartbeat}
			return raw, nil
		},
	}
	config.Properties.SetClientConnectionName(l.config.Name + " " + l.purpose)
	conn, err := amqp.DialConfig(uri, config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	return conn, raw, nil
}

// hangUp closes a connection. The broker may be blocked and read nothing, so it is
// cut off when that takes too long.
func hangUp(conn *amqp.Connection, raw net.Conn) {
	late := time.AfterFunc(closeTimeout, func() { _ = raw.Close() }) // it is to fail
	defer late.Stop()
	_ = conn.CloseDeadline(time.Now().Add(closeTimeout)) // closed already, or cut off: both are the end
}

// impatient gives up on a write that does not get through. The AMQP library waits
// for it while it holds its locks, so without this a broker that stands still would
// stop the link for good.
type impatient struct {
	net.Conn
	patience time.Duration
}

// Write writes all of b or fails within the patience.
func (c *impatient) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.patience))
	return c.Conn.Write(b)
}
