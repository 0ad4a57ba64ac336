package client

import (
	"context"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// handle is the handler goroutine: it hands items to the application in order.
func (c *Client) handle() {
	for {
		it, ok := c.nextItem()
		if !ok {
			return
		}
		pauses := backoff{least: 100 * time.Millisecond, most: 5 * time.Second}
		for {
			err := c.hand(it)
			if c.handling.Err() != nil && err != nil {
				return
			}
			if err == nil {
				break
			}
			c.config.Logger.Warn("handler refused an inbox item", "seq", it.entry.GetSeq(), "error", err)
			if sleep(c.handling, pauses.next()) != nil {
				return
			}
		}
		c.handledItem(it)
	}
}

// nextItem waits for the next item; false once the client closes.
func (c *Client) nextItem() (item, bool) {
	for {
		if c.handling.Err() != nil {
			return item{}, false
		}
		c.mu.Lock()
		it, ok := c.in.next()
		c.mu.Unlock()
		if ok {
			return it, true
		}
		select {
		case <-c.entries:
		case <-c.handling.Done():
			return item{}, false
		}
	}
}

func (c *Client) hand(it item) error {
	handler := c.config.Handler
	if handler == nil {
		return nil
	}
	switch {
	case it.entry != nil:
		return handler.Entry(c.handling, it.entry)
	case it.over != nil:
		return handler.StartOver(c.handling, *it.over)
	case it.room != nil:
		if rooms, ok := handler.(RoomHandler); ok {
			rooms.Room(c.handling, it.room)
		}
		return nil
	}
	handler.Signal(c.handling, it.signal)
	return nil
}

// handledItem notes progress and has it saved and acknowledged: at once after
// AckEvery entries or a StartOver, else within AckDelay.
func (c *Client) handledItem(it item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.done(it)
	switch {
	case it.signal != nil, it.room != nil:
	case it.over != nil, c.in.pending >= min(c.config.AckEvery, max(1, c.in.window/2)):
		signal(c.keepNow)
	default:
		signal(c.keepSoon)
	}
	c.readOn()
	if c.in.wanted {
		c.link.wakeUp()
	}
}

// keep is the keeper: it saves the local state when asked to, and only then lets
// the sends in it be written and the entries before it be acknowledged. Whatever
// gathers while it saves goes into the next save.
func (c *Client) keep() {
	for {
		final := false
		select {
		case <-c.keepNow:
		case <-c.keepSoon:
			final = c.gather()
		case <-c.keepFinal:
			final = true
		}
		for c.save() != nil {
			if final || c.waitAfterFailure() {
				return
			}
		}
		if final {
			return
		}
	}
}

// gather lets AckDelay pass, or less when a save is asked for at once; true when
// it is the last one.
func (c *Client) gather() bool {
	timer := time.NewTimer(c.config.AckDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.keepNow:
	case <-c.keepFinal:
		return true
	}
	return false
}

// waitAfterFailure waits for a second; true when the client closes meanwhile.
func (c *Client) waitAfterFailure() bool {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-c.keepFinal:
		c.save() //nolint:errcheck // the last attempt; its hook has told
		return true
	}
}

// save saves everything as it is now.
func (c *Client) save() error {
	c.mu.Lock()
	if c.gone { // the outbox is empty now, the state may be another client's
		c.mu.Unlock()
		return nil
	}
	handled := c.in.handled
	c.in.pending = 0
	var sends []*pending
	var snapshot Snapshot
	if c.config.State != nil {
		sends = append(sends, c.out.sends...)
		snapshot = Snapshot{
			UserID: c.tokens.UserID, Known: handled.known, LastSeq: handled.seq, InboxEpoch: handled.epoch,
			Sends: c.out.snapshot(),
		}
	}
	c.mu.Unlock()
	if c.config.State != nil {
		// A save is never cut short by Close: it decides what comes again.
		if err := c.config.State.Save(context.WithoutCancel(c.ctx), snapshot); err != nil {
			c.config.Logger.Error("save the local state", "error", err)
			c.mu.Lock()
			c.unsaved = err
			c.mu.Unlock()
			if c.config.Hooks.OnStateError != nil {
				c.config.Hooks.OnStateError(err)
			}
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.saved, c.unsaved = handled, nil
	for _, p := range sends {
		p.saved = true
	}
	c.link.wakeUp()
	return nil
}

// NopHandler is a Handler that accepts everything; embed it to implement only
// what is needed.
type NopHandler struct{}

// Entry accepts the entry.
func (NopHandler) Entry(context.Context, *imv1.Entry) error { return nil }

// StartOver accepts the break.
func (NopHandler) StartOver(context.Context, StartOver) error { return nil }

// Signal ignores the signal.
func (NopHandler) Signal(context.Context, *imv1.Signal) {}
