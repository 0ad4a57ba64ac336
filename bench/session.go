package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// authTimeout bounds the wait for the answer to an auth.
const authTimeout = 20 * time.Second

// disconnect is a server's disconnect frame.
type disconnect struct {
	code      im.DisconnectCode
	reason    string
	reconnect bool
	after     time.Duration
	address   string // of the server to go to; empty = ask
}

func (d *disconnect) Error() string {
	return fmt.Sprintf("disconnected by the server: %s: %s", d.code, d.reason)
}

func disconnected(f wire.Frame) error {
	var body imv1.Disconnect
	if err := wire.Unmarshal(f.Form, f.Body, &body); err != nil {
		return err
	}
	return &disconnect{
		code: im.DisconnectCode(body.Code), reason: body.Reason, reconnect: body.Reconnect,
		after: time.Duration(body.RetryAfterMs) * time.Millisecond, address: body.Address,
	}
}

// connect begins the device's sessions and waits until the first one has been
// authenticated. From then on a lost connection is made again.
func (d *device) connect(ctx context.Context) error {
	d.mu.Lock()
	d.leaving, d.gone, d.welcome = false, make(chan struct{}), make(chan error, 1)
	gone, welcome := d.gone, d.welcome
	d.mu.Unlock()
	d.run.sessions.Go(func() {
		defer close(gone)
		d.stay(ctx)
	})
	if err := <-welcome; err != nil {
		return fmt.Errorf("connect %s/%s: %w", d.user.name, d.id, err)
	}
	return nil
}

// stay holds sessions until the device leaves or must give up.
func (d *device) stay(ctx context.Context) {
	lost := d.run.now()
	for {
		err := d.session(ctx)
		d.mu.Lock()
		d.tries++
		if d.live {
			lost, d.tries = d.run.now(), 0
		}
		d.lostNow(err)
		d.next = addressOf(err)
		after := pauseAfter(err, d.tries)
		leaving, welcomed := d.leaving, d.welcome == nil
		over := leaving || ctx.Err() != nil || d.run.now()-lost > d.run.config.Settle || !comesBack(err, welcomed)
		if over && !welcomed {
			d.welcome <- err
			d.welcome = nil
		}
		d.conn, d.live, d.resume = nil, false, d.resume || welcomed
		d.mu.Unlock()
		switch {
		case over && welcomed && !leaving && ctx.Err() == nil:
			d.run.fail(fmt.Errorf("%s/%s: %w", d.user.name, d.id, err))
			return
		case over:
			return
		case welcomed:
			d.run.stats.reconnected(err)
		}
		if !pause(ctx, after) {
			return
		}
	}
}

// comesBack reports whether a connection that ended so is made again: unless the
// server says that this is useless. A device that has not been welcomed yet only
// waits for servers that have asked it to.
func comesBack(err error, welcomed bool) bool {
	var end *disconnect
	var refusal *im.Error
	switch {
	case errors.As(err, &end):
		return end.reconnect
	case errors.As(err, &refusal):
		return !refusal.Code.Final()
	}
	return welcomed
}

// pause waits before the next attempt; false when the run ends meanwhile.
func pause(ctx context.Context, after time.Duration) bool {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// session is one connection from its beginning to its end.
func (d *device) session(ctx context.Context) error {
	target, err := d.run.gateways.find(ctx, d)
	if err != nil {
		return err
	}
	d.failed = target.id
	began := d.run.now()
	c, err := dial(ctx, target.url, d.source, d.run.form)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	if err := d.begin(c, began); err != nil {
		return err
	}
	for {
		if err := c.read(); err != nil {
			return fmt.Errorf("connection lost: %w", err)
		}
		if err := d.handle(c); err != nil {
			return err
		}
	}
}

// begin makes a connection the device's and authenticates it.
func (d *device) begin(c *conn, began time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leaving || d.run.closed.Load() {
		return context.Canceled
	}
	auth := &imv1.Auth{
		Token: d.token, DeviceId: d.id, Platform: d.platform, Start: "newest", Protocol: im.ProtocolVersion,
		InboxEpoch: d.epoch, Client: &imv1.ClientInfo{Name: "im bench"},
	}
	if d.resume {
		last := d.last
		auth.LastSeq = &last
	}
	if err := c.put(wire.OpAuth, 1, auth); err != nil {
		return err
	}
	d.conn, d.began = c, began
	now := time.Now()
	c.nc.SetReadDeadline(now.Add(authTimeout))
	c.flush(now)
	return nil
}

// handle handles what one read brought, and answers it with one write.
func (d *device) handle(c *conn) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now.Sub(d.run.begun)
	err := c.frames(d.onFrame)
	if d.last-d.acked >= ackEvery {
		d.acknowledge()
	}
	if d.maySend() {
		d.retry()
		d.refill()
	}
	c.flush(now)
	d.run.stats.add(&d.tally)
	return err
}

// welcomed handles an auth_reply.
func (d *device) welcomed(f wire.Frame) error {
	var reply imv1.AuthReply
	if err := wire.Unmarshal(f.Form, f.Body, &reply); err != nil {
		return err
	}
	d.arrivals.Resumed(check.Resume{
		At: d.now, From: reply.ResumeFrom, Head: reply.Head, Last: d.last, HasLast: d.resume, TooLong: reply.TooLong,
	})
	d.last = max(d.last, reply.ResumeFrom)
	d.acked = min(max(d.acked, reply.ResumeFrom), d.last)
	d.head, d.epoch, d.live = reply.Head, reply.InboxEpoch, true
	d.heartbeat = time.Duration(max(1, reply.HeartbeatSeconds)) * time.Second
	d.beatAt = d.now + time.Duration((0.5+rand.Float64()/2)*float64(d.heartbeat))
	d.tally.logins = append(d.tally.logins, span{d.began, d.now})
	d.conn.nc.SetReadDeadline(time.Time{})
	if d.welcome != nil {
		d.welcome <- nil
		d.welcome = nil
	}
	d.returned()
	if !d.visit.comesBack(d) {
		d.resendAll()
	}
	return nil
}

// leave ends the device's sessions and waits for it. The next one begins at the
// cursor that the server has stored.
func (d *device) leave() {
	d.hangUp()
	if d.gone != nil {
		<-d.gone
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume, d.failed = false, "" // it went by itself
}

func (d *device) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = true
	if d.conn != nil {
		d.conn.nc.Close()
	}
}
