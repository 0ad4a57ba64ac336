package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

type relationDocument struct {
	UserID    string  `bson:"user_id"`
	PeerID    string  `bson:"peer_id"`
	Mine      im.Wish `bson:"mine"`
	Ends      int64   `bson:"ends"`
	Text      string  `bson:"text"`
	AtMs      int64   `bson:"at_ms"`
	Told      im.Wish `bson:"told"`
	Theirs    im.Wish `bson:"theirs"`
	TheirText string  `bson:"their_text"`
	TheirAtMs int64   `bson:"their_at_ms"`
	Blocked   im.Flag `bson:"blocked"`
	RemarkSeq int64   `bson:"remark_seq"`
	Remark    string  `bson:"remark"`
}

func (d *relationDocument) relation() im.Relation {
	return im.Relation{
		RelationKey: im.RelationKey{UserID: d.UserID, PeerID: d.PeerID}, Mine: d.Mine, Ends: d.Ends, Text: d.Text, AtMs: d.AtMs,
		Told: d.Told, Theirs: d.Theirs, TheirText: d.TheirText, TheirAtMs: d.TheirAtMs, Blocked: d.Blocked,
		RemarkSeq: d.RemarkSeq, Remark: d.Remark,
	}
}

// raiseRelation makes a relation's row, if there is none, and then writes each group of
// columns where the first of them is older. due is set together with a wish that the
// peer has not been told of, and taken away only by who sees, in the row itself, that
// they have.
func raiseRelation(r *im.Relation) []mongo.WriteModel {
	of := relationKey(r.RelationKey)
	marks := bson.D{{Key: "told", Value: r.Told}, {Key: "blocked", Value: r.Blocked}}
	none := bson.D{{Key: "mine", Value: im.Wish(0)}, {Key: "theirs", Value: im.Wish(0)}, {Key: "remark_seq", Value: int64(0)}}
	models := []mongo.WriteModel{upsert(of, bson.D{{Key: "$max", Value: marks}, {Key: "$setOnInsert", Value: none}})}
	if r.Mine > 0 {
		models = append(models, newer(of, "mine", int64(r.Mine), bson.D{
			{Key: "mine", Value: r.Mine}, {Key: "ends", Value: r.Ends}, {Key: "text", Value: r.Text}, {Key: "at_ms", Value: r.AtMs},
			{Key: "due", Value: true},
		}))
	}
	if r.Theirs > 0 {
		models = append(models, newer(of, "theirs", int64(r.Theirs), bson.D{
			{Key: "theirs", Value: r.Theirs}, {Key: "their_text", Value: r.TheirText}, {Key: "their_at_ms", Value: r.TheirAtMs},
		}))
	}
	if r.RemarkSeq > 0 {
		models = append(models, newer(of, "remark_seq", r.RemarkSeq, bson.D{
			{Key: "remark_seq", Value: r.RemarkSeq}, {Key: "remark", Value: r.Remark},
		}))
	}
	if r.Told > 0 {
		told := bson.E{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$mine", "$told"}}}}
		filter := append(of.filter(), bson.E{Key: "due", Value: true}, told)
		models = append(models, mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(bson.D{
			{Key: "$unset", Value: bson.D{{Key: "due", Value: ""}}},
		}))
	}
	return models
}

// Relations returns the relations for keys, one for each, in the order asked.
func (s *Store) Relations(ctx context.Context, keys []im.RelationKey) ([]im.Relation, error) {
	relations := make([]im.Relation, len(keys))
	if len(keys) == 0 {
		return relations, nil
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = relationKey(key).id
	}
	rows, err := find[relationDocument](ctx, s.relations, byIDs(ids))
	found := make(map[im.RelationKey]im.Relation, len(rows))
	for i := range rows {
		r := rows[i].relation()
		found[r.RelationKey] = r
	}
	for i, key := range keys {
		relations[i] = found[key]
		relations[i].RelationKey = key
	}
	return relations, wrap("read relations", err)
}

// RelationsOf returns up to limit relations of a user behind that with a peer, by peer.
func (s *Store) RelationsOf(ctx context.Context, userID, afterPeer string, limit int) (relations []im.Relation, err error) {
	rows, err := find[relationDocument](ctx, s.relations, query{
		filter: bson.D{{Key: "user_id", Value: userID}, {Key: "peer_id", Value: bson.D{{Key: "$gt", Value: afterPeer}}}},
		sort:   ascending("peer_id"), limit: limit,
	})
	for i := range rows {
		relations = append(relations, rows[i].relation())
	}
	return relations, wrap("list relations", err)
}

// DueRelations returns the relations of the users of an inbox partition of which the
// peer has not been told. As DueReceipts, it reads what is due in all partitions.
func (s *Store) DueRelations(ctx context.Context, partition, n int) (due []im.RelationKey, err error) {
	rows, err := find[relationDocument](ctx, s.relations, query{filter: bson.D{{Key: "due", Value: true}}})
	for i := range rows {
		if r := rows[i].relation(); r.Mine > r.Told && im.Partition(r.UserID, n) == partition {
			due = append(due, r.RelationKey)
		}
	}
	return due, wrap("read due relations", err)
}
