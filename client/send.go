package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Ack is the server's answer to a send: the message is stored and will be
// delivered.
type Ack struct {
	ClientMsgID     string
	MessageID       int64
	ConversationID  string
	ConversationSeq int64
	SentAtMs        int64
	Duplicate       bool // it was stored by an earlier attempt
}

func ackOf(ack *imv1.SendAck) Ack {
	return Ack{
		ClientMsgID: ack.GetClientMsgId(), MessageID: ack.GetMessageId(), ConversationID: ack.GetConversationId(),
		ConversationSeq: ack.GetConversationSeq(), SentAtMs: ack.GetSentAtMs(), Duplicate: ack.GetDuplicate(),
	}
}

// Sending is a message on its way.
type Sending struct {
	ClientMsgID string

	client *Client
	done   chan struct{} // closed once ack and err are set
	ack    Ack
	err    error
}

// Done is closed when the outcome is known or the client is closed.
func (s *Sending) Done() <-chan struct{} { return s.done }

// Wait returns the outcome: an *im.Error with a final code when the server
// refused it, ErrClosed when the client was closed before there was one. When
// the context ends first, or the client ends for good (ErrEnded), that error is returned
// and the message stays on its way: it goes out again with the next session.
func (s *Sending) Wait(ctx context.Context) (Ack, error) {
	for {
		s.client.mu.Lock()
		changed, over := s.client.changed, s.client.over()
		s.client.mu.Unlock()
		if over != nil {
			changed = nil
		}
		select {
		case <-s.done:
			return s.ack, s.err
		default:
		}
		if over != nil && !errors.Is(over, ErrClosed) {
			return Ack{}, fmt.Errorf("wait for the answer to a send: %w: %v", ErrEnded, over) //nolint:errorlint // its code is no answer to the send
		}
		select {
		case <-s.done:
		case <-changed:
		case <-ctx.Done():
			return Ack{}, fmt.Errorf("wait for the answer to a send: %w", ctx.Err())
		}
	}
}

func (s *Sending) finish(ack Ack, err error) {
	s.ack, s.err = ack, err
	close(s.done)
}

// Send sends a message and waits for the server's answer; see SendAsync.
func (c *Client) Send(ctx context.Context, to *imv1.To, content *imv1.Content, options SendOptions) (Ack, error) {
	sending, err := c.SendAsync(ctx, to, content, options)
	if err != nil {
		return Ack{}, err
	}
	return sending.Wait(ctx)
}

// SendAsync accepts a message for sending. Messages to one conversation are
// stored in the order accepted. It waits, until the context ends, while
// MaxUnacknowledged sends are unanswered; it does not wait for a connection. To
// and content must not be changed until the outcome is known. Errors mean that
// the message was not accepted.
func (c *Client) SendAsync(ctx context.Context, to *imv1.To, content *imv1.Content, options SendOptions) (*Sending, error) {
	send := newSend(to, content, options)
	if err := checkSend(send); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.waitForRoom(ctx); err != nil {
		return nil, err
	}
	if c.out.byID[send.GetClientMsgId()] != nil {
		return nil, im.Errorf(im.Invalid, "client_msg_id %q is on its way", send.GetClientMsgId())
	}
	p := c.out.add(send, c.config.State == nil)
	if c.link != nil { // else the next session joins all, in order
		c.out.join(c.tokens.UserID, p)
	}
	if p.saved {
		c.link.wakeUp()
	} else {
		signal(c.keepNow)
	}
	return p.sending, nil
}

// waitForRoom returns when one more send may be accepted. The caller holds mu,
// which is let go while waiting.
func (c *Client) waitForRoom(ctx context.Context) error {
	for c.over() == nil && len(c.out.sends) >= c.config.MaxUnacknowledged {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if err := ctx.Err(); err != nil {
			signal(c.room)
			return fmt.Errorf("wait for room to send: %w", err)
		}
	}
	if len(c.out.sends)+1 < c.config.MaxUnacknowledged {
		signal(c.room)
	}
	return c.over()
}

// Flush waits until every send accepted so far has its outcome.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	sendings := make([]*Sending, len(c.out.sends))
	for i, p := range c.out.sends {
		sendings[i] = p.sending
	}
	c.mu.Unlock()
	for _, sending := range sendings {
		var refusal *im.Error
		if _, err := sending.Wait(ctx); err != nil && !errors.As(err, &refusal) {
			return err
		}
	}
	return nil
}

// settle gives a send that has left the outbox its outcome. The caller holds mu,
// and calls the hook that is returned once it does not.
func (c *Client) settle(p *pending, ack Ack, err error) (hook func()) {
	p.sending.finish(ack, err)
	signal(c.room)
	if c.config.State != nil {
		signal(c.keepSoon)
	}
	return func() {
		if c.config.Hooks.OnSent != nil {
			c.config.Hooks.OnSent(p.sending.ClientMsgID, ack, err)
		}
	}
}
