package mongo

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// separator stands between the parts of a key. No part has control characters.
const separator = "\x00"

// key is the natural key of a row: its _id, which is text, and the parts of it that
// are asked for by themselves, as fields beside it. It is not a document of its
// parts, because there are servers whose indexes lose such keys, and because a bulk
// of keys is then one $in.
type key struct {
	id    string
	parts bson.D
}

func join(parts ...string) string { return strings.Join(parts, separator) }

// filter finds the row. An upsert takes the key's fields from it.
func (k key) filter() bson.D { return append(byID(k.id), k.parts...) }

func deviceKey(userID, deviceID string) key {
	return key{join(userID, deviceID), bson.D{{Key: "user_id", Value: userID}, {Key: "device_id", Value: deviceID}}}
}

func markKey(userID, conversationID string) key {
	return key{join(userID, conversationID), bson.D{{Key: "user_id", Value: userID}, {Key: "conversation_id", Value: conversationID}}}
}

func stayKey(m *im.Member) key {
	return key{join(m.ConversationID, m.UserID, strconv.FormatInt(m.JoinedSeq, 10)), bson.D{
		{Key: "conversation_id", Value: m.ConversationID}, {Key: "user_id", Value: m.UserID}, {Key: "joined_seq", Value: m.JoinedSeq},
	}}
}

func messageKey(r im.MessageRef) key {
	return key{join(r.ConversationID, strconv.FormatInt(r.ID, 10)), bson.D{
		{Key: "conversation_id", Value: r.ConversationID}, {Key: "message_id", Value: r.ID},
	}}
}

func deletionKey(d *im.Deletion) key {
	return key{join(d.UserID, d.ConversationID, strconv.FormatInt(d.Seq, 10)), bson.D{
		{Key: "user_id", Value: d.UserID}, {Key: "conversation_id", Value: d.ConversationID}, {Key: "seq", Value: d.Seq},
	}}
}

func relationKey(k im.RelationKey) key {
	return key{join(k.UserID, k.PeerID), bson.D{{Key: "user_id", Value: k.UserID}, {Key: "peer_id", Value: k.PeerID}}}
}

// conversationKey: a conversation's id is all of its key.
func conversationKey(id string) key { return key{id: id} }

// eventKey is the _id of an event: what makes a command the same command again.
func eventKey(k im.ClientKey) string {
	return join(k.ConversationID, k.SenderID, k.DeviceID, k.ClientID)
}

// clientOf returns the device and the client's id in an event's _id.
func clientOf(eventKey string) (deviceID, clientID string) {
	parts := strings.SplitN(eventKey, separator, 4)
	if len(parts) < 4 {
		return "", ""
	}
	return parts[2], parts[3]
}

func upsert(k key, update bson.D) mongo.WriteModel {
	return mongo.NewUpdateOneModel().SetFilter(k.filter()).SetUpdate(update).SetUpsert(true)
}

// newer sets columns of a row whose mark is below.
func newer(k key, mark string, below int64, columns bson.D) mongo.WriteModel {
	filter := append(k.filter(), bson.E{Key: mark, Value: bson.D{{Key: "$lt", Value: below}}})
	return mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(bson.D{{Key: "$set", Value: columns}})
}
