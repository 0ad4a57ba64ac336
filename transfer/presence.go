package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// watched is a user whose presence some gateways want to know. There is one for as long
// as any does; gateways say so again to the next owner.
type watched struct {
	by     map[*gateway]struct{}
	told   *imv1.Presence // to all of them; nil = nothing yet
	seenMs int64          // when the user was online last
	known  bool           // seenMs is what the store has, or later
	asked  bool           // the store is to be asked, or is being asked
	until  time.Time      // nobody is told before that the user has gone: the sessions may be about to attach again
}

// lastSeen is when users were online last, as the store has it.
type lastSeen struct {
	ids []string
	ms  []int64
	err error
}

// watch begins to tell a gateway of a user's presence, or ends that.
func (b *inbox) watch(from *gateway, w *imv1.Watching) {
	of := b.watched[w.UserId]
	if w.Over {
		if of != nil {
			b.unwatch(w.UserId, of, from)
		}
		return
	}
	if of == nil {
		of = &watched{by: map[*gateway]struct{}{}, until: b.settled}
		b.watched[w.UserId] = of
	}
	of.by[from] = struct{}{}
	b.hideAgain(from, w.UserId)
	if of.told != nil {
		from.presence(of.told)
		return
	}
	b.judge(w.UserId)
}

func (b *inbox) unwatch(id string, of *watched, from *gateway) {
	delete(of.by, from)
	if len(of.by) == 0 {
		delete(b.watched, id)
	}
}

// judge looks at a user's presence and tells who watches, if it has changed. It costs
// nothing where nobody does.
func (b *inbox) judge(id string) {
	of := b.watched[id]
	if of == nil {
		return
	}
	now := b.presence(id, of)
	if of.told != nil && now.Online == of.told.Online && now.LastSeenMs == of.told.LastSeenMs && slices.Equal(now.Platforms, of.told.Platforms) {
		return
	}
	if wait := of.until.Sub(b.server.now()); wait > 0 && less(now, of.told) {
		b.judgeAfter(wait)
		return
	}
	if !now.Online && !of.known {
		if !of.asked {
			of.asked = true
			b.unseen = append(b.unseen, id)
		}
		return
	}
	of.told = now
	for g := range of.by {
		g.presence(now)
	}
}

// less reports whether a presence takes something back.
func less(now, told *imv1.Presence) bool {
	return !now.Online || len(now.Platforms) < len(told.GetPlatforms())
}

// presence is a user's as it is.
func (b *inbox) presence(id string, of *watched) *imv1.Presence {
	p := &imv1.Presence{UserId: id}
	if user := b.users[id]; user != nil {
		for _, a := range user.sessions {
			if a.shown && !slices.Contains(p.Platforms, a.platform) {
				p.Platforms = append(p.Platforms, a.platform)
			}
		}
		if user.seenMs > 0 {
			of.seenMs, of.known = max(of.seenMs, user.seenMs), true
		}
	}
	slices.Sort(p.Platforms)
	if p.Online = len(p.Platforms) > 0; !p.Online {
		p.LastSeenMs = of.seenMs
	}
	return p
}

// show makes a session count as online; one that waits to attach will when it does.
func (b *inbox) show(from *gateway, s *imv1.Shown) {
	for _, w := range b.waitingFor(s.UserId) {
		for _, a := range w.attaches {
			a.what.Shown = a.what.Shown || a.from == from && a.what.Session == s.Session
		}
	}
	user := b.users[s.UserId]
	if user == nil {
		return
	}
	for _, a := range user.sessions {
		if a.gateway == from && a.session == s.Session && !a.shown {
			a.shown = true
			b.judge(user.id)
		}
	}
}

// dismiss takes those sessions off a user that have ended. The user was seen until now,
// also where nobody had been told yet.
func (b *inbox) dismiss(user *inboxUser, ended func(*attachment) bool) {
	before := len(user.sessions)
	user.sessions = slices.DeleteFunc(user.sessions, ended)
	if len(user.sessions) < before {
		user.seenMs = b.server.now().UnixMilli()
		b.judge(user.id)
	}
}

// stopTelling forgets what a stream that has ended wanted to know.
func (b *inbox) stopTelling(gone *gateway) {
	for id, of := range b.watched {
		b.unwatch(id, of, gone)
	}
}

// judgeAfter has everybody judged again after a time.
func (b *inbox) judgeAfter(wait time.Duration) {
	if b.judgeAt == nil {
		b.judgeAt = time.After(wait)
	}
}

func (b *inbox) judgeAll() {
	b.judgeAt = nil
	for id := range b.watched {
		b.judge(id)
	}
}

// lookSeen asks the store when users were online last, beside the partition's
// goroutine, for as many as there are.
func (b *inbox) lookSeen(ctx context.Context) {
	if b.looking || len(b.unseen) == 0 {
		return
	}
	n := min(len(b.unseen), maxLoad)
	l := &lastSeen{ids: b.unseen[:n:n]}
	b.unseen, b.looking = b.unseen[n:], true
	b.server.goRun(func() {
		l.err = b.server.retry(ctx, b.log, func(ctx context.Context) (err error) {
			if l.ms, err = b.store.LastSeen(ctx, l.ids); err != nil {
				return fmt.Errorf("read when users were seen: %w", err)
			}
			return nil
		})
		b.seen <- l
	})
}

func (b *inbox) learnSeen(l *lastSeen) error {
	b.looking = false
	if l.err != nil {
		return l.err
	}
	for i, id := range l.ids {
		if of := b.watched[id]; of != nil {
			of.seenMs, of.known, of.asked = max(of.seenMs, l.ms[i]), true, false
			b.judge(id)
		}
	}
	return nil
}

// Visible says whose presence a user may see: of those with whom they share a
// conversation, and their own.
func (s *Server) Visible(ctx context.Context, r *imv1.VisibleRequest) (*imv1.VisibleReply, error) {
	if len(r.UserIds) > im.MaxWatched {
		return nil, errTooManyUsers
	}
	shared, err := s.store.Sharing(ctx, r.UserId, r.UserIds)
	if err != nil {
		s.complain(s.log, "read who shares a conversation", "error", err)
		return nil, errStoreAway
	}
	reply := &imv1.VisibleReply{}
	for _, other := range shared {
		reply.UserIds, reply.Seqs = append(reply.UserIds, other.UserID), append(reply.Seqs, other.Seq)
	}
	if slices.Contains(r.UserIds, r.UserId) && !slices.Contains(reply.UserIds, r.UserId) {
		reply.UserIds, reply.Seqs = append(reply.UserIds, r.UserId), append(reply.Seqs, 0)
	}
	return reply, nil
}
