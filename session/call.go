package session

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// call is one request of a Caller that waits for its reply: a session for a
// single publish or ack.
type call struct {
	publisher
	acked *imv1.Acked // goes to the owner of the inbox, whoever that becomes; nil = a publish
	owner *stream
	term  int64
	reply chan *imv1.Reply // holds one
}

// follow sends an ack to the owner, if that has changed.
func (c *call) follow(p *partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	owner, term := p.owned()
	if c.acked == nil || owner == c.owner && term == c.term {
		return
	}
	c.owner, c.term = owner, term
	if owner != nil {
		owner.ackRequest(c.acked)
	}
}

// replied hands a reply to its call; one that is not waited for is ignored.
func (l *Link) replied(r *imv1.Reply) {
	p := l.part(r.Session)
	p.mu.Lock()
	c := p.calls[r.Session]
	p.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.reply <- r:
	default: // a repeat
	}
}

// addCall makes a call known; endCall forgets it.
func (l *Link) addCall(user string) *call {
	c := &call{reply: make(chan *imv1.Reply, 1)}
	c.number = l.newNumber(user) | callBit
	p := l.part(c.number)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[c.number] = c
	return c
}

func (l *Link) endCall(c *call) {
	p := l.part(c.number)
	p.mu.Lock()
	delete(p.calls, c.number)
	p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

// Caller makes single requests over a link: what an http server needs. It is
// safe for concurrent use.
type Caller struct{ link *Link }

// NewCaller returns a caller over a link, which its owner starts and stops.
func NewCaller(link *Link) *Caller { return &Caller{link} }

// Publish hands a request to accept and waits for its reply, which may hold an
// error. Session and request are filled in. Where the answer is not known when
// the context ends, or no transfer is reachable: an im.Unavailable error.
func (c *Caller) Publish(ctx context.Context, publish *imv1.Publish) (*imv1.Reply, error) {
	call := c.link.addCall(publish.UserId)
	defer c.link.endCall(call)
	if err := call.publish(ctx, c.link, publish); err != nil {
		return nil, err
	}
	return call.await(ctx)
}

// publish sends, waiting for room. Waiting ends with the context.
func (c *call) publish(ctx context.Context, l *Link, publish *imv1.Publish) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake()
	})()
	for ctx.Err() == nil {
		a := c.admit(l)
		switch {
		case a.ok:
			publish.Session, publish.Request = c.number, c.nextRequest(requestPublish, 0)
			c.send(publish, 0)
			return nil
		case a.timeout <= 0:
			return errNoTransfer()
		}
		c.wait(a.more, a.timeout)
	}
	return errUnanswered()
}

func (c *call) await(ctx context.Context) (*imv1.Reply, error) {
	select {
	case reply := <-c.reply:
		return reply, nil
	case <-ctx.Done():
		return nil, errUnanswered()
	}
}

func errUnanswered() *im.Error {
	return im.Retry(im.Unavailable, time.Second, "no answer in time")
}

// Ack moves a device's cursor up and waits for the owner's reply, which comes
// when it is stored if acked says durable. Errors as of Publish.
func (c *Caller) Ack(ctx context.Context, acked *imv1.Acked) (*imv1.Reply, error) {
	call := c.link.addCall(acked.UserId)
	defer c.link.endCall(call)
	call.mu.Lock()
	acked.Session, acked.Request = call.number, call.nextRequest(requestAck, 0)
	call.acked = acked
	call.mu.Unlock()
	call.follow(c.link.part(call.number))
	return call.await(ctx)
}

// Pull reads a page of an inbox.
func (c *Caller) Pull(ctx context.Context, pull *imv1.PullRequest) (*imv1.PullReply, error) {
	return c.link.Pull(ctx, pull)
}

// RoomStatus tells who is in a room. It is the owner of the room's partition that
// knows; while ownership moves RoomStatus waits. Errors as of Kick.
func (c *Caller) RoomStatus(ctx context.Context, request *imv1.RoomStatusRequest) (*imv1.RoomStatusReply, error) {
	p := c.link.roomPart(request.ConversationId)
	owner := func() *stream {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.owner
	}
	return askOwner(ctx, &p.changed, owner, request, imv1.TransferClient.RoomStatus)
}

// Kick closes live sessions of a user. It is the owner of the user's inbox that
// does; while ownership moves Kick waits. When the context ends first: an
// im.Unavailable error.
func (c *Caller) Kick(ctx context.Context, kick *imv1.KickRequest) (*imv1.KickReply, error) {
	p := &c.link.parts[im.Partition(kick.UserId, len(c.link.parts))]
	owner := func() *stream {
		owner, _ := p.owned()
		return owner
	}
	return askOwner(ctx, &p.changed, owner, kick, imv1.TransferClient.Kick)
}

// askOwner asks the owner of a partition, whoever that becomes, until there is an answer.
func askOwner[Q, A any](ctx context.Context, changes *gate, owner func() *stream, request Q, call method[Q, A]) (A, error) {
	var none A
	for ctx.Err() == nil {
		changed := changes.wait()
		if st := owner(); st != nil {
			reply, err := attempt(ctx, st, request, call)
			if err == nil {
				return reply, nil
			}
			if code := status.Code(err); code != codes.FailedPrecondition && !retryable(code) {
				return none, im.AsError(err)
			}
		}
		waitEither(ctx, changed, ownerPatience)
	}
	return none, errUnanswered()
}
