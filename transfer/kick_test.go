package transfer_test

import (
	"context"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// A session whose stream was broken, or whose owner changed, while its device was
// kicked does not come back by attaching again; one that logs in anew does.
func TestAKickReachesWhoIsAboutToAttachAgain(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	before := g.attach(1, "alice", "d1")
	w.restart()
	g = w.gate()
	_, err := imv1.NewTransferClient(w.conn).Kick(context.Background(), &imv1.KickRequest{UserId: "alice", DeviceId: "d1", Code: string(im.Revoked)})
	must(t, err)
	g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{
		Session: 1, UserId: "alice", DeviceId: "d1", Platform: "web", Generation: before.Generation,
	}}})
	if k := recv(t, g.kicks); k.Session != 1 || k.Code != string(im.Revoked) {
		t.Errorf("the session that was to be closed: %v", k)
	}
	g.attach(2, "alice", "d1")
	g.attach(3, "alice", "d1")
	if k := recv(t, g.kicks); k.Session != 2 || k.Code != string(im.Superseded) {
		t.Errorf("kicked %v, want the session that a newer one has superseded", k)
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
