package bench

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// fakeRoom is a room of a fakeServer.
type fakeRoom struct {
	conversation string
	messages     []*imv1.Message // seqs from 1
	members      map[*fakeSession]bool
	owed         map[*fakeSession]int32 // skipped, not told yet
}

func (s *fakeServer) createRoom(w http.ResponseWriter, r *http.Request) {
	var body struct {
		RoomID string `json:"room_id"`
	}
	must(json.NewDecoder(r.Body).Decode(&body))
	s.mu.Lock()
	defer s.mu.Unlock()
	room := &fakeRoom{conversation: im.RoomConversation(body.RoomID), members: map[*fakeSession]bool{}, owed: map[*fakeSession]int32{}}
	s.rooms[body.RoomID] = room
	respond(w, map[string]string{"room_id": body.RoomID, "conversation_id": room.conversation})
}

// join answers with at most 100 messages from a seq on, or the latest three.
func (c *fakeSession) join(f wire.Frame) {
	var join imv1.Join
	must(wire.Unmarshal(f.Form, f.Body, &join))
	room := c.server.rooms[join.RoomId]
	head := int64(len(room.messages))
	after := max(0, head-3)
	if join.After != nil {
		after = *join.After
	}
	upto := min(head, after+100)
	room.members[c] = true
	c.put(wire.OpJoinReply, f.Seq, &imv1.JoinReply{
		RoomId: join.RoomId, Head: head, Online: int32(len(room.members)), Upto: upto, Messages: room.messages[after:upto], HasMore: upto < head,
	})
}

// say stores a message and shows it to all in the room, with the fault for one member of
// every so many: drop loses it, unavailing skips it and says so with the next, cut ends
// the connection.
func (c *fakeSession) say(room *fakeRoom, send *imv1.Send) *imv1.SendAck {
	s := c.server
	s.id++
	seq := int64(len(room.messages)) + 1
	m := &imv1.Message{
		MessageId: s.id, ConversationId: room.conversation, ConversationType: "room", ConversationSeq: seq,
		SenderId: c.user, Content: send.Content, Version: 1,
	}
	room.messages = append(room.messages, m)
	for member := range room.members {
		s.count++
		hit := none
		if s.every > 0 && s.count%s.every == 0 && member != c {
			hit = s.fault
		}
		switch hit {
		case drop:
		case unavailing:
			room.owed[member]++
		case cut:
			member.nc.Close()
		default:
			skipped := room.owed[member]
			delete(room.owed, member)
			member.put(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{
				RoomId: send.To.GetRoomId(), After: seq - 1 - int64(skipped), Upto: seq, Messages: []*imv1.Message{m}, Skipped: skipped,
			})
		}
	}
	return &imv1.SendAck{ClientMsgId: send.ClientMsgId, MessageId: s.id, ConversationId: room.conversation, ConversationSeq: seq}
}

func roomConfig(t *testing.T, f fault, every int64) Config {
	config := inTest(t, f, every).config(Rooms)
	config.Transport, config.Members, config.Senders, config.Window, config.Duration = Mixed, 40, 3, 8, 300*time.Millisecond
	return config
}

func TestARoomIsMeasured(t *testing.T) {
	for _, form := range []string{Protobuf, JSON, Text} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			config := roomConfig(t, none, 0)
			config.Form = form
			report := mustRun(t, config)
			v := report.Verdict
			if !v.OK() || v.Acknowledged == 0 || v.Delivered < 39*v.Acknowledged || report.Room.Skipped != 0 || report.Delivery.Count == 0 {
				t.Fatal(verdictOf(t, report))
			}
		})
	}
}

func TestARoomAtARate(t *testing.T) {
	config := roomConfig(t, none, 0)
	config.Rate = 200
	report := mustRun(t, config)
	if n := report.Measured.Sent; !report.Verdict.OK() || n < 30 || n > 61 {
		t.Fatalf("%d sent in 300 ms\n%s", n, verdictOf(t, report))
	}
}

// What is skipped and announced breaks no promise, nor does a session that ends: its
// device joins again. What is neither shown nor announced does.
func TestARoomIsJudged(t *testing.T) {
	for f, kind := range map[fault]check.Kind{unavailing: "", cut: "", drop: check.Gap} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			every, lasts := int64(997), 300*time.Millisecond
			if f == unavailing { // seldom, for what is skipped of the last message nobody is told; so for longer
				every, lasts = 9973, 2*time.Second
			}
			config := roomConfig(t, f, every)
			config.Duration = lasts
			report := mustRun(t, config)
			switch {
			case kind != "" && report.Verdict.Totals[kind] == 0, kind == "" && !report.Verdict.OK():
				t.Error(verdictOf(t, report))
			case f == unavailing && report.Room.Skipped == 0:
				t.Error("nothing was skipped")
			case f == cut && len(report.Reconnects) == 0:
				t.Error("nobody came back")
			}
		})
	}
}
