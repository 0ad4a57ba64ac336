package session

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// watchPatience is how long the answer to a watch waits for owners that do not say who is
// online; what they say later comes as a signal.
const watchPatience = 3 * time.Second

// watching is what a session watches.
type watching struct {
	asked   []string         // as the client named them
	visible map[string]int64 // those of them that it may see, and the seq of the last block that they were judged by
}

// watchedUser is a user whom sessions of this process watch. The partition's mu guards it.
type watchedUser struct {
	presence *imv1.Presence // as the owner says; nil = it has not
	sessions map[uint64]struct{}
	hidden   map[string]int64 // from these others, lately; the seq of the block
}

// maxHidden bounds the blocks of a user that are remembered for those who were judged
// before them and begin to watch after them.
const maxHidden = 1000

// watch replaces the set of users whose presence the session is told. A session has one
// such request at a time.
func (s *Session) watch(frame wire.Frame) {
	var watch imv1.Watch
	if !s.decode(frame, &watch) {
		return
	}
	ids := slices.Clone(watch.UserIds)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > im.MaxWatched {
		s.answer(frame.Seq, im.Errorf(im.TooLarge, "at most %d users can be watched", im.MaxWatched))
		return
	}
	if slices.ContainsFunc(ids, func(id string) bool { return !im.ValidID(id) }) {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "a user_id has 1 to %d bytes", im.MaxIDBytes))
		return
	}
	if s.beginWatch() {
		s.hub.crew.start(s, func(s *Session) { s.answerWatch(frame.Seq, ids) })
	}
}

// beginWatch waits for a former watch to be answered.
func (s *Session) beginWatch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closing && s.settling {
		s.wait(nil, time.Second)
	}
	s.settling = !s.closing
	return s.settling
}

// answerWatch asks whom the session may see, watches those, and answers when all of their
// owners have said who is online.
func (s *Session) answerWatch(seq int32, ids []string) {
	visible, refusal := s.visible(ids)
	s.mu.Lock()
	if refusal != nil {
		s.refuse(seq, refusal)
	} else if s.setWatch(ids, visible) {
		s.awaitPresences()
		s.put(wire.OpWatchReply, seq, &imv1.WatchReply{Presences: s.presences()})
	}
	s.settling = false
	s.wake()
	s.mu.Unlock()
	s.flush()
}

// visible returns those of some users whom the session may see, and by which block that
// was judged.
func (s *Session) visible(ids []string) (map[string]int64, *im.Error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(s.hub.ctx, callPatience)
	defer cancel()
	select {
	case s.hub.link.pulls <- struct{}{}: // like pages: as many at once as the store serves
		defer func() { <-s.hub.link.pulls }()
	case <-ctx.Done():
		return nil, errUnanswered()
	}
	reply, err := unary(ctx, s.hub.link, nil, &imv1.VisibleRequest{UserId: s.user, UserIds: ids}, imv1.TransferClient.Visible)
	if err != nil {
		return nil, im.AsError(err)
	}
	visible := make(map[string]int64, len(reply.UserIds))
	for i, id := range reply.UserIds {
		visible[id] = 0
		if i < len(reply.Seqs) { // of a transfer of this version
			visible[id] = reply.Seqs[i]
		}
	}
	return visible, nil
}

// setWatch takes a set in place of the former one; false when the session has ended. The
// caller holds mu, here and below.
func (s *Session) setWatch(asked []string, visible map[string]int64) bool {
	if s.closing {
		return false
	}
	var former map[string]int64
	if s.watches != nil {
		former = s.watches.visible
	}
	link := s.hub.link
	for id, judged := range visible {
		if !link.watch(id, s, judged) {
			delete(visible, id)
		}
	}
	for id := range former {
		if _, still := visible[id]; !still {
			link.unwatch(id, s.number)
		}
	}
	if s.watches = nil; len(asked) > 0 {
		s.watches = &watching{asked, visible}
	}
	return true
}

// endWatch ends all that the session watches.
func (s *Session) endWatch() {
	if s.watches == nil {
		return
	}
	for id := range s.watches.visible {
		s.hub.link.unwatch(id, s.number)
	}
	s.watches = nil
}

func (s *Session) awaitPresences() {
	patience := s.hub.now() + watchPatience
	for !s.closing && s.watches != nil && !s.hub.link.told(s.watches.visible) {
		if left := patience - s.hub.now(); left <= 0 || !s.wait(nil, left) {
			return
		}
	}
}

// presences answers for all that were asked for: those that the session may not see look
// offline.
func (s *Session) presences() []*imv1.Presence {
	if s.watches == nil {
		return nil
	}
	all := make([]*imv1.Presence, 0, len(s.watches.asked))
	for _, id := range s.watches.asked {
		p := &imv1.Presence{UserId: id}
		if _, visible := s.watches.visible[id]; visible {
			if known := s.hub.link.presenceOf(id); known != nil {
				p = known
			}
		}
		all = append(all, p)
	}
	return all
}

// presence tells the device of a change; while a watch is being answered the answer will.
func (s *Session) presence(p *pushed) {
	s.mu.Lock()
	settling := s.settling
	s.wake()
	s.mu.Unlock()
	if !settling {
		s.signal(p)
	}
}

// presenceSignal is a presence as a signal of the server.
func presenceSignal(p *imv1.Presence) ([]byte, error) {
	data := map[string]*structpb.Value{"user_id": structpb.NewStringValue(p.UserId), "online": structpb.NewBoolValue(p.Online)}
	if len(p.Platforms) > 0 {
		list := &structpb.ListValue{}
		for _, platform := range p.Platforms {
			list.Values = append(list.Values, structpb.NewStringValue(platform))
		}
		data["platforms"] = structpb.NewListValue(list)
	}
	if p.LastSeenMs != 0 {
		data["last_seen_ms"] = structpb.NewStringValue(strconv.FormatInt(p.LastSeenMs, 10))
	}
	signal := &imv1.Signal{Type: "presence", Data: &structpb.Struct{Fields: data}}
	return signal.MarshalVT()
}

// of returns the partition of a user.
func (l *Link) of(user string) *partition { return &l.parts[im.Partition(user, len(l.parts))] }

// watch has a session told of a user's presence; false where the user has blocked the
// session's since that was judged. It may be called again.
func (l *Link) watch(user string, s *Session, judged int64) bool {
	p := l.of(user)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[user]
	if w == nil {
		w = &watchedUser{sessions: map[uint64]struct{}{}}
		if p.watched == nil {
			p.watched = map[string]*watchedUser{}
		}
		p.watched[user] = w
		if p.owner != nil {
			p.owner.watch(user, false)
		}
	}
	if w.hidden[s.user] > judged {
		return false
	}
	w.sessions[s.number] = struct{}{}
	return true
}

func (l *Link) unwatch(user string, session uint64) {
	p := l.of(user)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[user]
	if w == nil {
		return
	}
	if delete(w.sessions, session); len(w.sessions) > 0 {
		return
	}
	delete(p.watched, user)
	if p.owner != nil {
		p.owner.watch(user, true)
	}
}

// watchAgain tells a new owner whom this process watches. What the former one said stands
// until this one says otherwise.
func (p *partition) watchAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner == nil {
		return
	}
	for user := range p.watched {
		p.owner.watch(user, false)
	}
}

// told reports whether the owners of users have said who of them is online.
func (l *Link) told(users map[string]int64) bool {
	for id := range users {
		if l.presenceOf(id) == nil {
			return false
		}
	}
	return true
}

// presenceOf is what the owner of a watched user has said last, nil for nothing.
func (l *Link) presenceOf(user string) *imv1.Presence {
	p := l.of(user)
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.watched[user]; w != nil {
		return w.presence
	}
	return nil
}

// presence takes an owner's word and passes it on to who watches, if it is news.
func (st *stream) presence(now *imv1.Presence) {
	link := st.peer.link
	p := link.of(now.UserId)
	p.mu.Lock()
	w := p.watched[now.UserId]
	if w == nil || p.owner != st || samePresence(w.presence, now) {
		p.mu.Unlock()
		return
	}
	w.presence = now
	sessions := make([]uint64, 0, len(w.sessions))
	for number := range w.sessions {
		sessions = append(sessions, number)
	}
	p.mu.Unlock()
	encoded, err := presenceSignal(now)
	if err != nil {
		return // texts of ours always can be
	}
	body := &pushed{proto: encoded}
	for _, number := range sessions {
		st.touch(link.session(number), func(s *Session) { s.presence(body) })
	}
}

// hidden stops showing a user to another one who was judged before a block.
func (st *stream) hidden(h *imv1.Hidden) {
	link := st.peer.link
	p := link.of(h.UserId)
	p.mu.Lock()
	w := p.watched[h.UserId]
	if w == nil || p.owner != st {
		p.mu.Unlock()
		return
	}
	if w.hidden == nil || len(w.hidden) >= maxHidden {
		w.hidden = map[string]int64{}
	}
	w.hidden[h.FromId] = max(w.hidden[h.FromId], h.Seq)
	sessions := slices.Collect(maps.Keys(w.sessions))
	p.mu.Unlock()
	for _, number := range sessions {
		if s := link.session(number); s != nil && s.user == h.FromId {
			st.touch(s, func(s *Session) { s.hide(h.UserId, h.Seq) })
		}
	}
}

// hide takes a user out of those whom the session sees, who looks offline then, if that
// was judged before a block.
func (s *Session) hide(user string, block int64) {
	s.mu.Lock()
	hides := false
	if s.watches != nil {
		judged, visible := s.watches.visible[user]
		hides = visible && judged < block
	}
	if hides {
		delete(s.watches.visible, user)
		s.hub.link.unwatch(user, s.number)
		s.wake()
	}
	settling := s.settling
	s.mu.Unlock()
	if encoded, err := presenceSignal(&imv1.Presence{UserId: user}); err == nil && hides && !settling {
		s.signal(&pushed{proto: encoded})
	}
}

func samePresence(a, b *imv1.Presence) bool {
	return a != nil && a.Online == b.Online && a.LastSeenMs == b.LastSeenMs && slices.Equal(a.Platforms, b.Platforms)
}

// relay passes a signal of one transfer on to those that own the inboxes of its users.
func (st *stream) relay(r *imv1.Relay) {
	link := st.peer.link
	byOwner := map[*stream][]string{}
	for _, id := range r.UserIds {
		if owner, _ := link.of(id).owned(); owner != nil && owner != st {
			byOwner[owner] = append(byOwner[owner], id)
		}
	}
	for owner, ids := range byOwner {
		owner.passOn(&imv1.Relay{UserIds: ids, Signal: r.Signal})
	}
}
