package transfer_test

import (
	"context"
	"testing"

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
