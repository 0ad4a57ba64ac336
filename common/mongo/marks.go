package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

type markDocument struct {
	UserID         string `bson:"user_id"`
	ConversationID string `bson:"conversation_id"`
	ReadUpto       int64  `bson:"read_upto"`
	ReceiptedUpto  int64  `bson:"receipted_upto"`
	DeliveredUpto  int64  `bson:"delivered_upto"`

	ClearedUpto int64   `bson:"cleared_upto,omitempty"`
	DeletedUpto int64   `bson:"deleted_upto,omitempty"`
	Muted       im.Flag `bson:"muted,omitempty"`
	Pinned      im.Flag `bson:"pinned,omitempty"`
	Hidden      im.Flag `bson:"hidden,omitempty"`
	Unread      im.Flag `bson:"unread,omitempty"`
}

func (d *markDocument) mark() im.ReadMark {
	return im.ReadMark{
		UserID: d.UserID, ConversationID: d.ConversationID,
		ReadUpto: d.ReadUpto, ReceiptedUpto: d.ReceiptedUpto, DeliveredUpto: d.DeliveredUpto,
		ClearedUpto: d.ClearedUpto, DeletedUpto: d.DeletedUpto, Muted: d.Muted, Pinned: d.Pinned, Hidden: d.Hidden, Unread: d.Unread,
	}
}

type cursorDocument struct {
	UserID       string `bson:"user_id"`
	DeviceID     string `bson:"device_id"`
	Seq          int64  `bson:"seq"`
	ReceiptedSeq int64  `bson:"receipted_seq"`
}

func (d *cursorDocument) cursor() im.Cursor {
	return im.Cursor{UserID: d.UserID, DeviceID: d.DeviceID, Seq: d.Seq, ReceiptedSeq: d.ReceiptedSeq}
}

func raiseMarks(marks []im.ReadMark) (models []mongo.WriteModel) {
	for _, m := range marks {
		columns := bson.D{
			{Key: "read_upto", Value: m.ReadUpto}, {Key: "receipted_upto", Value: m.ReceiptedUpto},
			{Key: "delivered_upto", Value: m.DeliveredUpto},
		}
		models = append(models, raiseDue(markKey(m.UserID, m.ConversationID), columns, m.ReadUpto > m.ReceiptedUpto)...)
	}
	return models
}

func raiseCursors(cursors []im.Cursor) (models []mongo.WriteModel) {
	for _, c := range cursors {
		columns := bson.D{{Key: "seq", Value: c.Seq}, {Key: "receipted_seq", Value: c.ReceiptedSeq}}
		models = append(models, raiseDue(deviceKey(c.UserID, c.DeviceID), columns, c.Seq > c.ReceiptedSeq)...)
	}
	return models
}

// raiseDue raises columns, of which the first is what there is and the second what
// has been receipted. due is set together with what makes a receipt due, and taken
// away only by who sees, in the row itself, that none is. So it may stand where it
// should not, never the other way round.
func raiseDue(of key, columns bson.D, due bool) []mongo.WriteModel {
	if due {
		return []mongo.WriteModel{upsert(of, bson.D{
			{Key: "$max", Value: columns}, {Key: "$set", Value: bson.D{{Key: "due", Value: true}}},
		})}
	}
	receipted := bson.D{{Key: "$lte", Value: bson.A{"$" + columns[0].Key, "$" + columns[1].Key}}}
	filter := append(of.filter(), bson.E{Key: "due", Value: true}, bson.E{Key: "$expr", Value: receipted})
	return []mongo.WriteModel{
		upsert(of, bson.D{{Key: "$max", Value: columns}}),
		mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(bson.D{{Key: "$unset", Value: bson.D{{Key: "due", Value: ""}}}}),
	}
}

// Cursors returns the cursors of all devices of these users.
func (s *Store) Cursors(ctx context.Context, userIDs []string) (cursors []im.Cursor, err error) {
	if len(userIDs) == 0 {
		return nil, nil
	}
	rows, err := find[cursorDocument](ctx, s.cursors, query{
		filter: bson.D{{Key: "user_id", Value: bson.D{{Key: "$in", Value: userIDs}}}},
	})
	for i := range rows {
		cursors = append(cursors, rows[i].cursor())
	}
	return cursors, wrap("read cursors", err)
}

// Marks returns the read marks for keys, one for each, in the order asked.
func (s *Store) Marks(ctx context.Context, keys []im.ReadKey) ([]im.ReadMark, error) {
	marks := make([]im.ReadMark, len(keys))
	if len(keys) == 0 {
		return marks, nil
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = join(key.UserID, key.ConversationID)
	}
	rows, err := find[markDocument](ctx, s.reads, byIDs(ids))
	if err != nil {
		return nil, wrap("read marks", err)
	}
	found := make(map[im.ReadKey]im.ReadMark, len(rows))
	for i := range rows {
		found[im.ReadKey{UserID: rows[i].UserID, ConversationID: rows[i].ConversationID}] = rows[i].mark()
	}
	for i, key := range keys {
		marks[i] = found[key]
		marks[i].UserID, marks[i].ConversationID = key.UserID, key.ConversationID
	}
	return marks, nil
}

// DueReceipts returns the marks and cursors of the users of an inbox partition
// that are above their receipted values. It reads what is due in all partitions,
// since nobody knows at the time of writing how many there are.
func (s *Store) DueReceipts(ctx context.Context, partition, n int) (marks []im.ReadMark, cursors []im.Cursor, err error) {
	due := query{filter: bson.D{{Key: "due", Value: true}}}
	markRows, err := find[markDocument](ctx, s.reads, due)
	if err != nil {
		return nil, nil, wrap("read due marks", err)
	}
	for i := range markRows {
		if m := markRows[i].mark(); m.ReadUpto > m.ReceiptedUpto && im.Partition(m.UserID, n) == partition {
			marks = append(marks, m)
		}
	}
	cursorRows, err := find[cursorDocument](ctx, s.cursors, due)
	if err != nil {
		return nil, nil, wrap("read due cursors", err)
	}
	for i := range cursorRows {
		if c := cursorRows[i].cursor(); c.Seq > c.ReceiptedSeq && im.Partition(c.UserID, n) == partition {
			cursors = append(cursors, c)
		}
	}
	return marks, cursors, nil
}

// Unread counts the counted events of others above each mark's ReadUpto within
// the user's stays that they have neither cleared nor deleted, up to im.MaxUnread,
// without those that are recalled or expired.
func (s *Store) Unread(ctx context.Context, marks []im.ReadMark) ([]int, error) {
	counts := make([]int, len(marks))
	keys := make([]im.ReadKey, len(marks))
	for i, m := range marks {
		keys[i] = im.ReadKey{UserID: m.UserID, ConversationID: m.ConversationID}
	}
	stored, err := s.Marks(ctx, keys)
	if err != nil {
		return nil, err
	}
	stays, err := s.staysOf(ctx, marks)
	if err != nil {
		return nil, wrap("read stays", err)
	}
	err = each(len(marks), func(i int) (err error) {
		m := stored[i]
		m.ReadUpto = marks[i].ReadUpto
		counts[i], err = s.unread(ctx, m, stays[im.ReadKey{UserID: m.UserID, ConversationID: m.ConversationID}])
		return err
	})
	return counts, wrap("count unread", err)
}

// staysOf returns the stays of marks' users in marks' conversations, past ones
// included.
func (s *Store) staysOf(ctx context.Context, marks []im.ReadMark) (map[im.ReadKey][]im.Member, error) {
	conversations := make(map[string][]string)
	for _, m := range marks {
		conversations[m.UserID] = append(conversations[m.UserID], m.ConversationID)
	}
	stays := make(map[im.ReadKey][]im.Member)
	for user, ids := range conversations {
		found, err := s.staysIn(ctx, user, ids)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			key := im.ReadKey{UserID: user, ConversationID: m.ConversationID}
			stays[key] = append(stays[key], m)
		}
	}
	return stays, nil
}
