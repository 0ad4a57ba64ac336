package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

// format is the version of the documents that this program writes.
const format = 1

// collections are named in the database as here.
type collections struct {
	store, users, devices, refreshes, conversations, members *mongo.Collection
	messages, inbox, floors, cursors, reads, terms           *mongo.Collection
	quarantine                                               *mongo.Collection
}

func collectionsOf(db *mongo.Database) collections {
	return collections{
		store: db.Collection("store"), users: db.Collection("users"), devices: db.Collection("devices"),
		refreshes: db.Collection("refreshes"), conversations: db.Collection("conversations"), members: db.Collection("members"),
		messages: db.Collection("messages"), inbox: db.Collection("inbox"), floors: db.Collection("floors"),
		cursors: db.Collection("cursors"), reads: db.Collection("reads"), terms: db.Collection("terms"),
		quarantine: db.Collection("quarantine"),
	}
}

// index is one besides that on _id.
type index struct {
	in     *mongo.Collection
	name   string
	keys   bson.D
	unique bool
	due    bool // only of rows that have due
}

// indexes are all that there are. Those of the collections that grow with traffic
// begin with the user or the conversation, so that they can be sharded. The ids of
// messages increase: their index is appended to.
func (c *collections) indexes() []index {
	return []index{
		{in: c.users, name: "username", keys: ascending("username"), unique: true},
		{in: c.refreshes, name: "generation", keys: ascending("family", "generation"), unique: true},
		{in: c.members, name: "present", keys: ascending("conversation_id", "left_seq")},
		{in: c.members, name: "user", keys: ascending("user_id", "conversation_id")},
		{in: c.messages, name: "seq", keys: ascending("conversation_id", "seq"), unique: true},
		{in: c.messages, name: "id", keys: ascending("id")},
		{in: c.inbox, name: "first_seq", keys: ascending("user_id", "first_seq"), unique: true},
		{in: c.inbox, name: "event", keys: ascending("user_id", "entries.event_id"), unique: true},
		{in: c.cursors, name: "user", keys: ascending("user_id")},
		{in: c.cursors, name: "due", keys: ascending("due"), due: true},
		{in: c.reads, name: "due", keys: ascending("due"), due: true},
		{in: c.terms, name: "term", keys: ascending("partition", "term"), unique: true},
	}
}

func ascending(fields ...string) bson.D {
	keys := make(bson.D, len(fields))
	for i, field := range fields {
		keys[i] = bson.E{Key: field, Value: int32(1)}
	}
	return keys
}

func (i *index) model() mongo.IndexModel {
	o := options.Index().SetName(i.name)
	if i.unique {
		o.SetUnique(true)
	}
	if i.due {
		o.SetPartialFilterExpression(bson.D{{Key: "due", Value: true}})
	}
	return mongo.IndexModel{Keys: i.keys, Options: o}
}

// makeIndexes makes what is missing; the server refuses a name or keys that are
// there with other options. Then it looks for itself.
func (s *Store) makeIndexes(ctx context.Context) error {
	for _, i := range s.indexes() {
		if _, err := i.in.Indexes().CreateOne(ctx, i.model()); err != nil {
			return fmt.Errorf("make index %s of %s: %w", i.name, i.in.Name(), err)
		}
	}
	for _, i := range s.indexes() {
		if err := i.check(ctx); err != nil {
			return fmt.Errorf("check index %s of %s: %w", i.name, i.in.Name(), err)
		}
	}
	return nil
}

func (i *index) check(ctx context.Context) error {
	specifications, err := i.in.Indexes().ListSpecifications(ctx)
	if err != nil {
		return err
	}
	want, err := bson.Marshal(i.keys)
	if err != nil {
		return err
	}
	for _, is := range specifications {
		if is.Name != i.name {
			continue
		}
		if unique := is.Unique != nil && *is.Unique; unique != i.unique || is.KeysDocument.String() != bson.Raw(want).String() {
			return fmt.Errorf("it is on %s, unique %v", is.KeysDocument, unique)
		}
		return nil
	}
	return fmt.Errorf("%w: no such index", im.ErrNotFound)
}

// storeDocument is the one row of store. Of many servers that start at once the
// first inserts it.
type storeDocument struct {
	ID         string `bson:"_id"`
	Format     int    `bson:"format"`
	InboxEpoch string `bson:"inbox_epoch"`
	CreatedMs  int64  `bson:"created_ms"`
}

func (s *Store) storeRow(ctx context.Context) (im.StoreInfo, error) {
	row := storeDocument{ID: "store", Format: format, InboxEpoch: im.NewID(), CreatedMs: time.Now().UnixMilli()}
	there := query{filter: byID(row.ID)}
	found, err := one[storeDocument](ctx, s.store, there)
	if errors.Is(err, mongo.ErrNoDocuments) {
		if _, err := s.store.InsertOne(ctx, row); err != nil && !mongo.IsDuplicateKeyError(err) {
			return im.StoreInfo{}, fmt.Errorf("insert the store's row: %w", err)
		}
		found, err = one[storeDocument](ctx, s.store, there)
	}
	if err != nil {
		return im.StoreInfo{}, fmt.Errorf("read the store's row: %w", err)
	}
	if found.Format > format {
		return im.StoreInfo{}, fmt.Errorf("format %d was written by a newer version; this one knows %d", found.Format, format)
	}
	return im.StoreInfo{Format: found.Format, InboxEpoch: found.InboxEpoch}, nil
}
