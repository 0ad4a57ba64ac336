package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// SendOptions are what else can be said about a send. The zero value is fine.
type SendOptions struct {
	ClientMsgID string // 1 to 64 bytes, never used for another message; empty = a new UUIDv7
	Attributes  map[string]string
	NoUnread    bool
	NoPush      bool
	ExpiresIn   int32  // seconds; 0 = never
	B3          string // a trace to join, as a B3 single header
}

// ToUser names the direct conversation with a user.
func ToUser(userID string) *imv1.To { return &imv1.To{To: &imv1.To_UserId{UserId: userID}} }

// ToGroup names a group's conversation.
func ToGroup(groupID string) *imv1.To { return &imv1.To{To: &imv1.To_GroupId{GroupId: groupID}} }

// ToRoom names a room.
func ToRoom(roomID string) *imv1.To { return &imv1.To{To: &imv1.To_RoomId{RoomId: roomID}} }

// ToConversation names a conversation by its id.
func ToConversation(conversationID string) *imv1.To {
	return &imv1.To{To: &imv1.To_ConversationId{ConversationId: conversationID}}
}

// TextContent is a plain text.
func TextContent(text string) *imv1.Content { return &imv1.Content{Type: "text", Text: text} }

// conversationOf returns the conversation that a To names for a user, so that
// sends that name it differently still keep their order.
func conversationOf(self string, to *imv1.To) string {
	switch {
	case to.GetUserId() != "":
		return im.DirectConversation(self, to.GetUserId())
	case to.GetGroupId() != "":
		return im.GroupConversation(to.GetGroupId())
	case to.GetRoomId() != "":
		return im.RoomConversation(to.GetRoomId())
	}
	return to.GetConversationId()
}

func newSend(to *imv1.To, content *imv1.Content, options SendOptions) *imv1.Send {
	send := &imv1.Send{
		ClientMsgId: options.ClientMsgID, To: to, Content: content, Attributes: options.Attributes, B3: options.B3,
	}
	if send.ClientMsgId == "" {
		send.ClientMsgId = NewClientMsgID()
	}
	if options.NoUnread || options.NoPush || options.ExpiresIn != 0 {
		send.Options = &imv1.SendOptions{
			NoUnread: options.NoUnread, NoPush: options.NoPush, ExpiresIn: options.ExpiresIn,
		}
	}
	return send
}

// checkSend refuses what could never be framed; all else is for the server to
// judge.
func checkSend(send *imv1.Send) error {
	switch {
	case send.GetTo().GetTo() == nil:
		return im.Errorf(im.Invalid, "to is empty")
	case send.GetContent() == nil:
		return im.Errorf(im.Invalid, "content is empty")
	case !im.ValidClientID(send.GetClientMsgId()):
		return im.Errorf(im.Invalid, "client_msg_id must be 1 to %d bytes", im.MaxClientIDBytes)
	case send.GetContent().SizeVT() > im.MaxContentBytes:
		return im.Errorf(im.TooLarge, "content is larger than %d bytes", im.MaxContentBytes)
	}
	return nil
}

// NewClientMsgID returns a new client_msg_id, a UUIDv7: for who wants to know it
// before the send.
func NewClientMsgID() string { return newUUID(time.Now()) }

// newUUID returns a UUIDv7: 48 bits of Unix milliseconds, then random ones.
func newUUID(now time.Time) string {
	var id [16]byte
	rand.Read(id[:])
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(now.UnixMilli()))
	copy(id[:6], stamp[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
