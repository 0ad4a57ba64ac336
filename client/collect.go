package client

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// batch is frames to be written at once.
type batch struct {
	bytes []byte
	ends  []int
}

// add appends a frame; false, and nothing appended, when it does not fit.
func (b *batch) add(form wire.Form, op wire.Op, sequence int32, body wire.Body) (bool, error) {
	start := len(b.bytes)
	bytes, err := wire.AppendMessage(b.bytes, form, op, sequence, body)
	switch {
	case err != nil:
		err = im.Errorf(im.Invalid, "%v", err)
	case len(bytes)-start > im.MaxClientFrameBytes:
		err = im.Errorf(im.TooLarge, "the frame is larger than %d bytes", im.MaxClientFrameBytes)
	}
	if err != nil || len(bytes) > maxBatch {
		b.bytes = bytes[:start]
		return false, err
	}
	b.bytes, b.ends = bytes, append(b.ends, len(bytes))
	return true, nil
}

// collect fills the batch with what is to be written now. It returns when the
// next look is due (zero = when woken) and, if nothing is left, who waits for
// that.
func (l *link) collect(b *batch) (resume time.Time, flushed chan struct{}) {
	c := l.client
	now := time.Now()
	b.bytes, b.ends = b.bytes[:0], b.ends[:0]
	c.mu.Lock()
	l.collectControl(b)
	l.collectInbox(b, now)
	resume, refused := l.collectSends(b, now)
	if c.in.wanted && c.in.syncing == 0 && c.in.notBefore.After(now) && (resume.IsZero() || c.in.notBefore.Before(resume)) {
		resume = c.in.notBefore
	}
	if len(b.bytes) == 0 {
		flushed, l.flushing = l.flushing, nil
	}
	c.mu.Unlock()
	refused()
	return resume, flushed
}

// collectControl takes the frames that wait, and the heartbeat.
func (l *link) collectControl(b *batch) {
	form := l.client.config.Form
	if l.beat {
		l.beat = false
		b.add(form, wire.OpHeartbeat, 0, &imv1.Heartbeat{}) //nolint:errcheck // always fits
	}
	for len(l.control) > 0 {
		frame := l.control[0]
		ok, err := b.add(form, frame.op, frame.sequence, frame.body)
		if !ok && err == nil {
			return
		}
		l.control = l.control[1:]
		if frame.op == wire.OpSignal {
			l.signals--
		}
		if waiting := l.calls[frame.sequence]; err != nil && waiting != nil {
			waiting.fail(err)
		}
	}
}

// collectInbox adds the ack and the sync that are due.
func (l *link) collectInbox(b *batch, now time.Time) {
	in, form := l.client.in, l.client.config.Form
	if len(b.bytes) > maxBatch/2 {
		return // there is room in the next batch
	}
	if seq, due := in.ack(); due {
		b.add(form, wire.OpAck, 0, &imv1.Ack{Seq: seq}) //nolint:errcheck // always fits
	}
	if in.wantsSync(now) {
		in.syncing = l.next()
		after := in.received
		body := &imv1.Sync{After: &after, Limit: im.MaxPage, InboxEpoch: in.epoch}
		b.add(form, wire.OpSync, in.syncing, body) //nolint:errcheck // always fits
	}
}

// collectSends adds what the outbox lets go. A send that no frame can hold is
// refused; the hook that says so is returned, and the rest is for the next look.
func (l *link) collectSends(b *batch, now time.Time) (resume time.Time, refused func()) {
	c := l.client
	var bad *pending
	var badErr error
	resume = c.out.eachUnsent(now, func(p *pending) bool {
		after := c.out.sent(p, l.next())
		ok, err := b.add(c.config.Form, wire.OpSend, p.sequence, withAfter(p.send, after))
		if !ok {
			c.out.unsent(p)
		}
		if err != nil {
			bad, badErr = p, err
		}
		return ok
	})
	if bad == nil {
		return resume, func() {}
	}
	c.out.drop(bad)
	return now, c.settle(bad, Ack{}, badErr)
}

// withAfter returns a send that names its predecessor; the one that the outbox
// and the local state share stays as it is.
func withAfter(send *imv1.Send, after string) *imv1.Send {
	return &imv1.Send{
		ClientMsgId: send.ClientMsgId, After: after, To: send.To, Content: send.Content,
		Attributes: send.Attributes, Options: send.Options, B3: send.B3,
	}
}
