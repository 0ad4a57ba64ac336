package mongo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

// An index under the right name that does not keep what it should, or serves no query,
// is refused at the start.
func TestWrongIndexesAreRefused(t *testing.T) {
	fence := index{name: "seq", keys: ascending("conversation_id", "seq"), unique: true}
	due := index{name: "due", keys: ascending("due"), only: "due"}
	type fields = map[string]any
	places := bson.D{{Key: "conversation_id", Value: 1.0}, {Key: "seq", Value: int64(1)}}
	for name, test := range map[string]struct {
		want  index
		is    fields
		wrong bool
	}{
		"missing":              {fence, fields{}, true},
		"as it should be":      {fence, fields{"key": fence.keys, "unique": true}, false},
		"made by another hand": {fence, fields{"key": places, "unique": true}, false},
		"on other fields":      {fence, fields{"key": ascending("seq"), "unique": true}, true},
		"in another order":     {fence, fields{"key": ascending("seq", "conversation_id"), "unique": true}, true},
		"the other way":        {fence, fields{"key": bson.D{{Key: "conversation_id", Value: 1}, {Key: "seq", Value: -1}}, "unique": true}, true},
		"hashed":               {fence, fields{"key": bson.D{{Key: "conversation_id", Value: "hashed"}, {Key: "seq", Value: 1}}, "unique": true}, true},
		"not unique":           {fence, fields{"key": fence.keys}, true},
		"of some rows":         {fence, fields{"key": fence.keys, "unique": true, "partialFilterExpression": bson.D{{Key: "due", Value: true}}}, true},
		"sparse":               {fence, fields{"key": fence.keys, "unique": true, "sparse": true}, true},
		"by other rules":       {fence, fields{"key": fence.keys, "unique": true, "collation": bson.D{{Key: "locale", Value: "en"}}}, true},
		"hidden":               {fence, fields{"key": fence.keys, "unique": true, "hidden": true}, true},
		"due rows":             {due, fields{"key": due.keys, "partialFilterExpression": bson.D{{Key: "due", Value: true}}}, false},
		"all rows":             {due, fields{"key": due.keys}, false},
		"other rows":           {due, fields{"key": due.keys, "partialFilterExpression": bson.D{{Key: "due", Value: false}}}, true},
		"unique, and must not": {due, fields{"key": due.keys, "unique": true}, true},
	} {
		var is indexDocument
		if len(test.is) > 0 {
			test.is["name"] = test.want.name
		}
		data, err := bson.Marshal(test.is)
		if err == nil {
			err = bson.Unmarshal(data, &is)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := test.want.check(is); (err != nil) != test.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same through a server, as far as it can have such indexes.
func TestAWrongIndexKeepsTheStoreShut(t *testing.T) {
	named := func(name string) *options.IndexOptionsBuilder { return options.Index().SetName(name) }
	for name, wrong := range map[string]struct {
		in string
		is mongo.IndexModel
	}{
		"on other fields":   {"messages", mongo.IndexModel{Keys: ascending("seq"), Options: named("seq").SetUnique(true)}},
		"not unique":        {"messages", mongo.IndexModel{Keys: ascending("conversation_id", "seq"), Options: named("seq")}},
		"deletes by itself": {"floors", mongo.IndexModel{Keys: ascending("at"), Options: named("of an operator").SetExpireAfterSeconds(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			database := openTest(t, Options{}).client.Database(newDatabase(t).Database)
			defer database.Drop(t.Context()) //nolint:errcheck // it is the test's own
			in := database.Collection(wrong.in)
			if _, err := in.Indexes().CreateOne(t.Context(), wrong.is); err != nil {
				t.Fatal(err)
			}
			if name == "deletes by itself" && !keepsExpiry(t, in) {
				t.Skip("the server has no such indexes")
			}
			s, err := Open(t.Context(), testURI(t), Options{Database: database.Name()})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), wrong.in) {
				t.Errorf("the error names no collection: %v", err)
			}
		})
	}
}

func keepsExpiry(t *testing.T, in *mongo.Collection) bool {
	t.Helper()
	specifications, err := in.Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(specifications, func(s mongo.IndexSpecification) bool { return s.ExpireAfterSeconds != nil })
}

// A sharded collection takes only unique indexes that begin with its shard key, and
// keeps an _id unique within one shard only: it must hold that key.
func TestFencesBeginWithTheShardKey(t *testing.T) {
	s := openTest(t, Options{})
	shardedBy := map[string]string{
		"messages": "conversation_id", "members": "conversation_id", "inbox": "user_id",
		"cursors": "user_id", "reads": "user_id", "devices": "user_id", "deletes": "user_id", "relations": "user_id",
	}
	for _, i := range s.indexes() {
		if first, is := shardedBy[i.in.Name()]; is && i.unique && i.keys[0].Key != first {
			t.Errorf("index %s of %s begins with %s, not %s", i.name, i.in.Name(), i.keys[0].Key, first)
		}
	}
	event := eventRow(&im.Event{ConversationID: "c", SenderID: "u"})
	for name, k := range map[string]key{
		"messages": {event.Key, bson.D{{Key: "conversation_id", Value: event.ConversationID}}},
		"members":  stayKey(&im.Member{ConversationID: "c", UserID: "u"}),
		"cursors":  deviceKey("u", "d"), "devices": deviceKey("u", "d"), "reads": markKey("u", "c"),
		"deletes":   deletionKey(&im.Deletion{UserID: "u", EventRef: im.EventRef{ConversationID: "c"}}),
		"relations": relationKey(im.RelationKey{UserID: "u", PeerID: "v"}),
	} {
		if k.parts[0].Key != shardedBy[name] || !strings.HasPrefix(k.id, fmt.Sprint(k.parts[0].Value, separator)) {
			t.Errorf("keys of %s: %q of %v", name, k.id, k.parts)
		}
	}
}

// Every query of the hot paths begins with fields that an index begins with, and is
// sorted as that index is. This is what explain shows of a server that has it, and
// holds for one that has not.
func TestEveryQueryHasAnIndex(t *testing.T) {
	var sent recorder
	s := openTest(t, sent.options())
	seen := 0
	for name, call := range everyCall(t, s) {
		sent.take()
		if err := call(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, command := range sent.take() {
			for _, q := range queriesOf(t, command) {
				seen++
				if !s.hasIndexFor(q) {
					t.Errorf("%s: no index for %v", name, q)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d queries seen", seen)
	}
}

// asked is one query: which fields it gives values of, a range of, and its sort.
type asked struct {
	in             string
	values, ranges []string
	sort           []string
}

func (s *Store) hasIndexFor(q asked) bool {
	all := [][]string{{"_id"}}
	for _, i := range s.indexes() {
		if i.in.Name() != q.in {
			continue
		}
		var fields []string
		for _, key := range i.keys {
			fields = append(fields, key.Key)
		}
		all = append(all, fields)
	}
	return slices.ContainsFunc(all, q.servedBy)
}

// servedBy: the index's first fields have values or, the first of all or the one
// behind those, a range; the sort goes on where the values end.
func (q asked) servedBy(index []string) bool {
	equal := 0
	for equal < len(index) && slices.Contains(q.values, index[equal]) {
		equal++
	}
	if equal == 0 && !slices.Contains(q.ranges, index[0]) {
		return false
	}
	if len(q.sort) == 0 {
		return true
	}
	rest := index[equal:]
	return len(q.sort) <= len(rest) && slices.Equal(q.sort, rest[:len(q.sort)])
}

// queriesOf takes the queries out of a command, each branch of an $or by itself.
func queriesOf(t *testing.T, command bson.Raw) (queries []asked) {
	t.Helper()
	in := command.Index(0).Value()
	var filters []bson.Raw
	var sort bson.Raw
	switch nameOf(command) {
	case "find":
		filters = append(filters, command.Lookup("filter").Document())
		sort, _ = command.Lookup("sort").DocumentOK()
	case "aggregate":
		filters = append(filters, command.Lookup("pipeline", "0", "$match").Document())
	case "update", "delete":
		list, err := command.Lookup(nameOf(command) + "s").Array().Values()
		if err != nil {
			t.Fatal(err)
		}
		for _, each := range list {
			filters = append(filters, each.Document().Lookup("q").Document())
		}
	}
	for _, filter := range filters {
		for _, branch := range branchesOf(t, filter) {
			q := asked{in: in.StringValue()}
			q.take(t, branch)
			for _, e := range elements(t, sort) {
				q.sort = append(q.sort, e.Key())
			}
			queries = append(queries, q)
		}
	}
	return queries
}

func branchesOf(t *testing.T, filter bson.Raw) []bson.Raw {
	t.Helper()
	or, is := filter.Lookup("$or").ArrayOK()
	if !is {
		return []bson.Raw{filter}
	}
	var branches []bson.Raw
	for _, branch := range elements(t, bson.Raw(or)) {
		branches = append(branches, branch.Value().Document())
	}
	return branches
}

func (q *asked) take(t *testing.T, filter bson.Raw) {
	t.Helper()
	for _, e := range elements(t, filter) {
		operators, is := e.Value().DocumentOK()
		if first := fmt.Sprint(operators); is && !strings.Contains(first, `"$in"`) && strings.Contains(first, `"$`) {
			q.ranges = append(q.ranges, e.Key())
		} else {
			q.values = append(q.values, e.Key())
		}
	}
}

func elements(t *testing.T, document bson.Raw) []bson.RawElement {
	t.Helper()
	if document == nil {
		return nil
	}
	all, err := document.Elements()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
