package transfer

import (
	"cmp"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// attachment is one live session of a user, on some gateway.
type attachment struct {
	gateway  *gateway
	session  uint64
	deviceID string
	platform string
	term     int64 // generation: (term, counter), given at the first attach
	counter  int64
	grant    uint64 // of its sign-in; 0 = its gateway has given none
	shown    bool   // its device has been written the backlog: it counts as online
}

// handle does what a batch of controls wants, or keeps it until the users concerned
// have been loaded; it never waits. It runs on the partition's goroutine, between
// commits' ends, so that an attach sees exactly the entries below the head that it
// is answered with, and every later one is pushed.
func (b *inbox) handle(c controls) {
	if c.gone != nil {
		b.dropGateway(c.gone)
	}
	for _, d := range c.detaches {
		b.detach(c.from, d)
	}
	for _, a := range c.attaches {
		b.attach(c.from, a)
	}
	for _, a := range c.acks {
		b.ack(c.from, a, notRead)
	}
	for _, h := range c.heads {
		b.tellHead(c.from, h)
	}
	if c.kick != nil {
		c.kick.closed <- b.kick(c.kick.request)
	}
	if c.signal != nil {
		b.signal(c.signal)
	}
	b.handlePresence(c)
}

func (b *inbox) handlePresence(c controls) {
	for _, s := range c.shown {
		b.show(c.from, s)
	}
	for _, w := range c.watches {
		b.watch(c.from, w)
	}
	for _, w := range c.written {
		b.written(w)
	}
}

// attach makes a session known, once its user is and it is held against its device's row if
// it was attached before.
func (b *inbox) attach(from *gateway, a *imv1.Attach) {
	if user := b.known(a.UserId); user != nil && a.Generation == nil {
		b.join(user, from, a)
		return
	}
	b.waitToAttach(from, a)
}

// join makes a session known and closes those that it replaces.
func (b *inbox) join(user *inboxUser, from *gateway, a *imv1.Attach) {
	session := &attachment{gateway: from, session: a.Session, deviceID: a.DeviceId, platform: a.Platform, grant: a.Grant, shown: a.Shown}
	if a.Generation != nil {
		session.term, session.counter = a.Generation.Term, a.Generation.Counter
	} else {
		b.counter++
		session.term, session.counter = b.term, b.counter
	}
	user.sessions = slices.DeleteFunc(user.sessions, func(old *attachment) bool {
		return old.gateway.id == from.id && old.session == a.Session // also of its former stream
	})
	user.sessions = append(user.sessions, session)
	im.CrashPoint(im.CrashAttached)
	from.attached(&imv1.Attached{
		Session: a.Session, Head: user.head, Acked: user.cursor(a.DeviceId).Seq,
		Generation: &imv1.Generation{Term: session.term, Counter: session.counter},
	})
	b.closeOlder(user, session)
}

// waitToAttach keeps an attach, the newest of its session, until the store has been asked
// about its user or device.
func (b *inbox) waitToAttach(from *gateway, a *imv1.Attach) {
	w := b.want(a.UserId, b.users[a.UserId] == nil, b.known(a.UserId) == nil)
	w.attaches = slices.DeleteFunc(w.attaches, func(old asked[*imv1.Attach]) bool {
		return old.from.id == from.id && old.what.Session == a.Session
	})
	w.attaches = append(w.attaches, asked[*imv1.Attach]{from, a})
}

// tellHead answers a head request; one that waits already stands for all of its
// session.
func (b *inbox) tellHead(from *gateway, h *imv1.HeadRequest) {
	if user := b.users[h.UserId]; user != nil {
		from.head(&imv1.HeadOf{Session: h.Session, Head: user.head})
		return
	}
	w := b.want(h.UserId, true, false)
	if !slices.ContainsFunc(w.heads, func(old asked[*imv1.HeadRequest]) bool {
		return old.from == from && old.what.Session == h.Session
	}) {
		w.heads = append(w.heads, asked[*imv1.HeadRequest]{from, h})
	}
}

// closeOlder enforces one session per device, then the limit per platform. The
// generation decides, so that two that connect at once agree on who stays.
func (b *inbox) closeOlder(user *inboxUser, newest *attachment) {
	slices.SortFunc(user.sessions, func(x, y *attachment) int {
		return cmp.Or(cmp.Compare(x.term, y.term), cmp.Compare(x.counter, y.counter))
	})
	onPlatform := 0
	var closed []*attachment
	for i := len(user.sessions) - 1; i >= 0; i-- { // newest first
		a := user.sessions[i]
		code := im.DisconnectCode("")
		if slices.ContainsFunc(user.sessions[i+1:], func(x *attachment) bool { return x.deviceID == a.deviceID }) {
			code = im.Superseded
		} else if a.platform == newest.platform {
			if onPlatform++; onPlatform > b.server.config.devicesOn(a.platform) {
				code = im.Replaced
			}
		}
		if code != "" {
			closed = append(closed, a)
			a.gateway.kick(&imv1.Kicked{Session: a.session, Code: string(code), Reason: "another connection took its place"})
		}
	}
	b.dismiss(user, func(a *attachment) bool { return slices.Contains(closed, a) })
	b.judge(user.id)
}

// detach forgets a session. Cursors that have moved are stored at once.
func (b *inbox) detach(from *gateway, d *imv1.Detach) {
	for _, w := range b.waitingFor(d.UserId) {
		w.drop(from, d.Session)
	}
	user := b.users[d.UserId]
	if user == nil {
		return
	}
	b.dismiss(user, func(a *attachment) bool { return a.gateway == from && a.session == d.Session })
	b.flush = b.flush || len(b.cursors) > 0
	b.progress.hurry()
}

// dropGateway forgets every session of a stream that has ended.
func (b *inbox) dropGateway(gone *gateway) {
	for _, w := range b.waits {
		w.drop(gone, 0)
	}
	if b.loading != nil {
		for _, w := range b.loading.waits {
			w.drop(gone, 0)
		}
	}
	b.stopTelling(gone)
	grace := b.server.now().Add(b.server.config.PresenceGrace)
	for _, user := range b.users {
		if len(user.sessions) == 0 {
			continue
		}
		if of := b.watched[user.id]; of != nil {
			of.until = grace
		}
		b.dismiss(user, func(a *attachment) bool { return a.gateway == gone })
	}
}

// signedOut closes a session that attaches again if its device has been signed out, or in
// anew, since: while its gateway was cut from the owner, or before there was this owner, a
// kick did not find it.
func (b *inbox) signedOut(l *load, from *gateway, a *imv1.Attach) bool {
	if a.Generation == nil {
		return false
	}
	over := endOf(a.Grant, l.families[im.DeviceKey{UserID: a.UserId, DeviceID: a.DeviceId}])
	if over == nil {
		return false
	}
	over.Session = a.Session
	from.kick(over)
	return true
}

// endOf says why a sign-in is over when its device has a family by now; nil where it is
// not. Gateways that are older give no grant: of theirs only those are known to be over
// whose device is signed out.
func endOf(grant uint64, family string) *imv1.Kicked {
	switch now := im.Grant(family); {
	case now == 0:
		return &imv1.Kicked{Grant: grant, Code: string(im.Revoked), Reason: "the device was signed out"}
	case grant != 0 && grant != now: // its client may have the new token
		return &imv1.Kicked{Grant: grant, Code: string(im.TokenExpired), Reason: "the device has signed in anew"}
	}
	return nil
}

// kick closes live sessions of a user, those that wait to attach among them: of one
// device, or all; of one sign-in, or all.
func (b *inbox) kick(request *imv1.KickRequest) int32 {
	closed := int32(0)
	kicked := func(g *gateway, session uint64, device string, grant uint64) bool {
		if request.DeviceId != "" && request.DeviceId != device || request.Grant != 0 && grant != 0 && request.Grant != grant {
			return false
		}
		g.kick(&imv1.Kicked{Session: session, Grant: request.Grant, Code: request.Code, Reason: request.Reason})
		closed++
		return true
	}
	for _, w := range b.waitingFor(request.UserId) {
		w.attaches = slices.DeleteFunc(w.attaches, func(a asked[*imv1.Attach]) bool {
			return kicked(a.from, a.what.Session, a.what.DeviceId, a.what.Grant)
		})
	}
	if user := b.users[request.UserId]; user != nil {
		b.dismiss(user, func(a *attachment) bool { return kicked(a.gateway, a.session, a.deviceID, a.grant) })
	}
	return closed
}
