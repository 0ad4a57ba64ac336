package client

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// stableAfter is how long a session must have lived for its end to count as the
// first failure.
const stableAfter = 10 * time.Second

// target is a server to connect to.
type target struct {
	serverID string // empty when it is not known
	url      string
}

// run is the run goroutine: one session after the other until one ends for good.
func (c *Client) run() {
	var next target                        // told by a disconnect
	renewed, renewal := false, time.Time{} // since the last session; when that was
	for c.ctx.Err() == nil {
		lived, at, err := c.attempt(next)
		if c.ctx.Err() != nil {
			break
		}
		if lived >= stableAfter {
			c.backoff.reset()
		}
		if lived > 0 {
			renewed = false
		}
		v := judge(err)
		if v.failed {
			c.failed.add(at.serverID, time.Now())
		}
		if v.newToken && !renewed && c.canRefresh() {
			if time.Since(renewal) < stableAfter && c.pauseBefore(verdict{}, err) != nil {
				break
			}
			renewed, renewal = true, time.Now()
			if err = c.renewAfterRefusal(err); err == nil {
				next = target{}
				continue
			}
			v.final = true
		}
		if v.final {
			c.finish(err)
			return
		}
		next = target{url: c.urlOf(v.address, at.url)}
		if c.pauseBefore(v, err) != nil {
			break
		}
	}
	c.finish(ErrClosed)
}

// pauseBefore waits before the next attempt.
func (c *Client) pauseBefore(v verdict, err error) error {
	wait := v.after
	if wait == 0 {
		wait = c.backoff.next()
	}
	c.disconnected(Disconnected{Err: err, RetryIn: wait})
	wait, ended := c.becomeSure(wait)
	if ended != nil {
		return ended
	}
	return sleep(c.ctx, wait)
}

// finish notes that run ends. The caller does nothing after it.
func (c *Client) finish(err error) {
	c.mu.Lock()
	closed := c.closed
	c.running, c.ended = false, err
	c.broadcast()
	c.mu.Unlock()
	if !closed {
		c.disconnected(Disconnected{Err: err, Final: true})
	}
}

func (c *Client) disconnected(d Disconnected) {
	var end *EndError
	if errors.As(d.Err, &end) {
		d.Code = end.Code
	}
	c.config.Logger.Info("disconnected", "error", d.Err, "final", d.Final, "retry_in", d.RetryIn)
	if c.config.Hooks.OnDisconnect != nil {
		c.config.Hooks.OnDisconnect(d)
	}
}

// urlOf makes the URL of an address that a disconnect named: of the same
// transport as the connection before.
func (c *Client) urlOf(address, before string) string {
	if address == "" || strings.Contains(address, "://") {
		return address
	}
	last, err := url.Parse(before)
	switch {
	case err == nil && last.Scheme != "":
		return last.Scheme + "://" + address + last.Path
	case c.config.Transport == TCP:
		return "tcp://" + address
	}
	return "ws://" + address + "/ws"
}

// attempt has one session, from finding a server to its end. It returns how long
// the session lived, 0 when there was none.
func (c *Client) attempt(next target) (time.Duration, target, error) {
	at, err := c.find(next)
	if err != nil {
		return 0, at, err
	}
	link, reply, err := c.open(at)
	if err != nil {
		return 0, at, err
	}
	began := time.Now()
	c.serve(link, reply)
	return max(time.Since(began), 1), at, link.err
}

// serve makes a session the live one and keeps it until it ends.
func (c *Client) serve(l *link, reply *imv1.AuthReply) {
	c.mu.Lock()
	c.tokens.UserID = reply.GetUserId()
	c.out.connected(reply.GetUserId())
	c.in.connected(reply)
	c.link = l
	l.joinAgain()
	c.watchAgain(l)
	c.broadcast()
	c.mu.Unlock()
	c.config.Logger.Info("connected", "address", l.session.Address, "session", l.session.SessionID)
	stop := context.AfterFunc(c.ctx, func() { l.end(ErrClosed) })
	defer stop()
	if c.config.Hooks.OnConnect != nil {
		c.config.Hooks.OnConnect(l.session)
	}
	signal(c.entries)
	signal(c.keepSoon)
	var parts sync.WaitGroup
	parts.Go(l.read)
	parts.Go(l.write)
	parts.Go(func() { c.renew(l, time.Duration(reply.GetExpiresIn())*time.Second) })
	l.watch()
	c.mu.Lock()
	c.link = nil
	c.broadcast()
	c.mu.Unlock()
	parts.Wait()
}
