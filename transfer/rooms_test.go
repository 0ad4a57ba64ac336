package transfer_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// lobby is a room, and a gateway that has it open.
type lobby struct {
	*world
	conversation string
	stream       imv1.Transfer_ConnectClient
	requests     uint64
}

func openLobby(t *testing.T) *lobby {
	w := start(t, func(_ *transfer.Config, w *world) { w.store = storetest.WithoutOutbox(w.db) })
	l := &lobby{world: w, conversation: im.RoomConversation("lobby")}
	data, err := structpb.NewStruct(map[string]any{"room_id": "lobby", "name": "Lobby"})
	must(t, err)
	body, err := (&imv1.Membership{Action: string(im.ActionCreated), Data: data}).MarshalVT()
	must(t, err)
	l.insert(im.Event{ID: 1, Seq: 1, Kind: im.KindMembership, DeviceID: "service", ClientID: "made", Body: body})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l.stream, err = imv1.NewTransferClient(w.conn).Connect(ctx)
	must(t, err)
	l.up(&imv1.ToTransfer{Hello: &imv1.Hello{ServerId: "gate", Role: "websocket"}})
	for owned := 0; owned < 2; { // both conversation partitions are, before it attaches
		m, err := l.stream.Recv()
		must(t, err)
		owned += len(m.RoomOwnerships)
	}
	l.attach()
	return l
}

func (l *lobby) attach() {
	l.up(&imv1.ToTransfer{Rooms: []*imv1.RoomHere{{ConversationId: l.conversation, Online: 1, Attach: true}}})
}

func (l *lobby) up(m *imv1.ToTransfer) { must(l.t, l.stream.Send(m)) }

func (l *lobby) insert(e im.Event) {
	e.ConversationID = l.conversation
	must(l.t, l.db.InsertEvents(context.Background(), []im.Event{e}, nil))
}

func (l *lobby) speaks(id, words string) {
	body, err := (&imv1.Send{
		ClientMsgId: id, To: &imv1.To{To: &imv1.To_RoomId{RoomId: "lobby"}}, Content: &imv1.Content{Type: "text", Text: words},
	}).MarshalVT()
	must(l.t, err)
	l.requests++
	l.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: l.requests, UserId: "ann", DeviceId: "d1",
		What: &imv1.Publish_Vouched{Vouched: &imv1.Vouched{What: &imv1.Vouched_Send{Send: body}, Joined: true}},
	}}})
}

// hears waits until the gateway is told of a head, and says whether by a push. As gateways
// do, it attaches again when the partition is taken anew.
func (l *lobby) hears(head int64) (pushed bool) {
	l.t.Helper()
	for {
		m, err := l.stream.Recv()
		must(l.t, err)
		for _, o := range m.RoomOwnerships {
			if !o.Released {
				l.attach()
			}
		}
		for _, p := range m.Pushes {
			if p.GetRoom().GetUpto() >= head {
				return true
			}
		}
		for _, there := range m.Rooms {
			if there.Head >= head {
				return false
			}
		}
	}
}

// A former owner has stored a message after this one was asked for the head, and died
// before it pushed it. The command comes again, and is answered as a repeat: that is when
// the room's gateways must learn of it.
func TestWhatAFormerOwnerStoredInARoomIsTold(t *testing.T) {
	for name, spoken := range map[string]bool{"before anything was said here": false, "behind what was said here": true} {
		t.Run(name, func(t *testing.T) {
			l := openLobby(t)
			l.users("ann")
			l.hears(1)
			next := int64(2)
			if spoken {
				l.speaks("first", "a")
				if !l.hears(next) {
					t.Error("what is said is not pushed")
				}
				next++
			}
			l.insert(im.Event{ID: 1 << 40, Seq: next, Kind: im.KindMessage, SenderID: "ann", DeviceID: "d1", ClientID: "second", Hash: 7})

			l.speaks("second", "b")

			l.hears(next)
		})
	}
}
