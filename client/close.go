package client

import (
	"context"
	"fmt"
)

// Close ends the client: it waits for the handler to return, saves the local
// state, writes the last acknowledgement and closes the connection. Sends without
// an outcome end with ErrClosed. When the context ends first, the connection is
// cut, its error returned, and nothing saved any more, but by a Save that is under
// way: what the handler finishes later comes again. Closing again does nothing.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.broadcast()
	c.mu.Unlock()
	if was {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.shutDown()
	}()
	defer c.abandon()
	select {
	case <-ended:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.unsaved != nil {
			return fmt.Errorf("close: save the local state: %w", c.unsaved)
		}
		return nil
	case <-ctx.Done():
		c.cancel()
		return fmt.Errorf("close: %w", ctx.Err())
	}
}

func (c *Client) shutDown() {
	c.stop()
	c.handlers.Wait()
	close(c.keepFinal)
	c.keepers.Wait()
	c.mu.Lock()
	link, started, refreshing := c.link, c.started, c.refreshing
	c.mu.Unlock()
	if !started { // there is no keeper; what was accepted is kept all the same
		c.save() //nolint:errcheck // its hook has told
	}
	link.flush()
	if refreshing != nil { // else its tokens, which the server takes for the only ones now, would be lost
		<-refreshing
	}
	c.cancel()
	c.runs.Wait()
}

// abandon ends the sends that have no outcome.
func (c *Client) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, p := range c.out.sends {
		p.sending.finish(Ack{}, ErrClosed)
	}
	c.out = newOutbox(c)
}
