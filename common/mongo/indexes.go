package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

// index is one besides that on _id.
type index struct {
	in     *mongo.Collection
	name   string
	keys   bson.D
	unique bool
	only   string // of rows where this is true; empty = of all
}

// indexes are all that there are. Those of the collections that grow with traffic
// begin with the user or the conversation, so that they can be sharded. The ids of
// messages increase: their index is appended to.
func (c *collections) indexes() []index {
	return []index{
		{in: c.users, name: "username", keys: ascending("username"), unique: true},
		{in: c.devices, name: "user", keys: ascending("user_id")},
		{in: c.refreshes, name: "generation", keys: ascending("family", "generation"), unique: true},
		{in: c.members, name: "present", keys: ascending("conversation_id", "left_seq")},
		{in: c.members, name: "user", keys: ascending("user_id", "conversation_id")},
		{in: c.messages, name: "seq", keys: ascending("conversation_id", "seq"), unique: true},
		{in: c.messages, name: "id", keys: ascending("id")},
		{in: c.messages, name: "thread", keys: ascending("conversation_id", "thread_id", "seq"), only: "threaded"},
		{in: c.messages, name: "mention", keys: ascending("conversation_id", "mentions", "seq"), only: "mentioning"},
		{in: c.messageStates, name: "uncounted", keys: ascending("conversation_id", "message_seq"), only: "uncounted"},
		{in: c.inbox, name: "first_seq", keys: ascending("user_id", "first_seq"), unique: true},
		{in: c.inbox, name: "event", keys: ascending("user_id", "entries.event_id"), unique: true},
		{in: c.cursors, name: "user", keys: ascending("user_id")},
		{in: c.cursors, name: "due", keys: ascending("due"), only: "due"},
		{in: c.reads, name: "due", keys: ascending("due"), only: "due"},
		{in: c.deletes, name: "place", keys: ascending("user_id", "conversation_id", "seq"), unique: true},
		{in: c.relations, name: "peer", keys: ascending("user_id", "peer_id"), unique: true},
		{in: c.relations, name: "due", keys: ascending("due"), only: "due"},
		{in: c.connections, name: "online", keys: bson.D{
			{Key: "user_id", Value: int32(1)}, {Key: "online_at_ms", Value: int32(-1)}, {Key: "session_id", Value: int32(-1)},
		}},
		{in: c.progress, name: "at", keys: ascending("user_id", "at_ms")},
		{in: c.quarantine, name: "at", keys: ascending("at_ms", "_id")},
		{in: c.broadcasts, name: "due", keys: ascending("due"), only: "due"},
		{in: c.broadcasts, name: "newest", keys: ascending("created_ms", "_id")},
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

// partial is which rows an index of some rows holds.
func (i *index) partial() bson.Raw {
	rows, err := bson.Marshal(bson.D{{Key: i.only, Value: true}})
	if err != nil {
		panic(err) // it can not
	}
	return rows
}

func (i *index) model() mongo.IndexModel {
	o := options.Index().SetName(i.name)
	if i.unique {
		o.SetUnique(true)
	}
	if i.only != "" {
		o.SetPartialFilterExpression(i.partial())
	}
	return mongo.IndexModel{Keys: i.keys, Options: o}
}

// makeIndexes makes what is missing. What a server refuses to make beside another one
// differs; so the store looks for itself what there is.
func (s *Store) makeIndexes(ctx context.Context) error {
	for _, i := range s.indexes() {
		if _, err := i.in.Indexes().CreateOne(ctx, i.model()); err != nil {
			return fmt.Errorf("make index %s of %s: %w", i.name, i.in.Name(), err)
		}
	}
	there, err := s.listIndexes(ctx)
	if err != nil {
		return err
	}
	for _, i := range s.indexes() {
		if err := i.check(there[i.in.Name()][i.name]); err != nil {
			return fmt.Errorf("check index %s of %s: %w", i.name, i.in.Name(), err)
		}
	}
	return nil
}

// indexDocument is an index as a server shows it.
type indexDocument struct {
	Name      string        `bson:"name"`
	Keys      bson.Raw      `bson:"key"`
	Unique    bool          `bson:"unique"`
	Sparse    bool          `bson:"sparse"`
	Hidden    bool          `bson:"hidden"`
	Partial   bson.Raw      `bson:"partialFilterExpression"`
	Collation bson.Raw      `bson:"collation"`
	Expires   bson.RawValue `bson:"expireAfterSeconds"`
}

// listIndexes returns every index of every collection, by their names. One that
// deletes rows by itself is refused wherever it stands: it knows no floors.
func (s *Store) listIndexes(ctx context.Context) (map[string]map[string]indexDocument, error) {
	there := make(map[string]map[string]indexDocument)
	for _, in := range s.all() {
		cursor, err := in.Indexes().List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list indexes of %s: %w", in.Name(), err)
		}
		var found []indexDocument
		if err := cursor.All(ctx, &found); err != nil {
			return nil, fmt.Errorf("list indexes of %s: %w", in.Name(), err)
		}
		there[in.Name()] = make(map[string]indexDocument, len(found))
		for _, i := range found {
			if !i.Expires.IsZero() {
				return nil, fmt.Errorf("index %s of %s deletes rows after %v seconds", i.Name, in.Name(), i.Expires)
			}
			if _, twice := there[in.Name()][i.Name]; twice {
				return nil, fmt.Errorf("there are two indexes %s of %s", i.Name, in.Name())
			}
			there[in.Name()][i.Name] = i
		}
	}
	return there, nil
}

// check compares an index with what is there. One that holds more rows than it need
// to only costs; anything else that differs would let through what it must refuse, or
// serve no query.
func (i *index) check(is indexDocument) error {
	switch {
	case is.Name == "":
		return fmt.Errorf("%w: no such index", im.ErrNotFound)
	case !sameKeys(is.Keys, i.keys):
		return fmt.Errorf("it is on %s", is.Keys)
	case is.Unique != i.unique:
		return fmt.Errorf("it is unique: %v", is.Unique)
	case is.Sparse, is.Partial != nil && !(i.only != "" && is.Partial.String() == i.partial().String()):
		return fmt.Errorf("it is of some rows only: sparse %v, where %s", is.Sparse, is.Partial)
	case is.Collation != nil:
		return fmt.Errorf("it compares by %s", is.Collation)
	case is.Hidden:
		return errors.New("it is hidden")
	}
	return nil
}

// sameKeys compares without regard to the kind of number that a direction is.
func sameKeys(is bson.Raw, want bson.D) bool {
	elements, err := is.Elements()
	if err != nil || len(elements) != len(want) {
		return false
	}
	for n, e := range elements {
		direction, number := e.Value().AsInt64OK()
		if e.Key() != want[n].Key || !number || direction != int64(want[n].Value.(int32)) {
			return false
		}
	}
	return true
}
