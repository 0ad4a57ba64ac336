package test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/app"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// Who can not decode an item and dies before the queue has forgotten it finds it again,
// and keeps it once.
func whatCanNotBeDecoded(s *scene) {
	w := s.talk()
	before := len(s.quarantined())
	s.system.disturb(s.t, im.Partition(w.bob.userID, inboxPartitions), s.arm)
	s.dies()
	w.areServed()
	if items := s.quarantined(); len(items) != before+1 {
		s.t.Errorf("%d items are in the quarantine, there were %d: %+v", len(items), before, items)
	}
}

// quarantined lists what is in the quarantine.
func (s *scene) quarantined() []app.QuarantinedItem {
	s.t.Helper()
	var page app.QuarantinePage
	if err := s.operator(s.t.Context(), http.MethodGet, "/quarantine", &page); err != nil {
		s.t.Fatal(err)
	}
	return page.Items
}

// operator makes a request to the transfer's operators' listener. What is not there is
// im.NotFound.
func (s *scene) operator(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, s.system.transfer().Admin()+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Requested-By", "test")
	response, err := s.web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(response.Body).Decode(into)
	case http.StatusNotFound:
		return im.Errorf(im.NotFound, "%s", path)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return im.Errorf(im.Internal, "%s: %s: %s", path, response.Status, text)
}

// A command that is replayed, and whose operator is not told, is carried out once.
func aReplayedCommand(s *scene) {
	w := s.talk()
	send := w.firstMessage()
	item := commandItem(s, w, send)
	store := s.system.store(s.t)
	if err := store.Quarantine(s.t.Context(), item); err != nil {
		s.t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.arm()
	s.replayTwice(&item)
	w.bob.connect()
	w.retries(s, send, kept)
	w.areServed()
}

// replayTwice replays an item, at which the server dies, and again.
func (s *scene) replayTwice(item *im.Quarantined) {
	s.t.Helper()
	path := fmt.Sprintf("/quarantine/%d/replay", item.ID())
	s.diesOf(s.row.place, func(ctx context.Context) {
		s.operator(ctx, http.MethodPost, path, &struct{}{}) //nolint:errcheck // the server dies of it
	})
	s.mend()
	_, err := again(s.t, func() (int, error) { return 0, s.operator(s.t.Context(), http.MethodPost, path, &struct{}{}) })
	if err != nil && codeOf(err) != im.NotFound {
		s.t.Errorf("the second replay: %v", err)
	}
	for _, left := range s.quarantined() {
		if left.ID == item.ID() {
			s.t.Error("the item is still in the quarantine")
		}
	}
}

// commandItem is a send of alice's that an earlier version could not decode.
func commandItem(s *scene, w *talkers, send *imv1.Send) im.Quarantined {
	s.t.Helper()
	message := imv1.Message{Content: send.Content}
	body, err := message.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	conversation := im.DirectConversation(w.alice.userID, w.bob.userID)
	pack := imv1.CommandPack{Commands: []*imv1.Command{{
		UserId: w.alice.userID, DeviceId: w.alice.id, ClientId: send.ClientMsgId, ConversationId: conversation,
		ConversationType: string(im.Direct), PeerId: w.bob.userID, Kind: string(im.KindMessage), AcceptedAtMs: 1,
		Body: body, Hash: binary.BigEndian.Uint64(sum[:8]),
	}}}
	item := im.Quarantined{Topic: transfer.TopicConversation, Partition: im.Partition(conversation, conversationPartitions), Reason: "a test", AtMs: 1}
	if item.Body, err = pack.MarshalVT(); err != nil {
		s.t.Fatal(err)
	}
	return item
}

// conversationPartitions is the default, and so that of these systems.
const conversationPartitions = 16

// A pack that is replayed, and whose operator is not told, reaches an inbox once.
func aReplayedPack(s *scene) {
	w := s.talk()
	s.armAt(im.CrashInserted, 1)
	send := w.firstMessage()
	s.diesOf(im.CrashInserted, s.whoSends(w.alice, send))
	item := s.quarantinesPackOf(w.bob)
	s.arm()
	s.replayTwice(&item)
	w.bob.connect()
	w.bob.untilMessages(1)
	w.retries(s, send, kept)
	w.areServed()
}

// quarantinesPackOf moves the pack for a device's user from the outbox to the quarantine.
func (s *scene) quarantinesPackOf(d *device) (item im.Quarantined) {
	s.t.Helper()
	store := s.system.store(s.t)
	defer store.Close()
	packs, err := store.PendingPacks(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pack := range packs {
		if pack.Partition != im.Partition(d.userID, inboxPartitions) {
			continue
		}
		item = im.Quarantined{Topic: transfer.TopicInbox, Partition: pack.Partition, Reason: "a test", Body: pack.Body, AtMs: 1}
		if err := store.Quarantine(s.t.Context(), item); err != nil {
			s.t.Fatal(err)
		}
		if err := store.CommitInbox(s.t.Context(), &im.InboxCommit{Done: []im.PackRef{pack.Ref}}); err != nil {
			s.t.Fatal(err)
		}
	}
	if item.Body == nil {
		s.t.Fatalf("no pack for %s is in the outbox", d.id)
	}
	return item
}
