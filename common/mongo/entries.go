package mongo

import (
	"encoding/binary"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/im-transfer/im"
)

// entryID is an event id in a document: the number of the event that it is made
// from (half the size in the index), or else its 16 bytes. The two can not meet.
type entryID im.EventID

// MarshalBSONValue is for the driver.
func (e entryID) MarshalBSONValue() (kind byte, data []byte, err error) {
	if binary.BigEndian.Uint64(e[:8]) == 0 {
		return byte(bson.TypeInt64), binary.LittleEndian.AppendUint64(nil, binary.BigEndian.Uint64(e[8:])), nil
	}
	data = append(make([]byte, 0, 5+len(e)), byte(len(e)), 0, 0, 0, bson.TypeBinaryGeneric)
	return byte(bson.TypeBinary), append(data, e[:]...), nil
}

var errEventID = errors.New("malformed event id")

// UnmarshalBSONValue is for the driver.
func (e *entryID) UnmarshalBSONValue(kind byte, data []byte) error {
	value := bson.RawValue{Type: bson.Type(kind), Value: data}
	if number, is := value.Int64OK(); is {
		*e = entryID(im.EventIDOf(number))
		return nil
	}
	_, bytes, is := value.BinaryOK()
	if !is || len(bytes) != len(e) {
		return errEventID
	}
	copy(e[:], bytes)
	return nil
}

// entryDocument is an entry of a block. A message id is left out where it is the
// event id's number, or 0 where that has none.
type entryDocument struct {
	EventID         entryID `bson:"event_id"`
	Kind            im.Kind `bson:"kind"`
	MessageID       *int64  `bson:"message_id,omitempty"`
	ConversationID  string  `bson:"conversation_id,omitempty"`
	ConversationSeq int64   `bson:"conversation_seq,omitempty"`
	Data            []byte  `bson:"data,omitempty"`
}

// blockDocument is a row of inbox.
type blockDocument struct {
	ID       bson.ObjectID   `bson:"_id,omitempty"`
	UserID   string          `bson:"user_id"`
	FirstSeq int64           `bson:"first_seq"`
	N        int64           `bson:"n"`
	AtMs     int64           `bson:"at_ms"`
	Entries  []entryDocument `bson:"entries"`
}

func (d *blockDocument) lastSeq() int64 { return d.FirstSeq + d.N - 1 }

func blockRow(b *im.Block) blockDocument {
	d := blockDocument{
		ID: bson.NewObjectID(), UserID: b.UserID, FirstSeq: b.FirstSeq, N: int64(len(b.Entries)), AtMs: b.AtMs,
		Entries: make([]entryDocument, len(b.Entries)),
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		d.Entries[i] = entryDocument{
			EventID: entryID(e.EventID), Kind: e.Kind, ConversationID: e.ConversationID,
			ConversationSeq: e.ConversationSeq, Data: e.Data,
		}
		if e.MessageID != numberOf(e.EventID) {
			d.Entries[i].MessageID = &e.MessageID
		}
	}
	return d
}

func (d *blockDocument) block() im.Block {
	b := im.Block{UserID: d.UserID, FirstSeq: d.FirstSeq, AtMs: d.AtMs, Entries: make([]im.InboxEntry, len(d.Entries))}
	for i := range d.Entries {
		e := &d.Entries[i]
		b.Entries[i] = im.InboxEntry{
			EventID: im.EventID(e.EventID), Kind: e.Kind, MessageID: numberOf(im.EventID(e.EventID)),
			ConversationID: e.ConversationID, ConversationSeq: e.ConversationSeq, Data: e.Data,
		}
		if e.MessageID != nil {
			b.Entries[i].MessageID = *e.MessageID
		}
	}
	return b
}

// numberOf is the inverse of im.EventIDOf; 0 for other ids.
func numberOf(id im.EventID) int64 {
	number := int64(binary.BigEndian.Uint64(id[8:])) //nolint:gosec // a bit pattern
	if im.EventIDOf(number) != id {
		return 0
	}
	return number
}
