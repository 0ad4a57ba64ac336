package mongo

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// writeOwn writes what a commit makes of what is its users' alone. A plain error after
// the first part is unknown.
func (s *Store) writeOwn(ctx context.Context, own *im.OwnState) error {
	var deletes, views, relations, profiles []mongo.WriteModel
	for i := range own.Deleted {
		deletes = append(deletes, upsert(deletionKey(&own.Deleted[i]), bson.D{{Key: "$set", Value: bson.D{{Key: "deleted", Value: true}}}}))
	}
	for i := range own.Views {
		views = append(views, raiseView(&own.Views[i]))
	}
	for i := range own.Relations {
		relations = append(relations, raiseRelation(&own.Relations[i])...)
	}
	for i := range own.Profiles {
		profiles = append(profiles, updateProfile(&own.Profiles[i])...)
	}
	written := false
	for _, part := range []struct {
		in     *mongo.Collection
		models []mongo.WriteModel
	}{{s.deletes, deletes}, {s.reads, views}, {s.relations, relations}, {s.users, profiles}} {
		if err := s.raise(ctx, part.in, part.models); err != nil {
			if written {
				err = maybe(err)
			}
			return err
		}
		written = written || len(part.models) > 0
	}
	return nil
}

func raiseView(m *im.ReadMark) mongo.WriteModel {
	columns := bson.D{{Key: "read_upto", Value: int64(0)}}
	for name, value := range map[string]int64{
		"cleared_upto": m.ClearedUpto, "deleted_upto": m.DeletedUpto, "muted": int64(m.Muted), "pinned": int64(m.Pinned),
		"hidden": int64(m.Hidden), "unread": int64(m.Unread),
	} {
		if value > 0 {
			columns = append(columns, bson.E{Key: name, Value: value})
		}
	}
	return upsert(markKey(m.UserID, m.ConversationID), bson.D{{Key: "$max", Value: columns}})
}

func updateProfile(p *im.ProfileUpdate) (models []mongo.WriteModel) {
	for _, part := range []struct {
		name  string
		value *string
	}{{"nickname", p.Nickname}, {"avatar", p.AvatarFileID}, {"bio", p.Bio}} {
		if part.value == nil {
			continue
		}
		mark := part.name + "_seq"
		older := anyOf([]bson.D{
			append(byID(p.UserID), bson.E{Key: mark, Value: bson.D{{Key: "$lt", Value: p.Seq}}}),
			append(byID(p.UserID), bson.E{Key: mark, Value: nil}), // of one that was never set
		})
		models = append(models, mongo.NewUpdateOneModel().SetFilter(older).SetUpdate(bson.D{
			{Key: "$set", Value: bson.D{{Key: part.name, Value: *part.value}, {Key: mark, Value: p.Seq}}},
		}))
	}
	return models
}

type deletionDocument struct {
	ConversationID string `bson:"conversation_id"`
	Seq            int64  `bson:"seq"`
}

// Deleted returns those of some places that a user has deleted for themselves.
func (s *Store) Deleted(ctx context.Context, userID string, refs []im.EventRef) (deleted []im.EventRef, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = deletionKey(&im.Deletion{UserID: userID, EventRef: ref}).id
	}
	rows, err := find[deletionDocument](ctx, s.deletes, byIDs(ids))
	for _, row := range rows {
		deleted = append(deleted, im.EventRef(row))
	}
	return deleted, wrap("read deletes", err)
}

// deletedBetween returns the seqs between two, both included, that a mark's user has
// deleted in the mark's conversation.
func (s *Store) deletedBetween(ctx context.Context, mark *im.ReadMark, from, upto int64) ([]int64, error) {
	seqs := []int64{}
	for whole := false; !whole; {
		rows, err := find[deletionDocument](ctx, s.deletes, query{
			filter: bson.D{
				{Key: "user_id", Value: mark.UserID}, {Key: "conversation_id", Value: mark.ConversationID}, {Key: "seq", Value: between(from, upto)},
			},
			sort: ascending("seq"), limit: maxBatch,
		})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			seqs = append(seqs, row.Seq)
		}
		if whole = len(rows) < maxBatch; !whole {
			from = seqs[len(seqs)-1] + 1
		}
	}
	return seqs, nil
}

// withoutDeleted leaves out of events, which are between two seqs, what a viewer has
// deleted. It asks only where something of the kind can be.
func (s *Store) withoutDeleted(ctx context.Context, viewer *im.ReadMark, events []im.Event, first, last int64) ([]im.Event, error) {
	if viewer.DeletedUpto < first {
		return events, nil
	}
	deleted, err := s.deletedBetween(ctx, viewer, first, last)
	if len(deleted) == 0 {
		return events, err
	}
	return slices.DeleteFunc(events, func(e im.Event) bool { return slices.Contains(deleted, e.Seq) }), err
}
