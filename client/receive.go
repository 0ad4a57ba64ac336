package client

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// decoder is a body that can be received.
type decoder interface {
	proto.Message
	UnmarshalVT([]byte) error
}

// unmarshal reads a body. The protobuf form is read without a check of its UTF-8:
// an odd entry must not keep those behind it away.
func unmarshal(frame wire.Frame, body decoder) error {
	if frame.Form == wire.Proto {
		return body.UnmarshalVT(frame.Body)
	}
	return wire.Unmarshal(frame.Form, frame.Body, body)
}

var errStartOver = errors.New("what was asked for is no longer retained")

// read is the reader: it applies frames until the connection ends.
func (l *link) read() {
	for {
		frame, err := l.conn.read()
		if err == nil && frame.Form != l.client.config.Form {
			err = fmt.Errorf("%w: another form", wire.ErrFraming)
		}
		if err == nil {
			err = l.apply(frame)
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

// apply applies a frame; an error ends the session. Operations that are not
// known are ignored.
func (l *link) apply(frame wire.Frame) error {
	switch frame.Op {
	case wire.OpDeliver:
		return with(frame, &imv1.Deliver{}, l.deliver)
	case wire.OpSendAck:
		return with(frame, &imv1.SendAck{}, l.sendAck)
	case wire.OpError:
		return with(frame, &imv1.Error{}, func(body *imv1.Error) error { return l.refuse(frame.Seq, errorOf(body)) })
	case wire.OpHeartbeatReply:
		return with(frame, &imv1.HeartbeatReply{}, l.heartbeatReply)
	case wire.OpSyncReply:
		return with(frame, &imv1.SyncReply{}, func(body *imv1.SyncReply) error { return l.syncReply(frame.Seq, body) })
	case wire.OpSignal:
		return with(frame, &imv1.Signal{}, l.signal)
	case wire.OpDisconnect:
		return with(frame, &imv1.Disconnect{}, func(body *imv1.Disconnect) error { return endOf(body) })
	case wire.OpRoomDeliver:
		return with(frame, &imv1.RoomDeliver{}, l.roomDeliver)
	case wire.OpJoinReply:
		return with(frame, &imv1.JoinReply{}, func(body *imv1.JoinReply) error { return l.joinReply(frame, body) })
	case wire.OpWatchReply:
		return l.watchReply(frame)
	case wire.OpReadReply, wire.OpAuthReply, wire.OpLeaveReply:
		return l.answer(frame)
	}
	return nil
}

func with[B decoder](frame wire.Frame, body B, apply func(B) error) error {
	if err := unmarshal(frame, body); err != nil {
		return fmt.Errorf("decode %s: %w", frame.Op, err)
	}
	return apply(body)
}

func errorOf(body *imv1.Error) *im.Error {
	return im.Retry(im.Code(body.GetCode()), retryAfter(int64(body.GetRetryAfterMs())), body.GetMessage())
}

func (l *link) deliver(body *imv1.Deliver) error {
	c := l.client
	c.mu.Lock()
	c.in.entries(body.GetEntries())
	wanted := c.in.wanted
	c.mu.Unlock()
	signal(c.entries)
	if wanted {
		l.wakeUp()
	}
	return nil
}

func (l *link) sendAck(body *imv1.SendAck) error {
	c := l.client
	ack := ackOf(body)
	c.mu.Lock()
	p := c.out.acked(ack.ClientMsgID)
	if p == nil {
		c.mu.Unlock()
		return nil
	}
	hook := c.settle(p, ack, nil)
	c.mu.Unlock()
	hook()
	return nil
}

// refuse gives an error to whom it answers: a send, the sync, a call. One for
// none of them is about a frame that has no reply, or was overtaken.
func (l *link) refuse(sequence int32, refusal *im.Error) error {
	c := l.client
	now := time.Now()
	hook := func() {}
	c.mu.Lock()
	switch waiting := l.calls[sequence]; {
	case waiting != nil:
		waiting.fail(refusal)
	case sequence != 0 && l.joins[sequence] != nil:
		l.joinRefused(sequence, refusal)
	case sequence != 0 && sequence == l.rewatch:
		l.watchRefused(refusal)
	case sequence != 0 && sequence == c.in.syncing:
		c.in.syncFailed(now, refusal.RetryAfter)
	default:
		if p := c.out.refused(sequence, refusal, now); p != nil {
			hook = c.settle(p, Ack{}, refusal)
		}
	}
	c.mu.Unlock()
	hook()
	l.wakeUp()
	return nil
}

func (l *link) heartbeatReply(body *imv1.HeartbeatReply) error {
	c := l.client
	c.mu.Lock()
	l.beatSince = time.Time{}
	c.in.heartbeat(body.GetHead())
	c.mu.Unlock()
	l.wakeUp()
	return nil
}

// syncReply applies a page. too_long is left to the next auth, which tells where
// to go on.
func (l *link) syncReply(sequence int32, body *imv1.SyncReply) error {
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if sequence != c.in.syncing {
		return nil
	}
	if body.GetTooLong() {
		return errStartOver
	}
	c.in.synced(body)
	signal(c.entries)
	l.wakeUp()
	return nil
}

func (l *link) signal(body *imv1.Signal) error {
	c := l.client
	c.mu.Lock()
	c.in.signal(body)
	c.mu.Unlock()
	signal(c.entries)
	return nil
}

// answer gives a reply to the call that waits for it.
func (l *link) answer(frame wire.Frame) error {
	mu := &l.client.mu
	mu.Lock()
	defer mu.Unlock()
	waiting := l.calls[frame.Seq]
	if waiting == nil || waiting.closed || waiting.op != frame.Op {
		return nil
	}
	if err := unmarshal(frame, waiting.reply); err != nil {
		return fmt.Errorf("decode %s: %w", frame.Op, err)
	}
	waiting.fail(nil)
	return nil
}
