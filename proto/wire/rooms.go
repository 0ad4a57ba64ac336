package wire

import (
	"encoding/binary"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// What a room says is encoded once for all in it: the messages and events go as bytes
// behind what the frame says of itself.
//
//	[head][1B tag][varint length][message]…[1B tag][varint length][entry]…    Proto
//	{<head without its brace>,"messages":[…],"events":[…]}                     JSON and Text

// RoomBatch is messages and events, each encoded in the form.
type RoomBatch struct{ Messages, Events [][]byte }

// AppendRoomDeliver appends a room_deliver frame: head, which has a room_id and neither
// messages nor events, and the batch.
func AppendRoomDeliver(dst []byte, form Form, head *imv1.RoomDeliver, batch RoomBatch) ([]byte, error) {
	return appendRoom(dst, form, OpRoomDeliver, 0, head, batch, [2]byte{4<<3 | 2, 5<<3 | 2})
}

// AppendJoinReply appends a join_reply frame, likewise.
func AppendJoinReply(dst []byte, form Form, seq int32, head *imv1.JoinReply, batch RoomBatch) ([]byte, error) {
	return appendRoom(dst, form, OpJoinReply, seq, head, batch, [2]byte{5<<3 | 2, 6<<3 | 2})
}

// appendRoom: tags are those of the messages and of the events.
func appendRoom(dst []byte, form Form, op Op, seq int32, head Body, batch RoomBatch, tags [2]byte) ([]byte, error) {
	start := len(dst)
	dst, err := AppendBody(appendHead(dst, form, op, seq), form, head)
	if err != nil {
		return dst[:start], err
	}
	for i, parts := range [...][][]byte{batch.Messages, batch.Events} {
		if len(parts) == 0 {
			continue
		}
		if form == Proto {
			dst = appendFields(dst, tags[i], parts)
		} else {
			dst = appendList(dst[:len(dst)-1], [...]string{"messages", "events"}[i], parts)
		}
	}
	return appendTail(dst, start, form), nil
}

func appendFields(dst []byte, tag byte, parts [][]byte) []byte {
	for _, part := range parts {
		dst = append(dst, tag)
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// appendList adds a list to an object whose brace is open, and closes it.
func appendList(dst []byte, name string, parts [][]byte) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":[`...)
	for _, part := range parts {
		dst = append(appendComma(dst), part...)
	}
	return append(dst, `]}`...)
}

// MessageJSON turns an encoded Message into JSON. One that JSON can not say is shown
// without what it says.
func MessageJSON(message []byte) ([]byte, error) {
	var m imv1.Message
	if err := m.UnmarshalVT(message); err != nil {
		return nil, err
	}
	out, err := AppendBody(nil, JSON, &m)
	if err == nil {
		return out, nil
	}
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(bareMessage(&m))
}

// bareMessage is a message without what it says.
func bareMessage(m *imv1.Message) *imv1.Message {
	return &imv1.Message{
		MessageId: m.MessageId, ConversationSeq: m.ConversationSeq, SentAtMs: m.SentAtMs, Version: m.Version,
		ConversationId: strings.ToValidUTF8(m.ConversationId, ""), SenderId: strings.ToValidUTF8(m.SenderId, ""),
		ConversationType: strings.ToValidUTF8(m.ConversationType, ""),
	}
}
