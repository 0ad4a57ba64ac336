package client

import (
	"slices"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// outbox holds every send that has no final answer, in the order accepted. It is
// a plain data structure without locks, clocks or goroutines.
//
// A conversation goes back and sends again from a message on (go-back-N): so
// what follows a message never overtakes it, and what was in flight behind it is
// answered by the server's dedupe, or refused because of its `after`.
type outbox struct {
	client  *Client // for Sending
	sends   []*pending
	byID    map[string]*pending
	flying  map[int32]*pending // by the sequence of the last frame
	threads map[string]*thread // by conversation id
	held    map[string]bool    // conversations whose sends wait: rooms that are not joined again yet
}

// pending is one send.
type pending struct {
	send     *imv1.Send // without after; never changed
	sending  *Sending
	thread   *thread // nil until the user id is known
	saved    bool    // in the local state, so that it may be written
	sequence int32   // of its last frame, while that is unanswered; else 0
	after    string  // that its last frame named
}

// thread is the sends of one conversation, in order.
type thread struct {
	key         string
	sends       []*pending
	pausedUntil time.Time
	refusals    int // since the last ack
}

func newOutbox(client *Client) *outbox {
	return &outbox{client: client, byID: map[string]*pending{}, flying: map[int32]*pending{}, threads: map[string]*thread{}}
}

func (o *outbox) add(send *imv1.Send, saved bool) *pending {
	p := &pending{
		send: send, saved: saved,
		sending: &Sending{ClientMsgID: send.GetClientMsgId(), client: o.client, done: make(chan struct{})},
	}
	o.sends = append(o.sends, p)
	o.byID[send.GetClientMsgId()] = p
	return p
}

// connected makes everything unsent, in a new session of a user.
func (o *outbox) connected(userID string) {
	clear(o.flying)
	for _, p := range o.sends {
		p.sequence = 0
		o.join(userID, p)
		p.thread.pausedUntil = time.Time{}
	}
}

// join puts a send at the end of its conversation's thread, once.
func (o *outbox) join(userID string, p *pending) {
	if p.thread != nil {
		return
	}
	key := conversationOf(userID, p.send.GetTo())
	if o.threads[key] == nil {
		o.threads[key] = &thread{key: key}
	}
	p.thread = o.threads[key]
	p.thread.sends = append(p.thread.sends, p)
}

// eachUnsent visits, in order, what may be written now, until visit returns
// false. It returns when the first paused conversation goes on; zero = none is.
func (o *outbox) eachUnsent(now time.Time, visit func(*pending) bool) (resume time.Time) {
	if len(o.flying) == len(o.sends) {
		return time.Time{}
	}
	for _, p := range o.sends {
		if p.sequence != 0 || !p.saved || p.thread == nil || o.held[p.thread.key] {
			continue
		}
		if until := p.thread.pausedUntil; until.After(now) {
			if resume.IsZero() || until.Before(resume) {
				resume = until
			}
			continue
		}
		if !visit(p) {
			break
		}
	}
	return resume
}

// sent notes that a send goes out in a frame; it returns the `after` to name in
// it: the nearest unacknowledged send before it in its conversation.
func (o *outbox) sent(p *pending, sequence int32) string {
	p.sequence = sequence
	o.flying[sequence] = p
	p.after = ""
	if at := slices.Index(p.thread.sends, p); at > 0 {
		p.after = p.thread.sends[at-1].send.GetClientMsgId()
	}
	return p.after
}

// unsent takes back a sent that did not fit into the frame batch.
func (o *outbox) unsent(p *pending) {
	delete(o.flying, p.sequence)
	p.sequence = 0
}

// acked takes a send out that the server has stored; nil when it is not, or no
// longer, here.
func (o *outbox) acked(id string) *pending {
	p := o.byID[id]
	if p == nil {
		return nil
	}
	if p.thread != nil {
		p.thread.refusals = 0
	}
	o.remove(p)
	return p
}

// refused applies an error to the send whose last frame had this sequence. For a
// final code the send is taken out and returned; its successors go out again with
// another `after`. Otherwise its conversation goes back to it, or to the send
// that it named, after a pause. An answer to a frame that is not the last one of
// its send is ignored: the last one will be answered too.
func (o *outbox) refused(sequence int32, refusal *im.Error, now time.Time) *pending {
	p := o.flying[sequence]
	if p == nil {
		return nil
	}
	t := p.thread
	at := slices.Index(t.sends, p)
	if refusal.Code.Final() {
		o.drop(p)
		return p
	}
	if refusal.Code == im.OutOfOrder {
		if named := o.byID[p.after]; named != nil && named.thread == t {
			at = slices.Index(t.sends, named)
		}
	}
	o.rewind(t, at)
	t.refusals++
	t.pausedUntil = now.Add(max(refusal.RetryAfter, pause(refusal.Code, t.refusals)))
	return nil
}

// drop takes a send out that will never be stored: those behind it go out again
// with another `after`.
func (o *outbox) drop(p *pending) {
	o.rewind(p.thread, slices.Index(p.thread.sends, p))
	o.remove(p)
}

// pause is how long a conversation waits at least before it goes back: not at
// all for the first out_of_order, which the client itself can mend.
func pause(code im.Code, refusals int) time.Duration {
	if code == im.OutOfOrder {
		refusals--
	}
	if refusals == 0 {
		return 0
	}
	return min(2*time.Second, 50*time.Millisecond<<min(refusals, 10))
}

// rewind makes the sends of a thread unsent from a place on.
func (o *outbox) rewind(t *thread, from int) {
	for _, p := range t.sends[from:] {
		o.unsent(p)
	}
}

func (o *outbox) remove(p *pending) {
	id := p.send.GetClientMsgId()
	delete(o.byID, id)
	delete(o.flying, p.sequence)
	o.sends = without(o.sends, p)
	if t := p.thread; t != nil {
		if t.sends = without(t.sends, p); len(t.sends) == 0 {
			delete(o.threads, t.key)
		}
	}
}

func without(list []*pending, p *pending) []*pending {
	if at := slices.Index(list, p); at >= 0 {
		return slices.Delete(list, at, at+1)
	}
	return list
}

// snapshot returns the sends for the local state.
func (o *outbox) snapshot() []*imv1.Send {
	if len(o.sends) == 0 {
		return nil
	}
	list := make([]*imv1.Send, len(o.sends))
	for i, p := range o.sends {
		list[i] = p.send
	}
	return list
}
