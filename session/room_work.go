package session

import (
	"context"
	"runtime"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// roomPageBytes bounds a page of a room, and what one frame holds of it. In JSON that is six
// times as much at worst, where it is full of control characters, and less than im.MaxServerFrameBytes.
const roomPageBytes = 128 << 10

// handedAtOnce is to how many members a body is handed before the writers that this has
// started have their turn: with those of 10,000 ready at once whatever else comes, an
// answer to a speaker for one, would wait behind all of them.
const handedAtOnce = 32

// work hands out what there is until nothing is left. What can not be read yet is tried
// again after a pause; everything behind it waits in its place.
func (r *room) work() {
	misses := 0
	for t, more := r.next(); more; t, more = r.next() {
		if t.gone {
			r.link.exitAll(t.members, func(*member) bool { return true })
		}
		for _, s := range t.signals {
			r.spread(s, t.members)
		}
		switch {
		case t.body != nil:
			r.handOut(t.body, t.members)
		case t.behind && !r.read():
			waitEither(r.link.ctx, nil, backoff(misses))
			misses++
			continue
		}
		misses = 0
	}
}

// handOut gives a body to every member, and lets those go who may not stay.
func (r *room) handOut(b *roomBody, members []*member) {
	if !b.skimmed {
		for i, m := range members {
			if m.deliver(b); (i+1)%handedAtOnce == 0 {
				runtime.Gosched()
			}
		}
	}
	for _, e := range b.events {
		if takesOut(e) {
			r.letGo(e, members)
		}
	}
}

// letGo takes those out whom an event takes out, and who have not come in since.
func (r *room) letGo(e *imv1.RoomEvent, members []*member) {
	last := &roomBody{after: e.Seq - 1, upto: e.Seq, events: []*imv1.RoomEvent{e}}
	r.link.exitAll(members, func(m *member) bool {
		return (e.Dissolved || slices.Contains(e.Removed, m.session.user)) && m.end(last)
	})
}

// spread gives a signal to every member but the one that it came from.
func (r *room) spread(s *imv1.RoomSignal, members []*member) {
	body := &pushed{proto: s.Signal}
	for _, m := range members {
		if m.session.number != s.Except && m.inside.Load() {
			m.session.signal(body)
			m.session.flush()
		}
	}
}

// read puts the next page of what was not pushed before what was; false when there was
// none to be had.
func (r *room) read() bool {
	r.mu.Lock()
	after, behind := r.upto, r.head-r.upto
	r.mu.Unlock()
	page, err := r.link.RoomPage(r.link.ctx, &imv1.RoomPageRequest{
		ConversationId: r.conversation, After: &after, Limit: im.MaxPage, MaxBytes: roomPageBytes,
	})
	switch {
	case err != nil:
		return false
	case page.Error != nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gone = r.gone || im.Code(page.Error.Code) == im.NotFound
		return r.gone
	case page.After != after || page.Upto <= after:
		return false
	}
	b := &roomBody{after: page.After, upto: page.Upto, events: page.Events, skimmed: behind > maxRoomGap}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = max(r.head, page.Head)
	r.queue = slices.Insert(r.queue, 0, b.parts()...)
	r.queued += b.size()
	return true
}

// RoomPage reads a page of a room from any transfer, its owner first. An im.Unavailable
// error when none answers.
func (l *Link) RoomPage(ctx context.Context, request *imv1.RoomPageRequest) (*imv1.RoomPageReply, error) {
	select {
	case l.pulls <- struct{}{}:
		defer func() { <-l.pulls }()
	case <-ctx.Done():
		return nil, errUnanswered()
	}
	p := l.roomPart(request.ConversationId)
	p.mu.Lock()
	owner := p.owner
	p.mu.Unlock()
	return unary(ctx, l, owner, request, imv1.TransferClient.RoomPage)
}
