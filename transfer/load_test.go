package transfer

import (
	"fmt"
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Who is in memory because of a message, and whose cursors are being read because a
// device attaches, is not forgotten meanwhile, however many others are.
func TestWhoIsWaitedForIsNotForgotten(t *testing.T) {
	for name, inFlight := range map[string]bool{"while the load is on its way": true, "before it has begun": false} {
		t.Run(name, func(t *testing.T) {
			// Given more users in memory than are kept, and a device of one that attaches.
			s := benchServer()
			box := newInbox(s, 0, benchTerm(s))
			box.users["alice"] = &inboxUser{id: "alice", head: 7}
			for i := range maxInboxUsers {
				id := fmt.Sprint("idle", i)
				box.users[id] = &inboxUser{id: id}
			}
			g := newGateway("g", newMetrics(nil))
			attach := &imv1.Attach{Session: 1, UserId: "alice", DeviceId: "d1", Platform: "web"}
			box.handle(controls{from: g, attaches: []*imv1.Attach{attach}})
			if inFlight {
				box.loadWanted(t.Context())
			}

			// When a batch comes, before which the idle are forgotten.
			if _, err := box.prepare(newCommit(&inboxBatch{})); err != nil {
				t.Fatal(err)
			}
			if len(box.users) != 1 {
				t.Errorf("%d users are in memory", len(box.users))
			}
			box.loadWanted(t.Context())

			// Then the device is attached at the head that is known.
			if err := box.settle(<-box.loaded); err != nil {
				t.Fatal(err)
			}
			message, _ := g.take()
			if len(message.Attached) != 1 || message.Attached[0].Head != 7 {
				t.Errorf("attached: %v", message.Attached)
			}
		})
	}
}
