package transfer

import (
	"context"
	"fmt"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// maxLoad bounds the users of one load, so that it ends within a step's time
	// also when everybody attaches at once.
	maxLoad = 512
	// maxAsked bounds the acks of one partition that wait, for their user or for
	// their cursor to be stored, and want an answer. Above it the answer is
	// unavailable.
	maxAsked = 8192
)

// asked is a part of a stream message and the gateway that it came from.
type asked[T any] struct {
	from *gateway
	what T
}

// waiting is what waits until a user has been loaded. It is bounded by the user's
// sessions, for each has one attach, one head request and one ack in it; acks that
// want an answer are bounded by maxAsked.
type waiting struct {
	head     bool // to be read, and the cursors
	cursors  bool
	attaches []asked[*imv1.Attach]
	acks     []asked[*imv1.Acked]
	heads    []asked[*imv1.HeadRequest]
}

// load reads users from the store, beside the partition's goroutine, which alone
// has the rest of it.
type load struct {
	order    []string
	waits    map[string]*waiting
	heads    []string // users whose head is to be read
	cursors  []string
	devices  []im.DeviceKey          // of sessions that attach again
	found    []im.InboxHead          // of heads
	rows     []im.Cursor             // of cursors
	families map[im.DeviceKey]string // of devices
	err      error
}

// want has a user loaded, and returns what waits for that.
func (b *inbox) want(id string, head, cursors bool) *waiting {
	w := b.waits[id]
	if w == nil {
		w = &waiting{}
		b.waits[id] = w
		b.order = append(b.order, id)
	}
	w.head, w.cursors = w.head || head, w.cursors || cursors
	return w
}

// wantFirst has the users of a batch loaded before everybody else.
func (b *inbox) wantFirst(ids []string) {
	behind := b.order
	b.order = nil
	for _, id := range ids {
		b.want(id, true, false)
	}
	b.order = append(slices.Clone(ids), behind...)
}

// known returns a user who is in memory with the cursors.
func (b *inbox) known(id string) *inboxUser {
	if user := b.users[id]; user != nil && user.cursors != nil {
		return user
	}
	return nil
}

// loadWanted reads the users who are waited for, the oldest first, one load at a
// time. Whoever comes meanwhile waits for the next one.
func (b *inbox) loadWanted(ctx context.Context) {
	if b.loading != nil || len(b.order) == 0 {
		return
	}
	l := &load{waits: map[string]*waiting{}}
	for len(b.order) > 0 && len(l.order) < maxLoad {
		id := b.order[0]
		b.order = b.order[1:]
		if w := b.waits[id]; w != nil {
			delete(b.waits, id)
			l.add(id, w)
		}
	}
	if len(l.order) == 0 {
		return
	}
	b.loading = l
	b.server.goRun(func() {
		l.err = b.server.retry(ctx, b.log, func(ctx context.Context) error { return l.read(ctx, b.store) })
		b.loaded <- l
	})
}

func (l *load) add(id string, w *waiting) {
	l.order = append(l.order, id)
	l.waits[id] = w
	if w.head {
		l.heads = append(l.heads, id)
	}
	if w.cursors {
		l.cursors = append(l.cursors, id)
	}
	for _, a := range w.attaches {
		if a.what.Generation != nil {
			l.devices = append(l.devices, im.DeviceKey{UserID: a.what.UserId, DeviceID: a.what.DeviceId})
		}
	}
}

func (l *load) read(ctx context.Context, store Store) (err error) {
	if len(l.heads) > 0 {
		if l.found, err = store.Heads(ctx, l.heads); err != nil {
			return fmt.Errorf("load heads: %w", err)
		}
	}
	if len(l.cursors) > 0 {
		if l.rows, err = store.Cursors(ctx, l.cursors); err != nil {
			return fmt.Errorf("load cursors: %w", err)
		}
	}
	if len(l.devices) > 0 {
		families, err := store.Families(ctx, l.devices)
		if err != nil {
			return fmt.Errorf("load families: %w", err)
		}
		l.families = make(map[im.DeviceKey]string, len(families))
		for i, device := range l.devices {
			l.families[device] = families[i]
		}
	}
	return nil
}

// settle takes a load in and does what waited for it, and what has come for the
// same users meanwhile.
func (b *inbox) settle(l *load) error {
	b.loading = nil
	if l.err != nil {
		return l.err
	}
	stored := make(map[string]int64, len(l.heads))
	for i, id := range l.heads {
		head := l.found[i].Head
		stored[id] = head
		user := b.users[id]
		if user == nil {
			b.users[id] = &inboxUser{id: id, head: head, arrivedT: head}
		} else if head > user.head && b.pending == nil {
			return fmt.Errorf("inbox of %s has a head of %d, ours is %d: %w", id, head, user.head, errForeign)
		}
	}
	b.takeCursorRows(l)
	for _, id := range l.order {
		head, ok := stored[id]
		if !ok {
			head = notRead
		}
		b.resume(l, l.waits[id], head)
		if w := b.waits[id]; w != nil {
			delete(b.waits, id)
			b.resume(nil, w, notRead)
		}
	}
	return nil
}

func (b *inbox) takeCursorRows(l *load) {
	for _, id := range l.cursors {
		if user := b.users[id]; user.cursors == nil {
			user.cursors = []im.Cursor{}
		}
	}
	for _, row := range l.rows {
		user := b.users[row.UserID]
		known := user.cursor(row.DeviceID)
		row.Seq, row.ReceiptedSeq = max(row.Seq, known.Seq), max(row.ReceiptedSeq, known.ReceiptedSeq)
		user.setCursor(row)
	}
}

// notRead stands for a stored head that has not been read.
const notRead = -1

// resume does what waited for a user, in the order of a stream message. stored is
// the head as it was read since it came, or notRead; l is the load that was for it, nil for
// what came during another.
func (b *inbox) resume(l *load, w *waiting, stored int64) {
	for _, a := range w.attaches {
		switch {
		case l == nil:
			b.attach(a.from, a.what)
		case !b.signedOut(l, a.from, a.what):
			b.join(b.users[a.what.UserId], a.from, a.what)
		}
	}
	for _, a := range w.acks {
		if a.what.Request != 0 {
			b.asked--
		}
		b.ack(a.from, a.what, stored)
	}
	for _, h := range w.heads {
		b.tellHead(h.from, h.what)
	}
}

// waitingFor returns what waits for a user: for the load in flight, for a later one.
func (b *inbox) waitingFor(id string) []*waiting {
	var all []*waiting
	if b.loading != nil && b.loading.waits[id] != nil {
		all = append(all, b.loading.waits[id])
	}
	if b.waits[id] != nil {
		all = append(all, b.waits[id])
	}
	return all
}

// drop forgets the attaches and head requests of a session, or, for 0, of all
// sessions of a stream. Acks stay: they are true whatever has become of their
// sender.
func (w *waiting) drop(from *gateway, session uint64) {
	w.attaches = slices.DeleteFunc(w.attaches, func(a asked[*imv1.Attach]) bool {
		return a.from == from && (session == 0 || a.what.Session == session)
	})
	w.heads = slices.DeleteFunc(w.heads, func(h asked[*imv1.HeadRequest]) bool {
		return h.from == from && (session == 0 || h.what.Session == session)
	})
}
