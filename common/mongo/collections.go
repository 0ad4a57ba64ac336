package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// format is the version of the documents that this program writes.
const format = 1

// collections are named in the database as here.
type collections struct {
	store, users, devices, refreshes, conversations, members *mongo.Collection
	messages, inbox, floors, cursors, reads, terms           *mongo.Collection
	quarantine, deletes, relations, messageStates            *mongo.Collection
	connections, progress, broadcasts                        *mongo.Collection
}

func collectionsOf(db *mongo.Database) collections {
	return collections{
		store: db.Collection("store"), users: db.Collection("users"), devices: db.Collection("devices"),
		refreshes: db.Collection("refreshes"), conversations: db.Collection("conversations"), members: db.Collection("members"),
		messages: db.Collection("messages"), inbox: db.Collection("inbox"), floors: db.Collection("floors"),
		cursors: db.Collection("cursors"), reads: db.Collection("reads"), terms: db.Collection("terms"),
		quarantine: db.Collection("quarantine"), deletes: db.Collection("deletes"), relations: db.Collection("relations"),
		messageStates: db.Collection("message_states"),
		connections:   db.Collection("connections"), progress: db.Collection("progress"),
		broadcasts: db.Collection("broadcasts"),
	}
}

func (c *collections) all() []*mongo.Collection {
	return []*mongo.Collection{
		c.store, c.users, c.devices, c.refreshes, c.conversations, c.members,
		c.messages, c.inbox, c.floors, c.cursors, c.reads, c.terms, c.quarantine, c.deletes, c.relations, c.messageStates,
		c.connections, c.progress, c.broadcasts,
	}
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
