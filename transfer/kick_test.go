package transfer_test

import (
	"maps"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// device is a user's d1, signed in with a family.
func device(user, family string) im.Device {
	return im.Device{UserID: user, DeviceID: "d1", Platform: "web", Family: family}
}

// attachAgain is what a gateway says of a session that was attached before.
func attachAgain(session uint64, user, family string, before *imv1.Attached) *imv1.ToTransfer {
	return &imv1.ToTransfer{Attaches: []*imv1.Attach{{
		Session: session, UserId: user, DeviceId: "d1", Platform: "web", Generation: before.Generation, Grant: im.Grant(family),
	}}}
}

// A session whose gateway was cut from the owner while its device was signed out does not
// come back, whether the owner is the one that the kick was for or one after it, who knows
// of none; nor does one whose device has signed in anew. Others come back.
func TestWhoIsSignedOutDoesNotAttachAgain(t *testing.T) {
	for _, successor := range []bool{false, true} {
		t.Run(map[bool]string{false: "the same owner", true: "the next owner"}[successor], func(t *testing.T) {
			w := start(t)
			w.users("alice", "bob", "carol", "dave")
			g := w.gate()
			out, anew, stays := g.attach(1, "alice", "d1"), g.attach(2, "bob", "d1"), g.attach(3, "carol", "d1")
			older := g.attach(6, "dave", "d1")
			g.close()
			must(t, w.db.SignOut(t.Context(), device("alice", "f"), device("dave", "f")))
			must(t, w.db.PutDevice(t.Context(), device("bob", "g")))
			_, err := imv1.NewTransferClient(w.conn).Kick(t.Context(), &imv1.KickRequest{UserId: "alice", DeviceId: "d1", Code: string(im.Revoked)})
			must(t, err)
			if successor {
				w.restart()
			}
			g = w.gate()
			g.up(attachAgain(1, "alice", "f", out))
			g.up(attachAgain(2, "bob", "f", anew))
			g.up(attachAgain(3, "carol", "f", stays))
			g.up(attachAgain(6, "dave", "", older)) // by a gateway that knows of no grants
			closed := map[uint64]string{}
			for len(closed) < 3 {
				k := recv(t, g.kicks)
				closed[k.Session] = k.Code
			}
			if want := map[uint64]string{1: string(im.Revoked), 2: string(im.TokenExpired), 6: string(im.Revoked)}; !maps.Equal(closed, want) {
				t.Errorf("closed %v, want %v", closed, want)
			}
			if a := recv(t, g.attached); a.Session != 3 || a.Generation.Term != stays.Generation.Term || a.Generation.Counter != stays.Generation.Counter {
				t.Errorf("attached %v, want carol's as before: %v", a, stays)
			}
			g.attach(4, "alice", "d1")
			g.attach(5, "alice", "d1")
			if k := recv(t, g.kicks); k.Session != 4 || k.Code != string(im.Superseded) {
				t.Errorf("kicked %v, want the session that a newer one has superseded", k)
			}
		})
	}
}

// A kick that is for a sign-in closes no session of a later one, and says whose it is; one of
// an older gateway, which does not say whose it is, goes with any.
func TestAKickIsForASignIn(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	attach := func(session uint64, user, family string) {
		g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{
			Session: session, UserId: user, DeviceId: "d1", Platform: "web", Grant: im.Grant(family),
		}}})
		recv(t, g.attached)
	}
	attach(1, "alice", "g")
	attach(2, "bob", "")
	kick := func(user, family string, want int32) {
		t.Helper()
		reply, err := imv1.NewTransferClient(w.conn).Kick(t.Context(), &imv1.KickRequest{
			UserId: user, DeviceId: "d1", Code: string(im.Revoked), Grant: im.Grant(family),
		})
		must(t, err)
		if reply.Closed != want {
			t.Errorf("%d sessions of %s closed, want %d", reply.Closed, user, want)
		}
	}
	kick("alice", "f", 0)
	kick("alice", "g", 1)
	if k := recv(t, g.kicks); k.Session != 1 || k.Grant != im.Grant("g") {
		t.Errorf("kicked %v", k)
	}
	kick("bob", "f", 1)
}

// A gateway that does not know the owner of an inbox learns with a page that a session's
// device has been signed out, and gets no page for it.
func TestWhoIsSignedOutGetsNoPage(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.send("bob", text("alice", "m1", "", "hello"))
	recv(t, g.pushes)
	must(t, w.db.PutDevice(t.Context(), device("alice", "f")))
	pull := func() *imv1.PullReply {
		reply, err := imv1.NewTransferClient(w.conn).Pull(t.Context(), &imv1.PullRequest{
			UserId: "alice", DeviceId: "d1", After: new(int64), Grant: im.Grant("f"),
		})
		must(t, err)
		return reply
	}
	if page := pull(); page.Kicked != nil || len(page.Entries) != 1 {
		t.Errorf("signed in: %v", page)
	}
	must(t, w.db.PutDevice(t.Context(), device("alice", "g")))
	if page := pull(); page.Kicked.GetCode() != string(im.TokenExpired) || page.Kicked.Grant != im.Grant("f") || len(page.Entries) != 0 {
		t.Errorf("signed in anew: %v", page)
	}
	must(t, w.db.SignOut(t.Context(), device("alice", "g")))
	if page := pull(); page.Kicked.GetCode() != string(im.Revoked) || len(page.Entries) != 0 {
		t.Errorf("signed out: %v", page)
	}
}

// A session that attaches again waits for the store, where a kick finds it, and another
// attach of its own takes its place; who comes for the first time does not wait for it.
func TestWhoAttachesAgainWaitsForTheStore(t *testing.T) {
	w, store := outage(t, true)
	w.users("alice", "bob")
	g := w.gate()
	alice, bob := g.attach(1, "alice", "d1"), g.attach(2, "bob", "d1")
	store.Away("Families")
	g.up(attachAgain(1, "alice", "f", alice))
	<-store.Waits("Families")
	g.up(attachAgain(2, "bob", "f", bob))
	g.up(attachAgain(2, "bob", "f", bob))
	g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{Session: 3, UserId: "bob", DeviceId: "d2", Platform: "ios"}}})
	if a := recv(t, g.attached); a.Session != 3 {
		t.Fatalf("attached %v", a)
	}
	reply, err := imv1.NewTransferClient(w.conn).Kick(t.Context(), &imv1.KickRequest{UserId: "alice", DeviceId: "d1", Code: string(im.Revoked)})
	must(t, err)
	if reply.Closed == 0 {
		t.Error("nothing was closed")
	}
	if k := recv(t, g.kicks); k.Session != 1 || k.Code != string(im.Revoked) {
		t.Errorf("kicked %v", k)
	}
	store.Back()
	if a := recv(t, g.attached); a.Session != 2 {
		t.Errorf("attached %v, want bob's again", a)
	}
	g.send("alice", text("bob", "m1", "", "hello"))
	for seen := map[uint64]bool{}; len(seen) < 2; {
		p := recv(t, g.pushes)
		if p.session == 1 || seen[p.session] {
			t.Errorf("pushed to %d", p.session)
		}
		seen[p.session] = true
	}
}

// An owner that another has overtaken, and who does not know yet, does not answer
// for a kick: the sessions may be attached to the other.
func TestAnOvertakenOwnerDoesNotAnswerForAKick(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	g.attach(1, "alice", "d1")
	partition := "inbox." + strconv.Itoa(im.Partition("alice", 2))
	last, err := w.db.LastTerm(t.Context(), partition)
	must(t, err)
	last.Term, last.Owner = last.Term+1, "another"
	must(t, w.db.InsertTerm(t.Context(), last))
	_, err = imv1.NewTransferClient(w.conn).Kick(t.Context(), &imv1.KickRequest{UserId: "alice", DeviceId: "d1", Code: string(im.Revoked)})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("kick: %v, want FAILED_PRECONDITION", err)
	}
}
