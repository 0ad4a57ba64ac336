package check

import (
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// roomTale is a room of two members, one of whom has said three messages, seqs 2 to 4
// behind its making, which both were shown.
type roomTale struct {
	history *History
	room    *Room
	members [2]*RoomMember
	sender  *Device
	said    []RoomMessage
}

func newRoomTale() *roomTale {
	h := NewHistory()
	t := &roomTale{history: h, room: h.Room(im.RoomConversation("lobby")), sender: h.Device("ann", "a")}
	t.members = [2]*RoomMember{t.room.Member(t.sender), t.room.Member(h.Device("bob", "b"))}
	log := t.sender.Log()
	for n := uint32(1); n <= 3; n++ {
		hash := Hash("ann", []byte{byte(n)})
		log.Sent(Sent{Number: n, Conversation: t.room.Ref(), Hash: hash, After: n - 1})
		log.Acked(Answer{Number: n, MessageID: int64(100 + n), Conversation: t.room.Ref(), ConversationSeq: int64(n + 1)})
		t.said = append(t.said, RoomMessage{Seq: int64(n + 1), ID: int64(100 + n), Key: Key{t.sender.Ref(), n}, Hash: hash})
	}
	for _, m := range t.members {
		m.Joined(RoomPage{Upto: 1, Head: 1, Latest: true, Events: 1}, true)
		m.CaughtUp()
	}
	t.members[0].Delivered(RoomPart{After: 1, Upto: 4, Messages: t.said})
	return t
}

func (t *roomTale) convicts(kind Kind) bool {
	verdict := Judge(t.history)
	return verdict.Totals[kind] > 0
}

func TestAHonestRoomIsAcquitted(t *testing.T) {
	for name, tell := range map[string]func(*RoomMember, []RoomMessage){
		"one by one": func(m *RoomMember, said []RoomMessage) {
			for i := range said {
				m.Delivered(RoomPart{After: said[i].Seq - 1, Upto: said[i].Seq, Messages: said[i : i+1]})
			}
		},
		"skipped at the end": func(m *RoomMember, _ []RoomMessage) { m.Delivered(RoomPart{After: 1, Upto: 4, Skipped: 3}) },
		"skipped in the middle": func(m *RoomMember, said []RoomMessage) {
			m.Delivered(RoomPart{1, 4, []RoomMessage{said[0], said[2]}, 0, 1})
		},
		"read by another join":     func(m *RoomMember, said []RoomMessage) { m.Joined(RoomPage{1, 4, 4, false, said, 0}, false) },
		"joined again, and pulled": rejoins,
	} {
		t.Run(name, func(t *testing.T) {
			tale := newRoomTale()
			tell(tale.members[1], tale.said)
			if verdict := Judge(tale.history); !verdict.OK() || verdict.Acknowledged != 3 {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

// rejoins comes back in a session whose first page is not the end, and reads the rest.
func rejoins(m *RoomMember, said []RoomMessage) {
	m.Joined(RoomPage{After: 1, Upto: 2, Head: 3, Messages: said[:1]}, true)
	if !m.Delivered(RoomPart{After: 3, Upto: 4, Messages: said[2:]}) {
		panic("a gap is not told")
	}
	m.Joined(RoomPage{After: 2, Upto: 4, Head: 4, Messages: said[1:]}, false)
}

func TestEveryLieOfARoomIsConvicted(t *testing.T) {
	altered := func(said []RoomMessage, change func(*RoomMessage)) []RoomMessage {
		other := append([]RoomMessage(nil), said...)
		change(&other[1])
		return other
	}
	for name, story := range map[string]struct {
		kind Kind
		tell func(*RoomMember, []RoomMessage)
	}{
		"nothing comes":     {Loss, func(*RoomMember, []RoomMessage) {}},
		"the last is lost":  {Loss, func(m *RoomMember, said []RoomMessage) { m.Delivered(RoomPart{1, 3, said[:2], 0, 0}) }},
		"a frame is lost":   {Gap, func(m *RoomMember, said []RoomMessage) { m.Delivered(RoomPart{3, 4, said[2:], 0, 0}) }},
		"a message is lost": {Gap, func(m *RoomMember, said []RoomMessage) { m.Delivered(RoomPart{1, 4, said[1:], 0, 0}) }},
		"a frame comes twice": {Duplicate, func(m *RoomMember, said []RoomMessage) {
			m.Delivered(RoomPart{1, 4, said, 0, 0})
			m.Delivered(RoomPart{1, 4, said, 0, 0})
		}},
		"out of order": {Order, func(m *RoomMember, said []RoomMessage) {
			m.Delivered(RoomPart{1, 4, []RoomMessage{said[1], said[0], said[2]}, 0, 0})
		}},
		"other words": {Changed, func(m *RoomMember, said []RoomMessage) {
			m.Delivered(RoomPart{1, 4, altered(said, func(w *RoomMessage) { w.Hash++ }), 0, 0})
		}},
		"another id": {Changed, func(m *RoomMember, said []RoomMessage) {
			m.Delivered(RoomPart{1, 4, altered(said, func(w *RoomMessage) { w.ID++ }), 0, 0})
		}},
		"never sent": {Phantom, func(m *RoomMember, _ []RoomMessage) {
			m.Delivered(RoomPart{1, 5, []RoomMessage{{Seq: 5, ID: 9, Key: Key{1, 9}}}, 0, 3})
		}},
		"a seq that is none": {Range, func(m *RoomMember, _ []RoomMessage) {
			m.Delivered(RoomPart{1, 1 << 40, []RoomMessage{{Seq: 1 << 40, ID: 9}}, 0, 1<<40 - 2})
		}},
		"a seq below all": {Range, func(m *RoomMember, _ []RoomMessage) {
			m.Delivered(RoomPart{-9, 1, []RoomMessage{{Seq: -8, ID: 9}}, 0, 9})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tale := newRoomTale()
			story.tell(tale.members[1], tale.said)
			if !tale.convicts(story.kind) {
				t.Errorf("not convicted of %s", story.kind)
			}
		})
	}
}

// What the sender was told, and what the room was shown, must be the same.
func TestAnAnswerIsHeldAgainstTheRoom(t *testing.T) {
	tale := newRoomTale()
	tale.members[1].Delivered(RoomPart{After: 1, Upto: 4, Messages: tale.said})
	tale.sender.Log().Acked(Answer{At: time.Second, Number: 2, MessageID: 7, Conversation: tale.room.Ref(), ConversationSeq: 3, Duplicate: true})
	if !tale.convicts(Identity) {
		t.Error("another id in the answer is not convicted")
	}
}
