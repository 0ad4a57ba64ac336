package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

var errLinkEnded = errors.New("the session ended before the answer")

// call is a request that waits for its reply.
type call struct {
	reply  decoder // filled by the reader before done is closed
	op     wire.Op // of the reply
	done   chan struct{}
	err    error
	closed bool
}

// fail ends a call. The caller holds mu.
func (k *call) fail(err error) {
	if !k.closed {
		k.err, k.closed = err, true
		close(k.done)
	}
}

// call writes a request to this session and waits for its reply.
func (l *link) call(ctx context.Context, op wire.Op, body wire.Body, want wire.Op, reply decoder) error {
	waiting := &call{reply: reply, op: want, done: make(chan struct{})}
	mu := &l.client.mu
	mu.Lock()
	sequence := l.next()
	l.calls[sequence] = waiting
	l.control = append(l.control, control{op, sequence, body})
	mu.Unlock()
	l.wakeUp()
	defer func() {
		mu.Lock()
		delete(l.calls, sequence)
		mu.Unlock()
	}()
	select {
	case <-waiting.done:
		return waiting.err
	case <-l.ctx.Done():
		return errLinkEnded
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", want, ctx.Err())
	}
}

// ask makes a request. It waits for a session and tries again, until the context ends,
// whatever leaves it open whether it was done.
func (c *Client) ask(ctx context.Context, op wire.Op, body wire.Body, want wire.Op, reply decoder) error {
	pauses := backoff{least: 100 * time.Millisecond, most: 5 * time.Second}
	for {
		link, err := c.session(ctx)
		if err != nil {
			return err
		}
		err = link.call(ctx, op, body, want, reply)
		var refusal *im.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refusal) && !refusal.Code.Final():
			err = sleep(ctx, max(refusal.RetryAfter, pauses.next()))
		case errors.Is(err, errLinkEnded):
			err = sleep(ctx, pauses.next())
		}
		if err != nil {
			return err
		}
	}
}

// Read marks a conversation as read up to a conversation seq. It waits for a
// session and tries again, until the context ends, whatever leaves it open
// whether it was done. The answer tells the values in force.
func (c *Client) Read(ctx context.Context, conversationID string, upto int64) (*imv1.ReadReply, error) {
	var reply imv1.ReadReply
	read := &imv1.Read{ConversationId: conversationID, Upto: upto}
	if err := c.ask(ctx, wire.OpRead, read, wire.OpReadReply, &reply); err != nil {
		return nil, err
	}
	return &reply, nil
}

// Signal sends something that is not stored, such as "typing", with best effort:
// it is lost without a word when the receiver, or this client, is not connected.
// Errors are about the arguments, or im.RateLimited when too many wait.
func (c *Client) Signal(to *imv1.To, kind string, data *structpb.Struct) error {
	if len(kind) < 1 || len(kind) > im.MaxSignalTypeBytes {
		return im.Errorf(im.Invalid, "a signal's type must be 1 to %d bytes", im.MaxSignalTypeBytes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	link := c.link
	switch {
	case c.closed:
		return ErrClosed
	case link == nil:
		return nil
	case link.signals >= maxSignals:
		return im.Retry(im.RateLimited, time.Second, "too many signals wait to be written")
	}
	link.signals++
	link.control = append(link.control, control{wire.OpSignal, link.next(), &imv1.Signal{To: to, Type: kind, Data: data}})
	link.wakeUp()
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
