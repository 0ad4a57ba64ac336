package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// renewAgain is how long after a failed renewal the next one is tried: within the
// 30 s in which a refresh whose answer got lost can be repeated.
const renewAgain = 15 * time.Second

// canRefresh reports whether there is a way to new tokens.
func (c *Client) canRefresh() bool {
	return c.config.Refresh != nil || (c.config.Server != "" && c.Tokens().RefreshToken != "")
}

// stale reports whether the token is known to have ended, or about to.
func (c *Client) stale(now time.Time) bool {
	ends := c.Tokens().ExpiresAt
	return !ends.IsZero() && ends.Sub(now) < 5*time.Second
}

// refresh replaces the tokens. It is called by run between sessions and by the
// renewer during one, so never twice at once.
func (c *Client) refresh(ctx context.Context) error {
	old := c.Tokens()
	var tokens Tokens
	var err error
	defer c.beginRefresh()()
	if c.config.Refresh != nil {
		tokens, err = c.config.Refresh(ctx, old)
	} else {
		tokens, err = NewAPI(c.config.Server, c.config.HTTPClient).Refresh(ctx, old.RefreshToken)
	}
	var refusal *im.Error
	if err == nil || errors.As(err, &refusal) && refusal.Code.Final() {
		c.setUnsure(false)
	}
	if err != nil {
		return fmt.Errorf("refresh the token: %w", err)
	}
	c.SetTokens(tokens)
	if c.config.Hooks.OnTokens != nil {
		c.config.Hooks.OnTokens(c.Tokens())
	}
	return nil
}

// beginRefresh notes that one is in hand; what it returns, that it has ended.
func (c *Client) beginRefresh() (end func()) {
	done := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsure, c.refreshing = true, done
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refreshing = nil
		close(done)
	}
}

// becomeSure repeats a refresh whose answer got lost, during a pause that may be longer
// than there is time for that. It returns what is left of the pause.
func (c *Client) becomeSure(wait time.Duration) (time.Duration, error) {
	for wait > renewAgain && c.refreshUnsure() && c.canRefresh() {
		if c.refresh(c.ctx) == nil {
			break
		}
		if err := sleep(c.ctx, renewAgain); err != nil {
			return 0, err
		}
		wait -= renewAgain
	}
	return wait, nil
}

// refreshUnsure reports whether the answer to the last refresh got lost. It must
// be repeated soon: the server takes a late repeat for theft.
func (c *Client) refreshUnsure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsure
}

func (c *Client) setUnsure(unsure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsure = unsure
}

// renewAfterRefusal refreshes after the server has refused the token, as long as
// it takes to learn whether that is possible. It returns what makes it
// impossible.
func (c *Client) renewAfterRefusal(cause error) error {
	for {
		err := c.refresh(c.ctx)
		if err == nil {
			return nil
		}
		var refusal *im.Error
		if errors.As(err, &refusal) && refusal.Code.Final() {
			return errors.Join(cause, err)
		}
		if c.pauseBefore(judge(err), err) != nil {
			return cause
		}
	}
}

// renew is the renewer: about two thirds into a token's life it gets a new one and
// shows it to the live session. Refused or not to be had, the old one stands
// until it ends.
func (c *Client) renew(l *link, life time.Duration) {
	wait := renewalAfter(life)
	if c.refreshUnsure() {
		wait = renewAgain
	}
	for wait > 0 {
		if sleep(l.ctx, wait) != nil || !c.canRefresh() {
			return
		}
		life, err := c.renewOnce(l)
		if wait = renewalAfter(life); err != nil {
			c.config.Logger.Warn("renew the session's token", "error", err)
			if refusal := (*im.Error)(nil); errors.As(err, &refusal) && refusal.Code.Final() {
				return
			}
			wait = renewAgain
		}
	}
}

// renewalAfter returns when to renew a token that lives so long: never (0) when
// its end is not known.
func renewalAfter(life time.Duration) time.Duration {
	if life <= 0 {
		return 0
	}
	return life*3/5 + time.Duration(rand.Int64N(int64(life/10)+1))
}

// renewOnce returns how long the new token lives.
func (c *Client) renewOnce(l *link) (time.Duration, error) {
	if err := c.refresh(l.ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, c.config.DialTimeout)
	defer cancel()
	var reply imv1.AuthReply
	if err := l.call(ctx, wire.OpAuth, c.auth(), wire.OpAuthReply, &reply); err != nil {
		return 0, err
	}
	return time.Duration(reply.GetExpiresIn()) * time.Second, nil
}
