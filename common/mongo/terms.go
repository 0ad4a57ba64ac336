package mongo

import (
	"context"
	"log/slog"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/im-transfer/im"
)

// termsKeptMs is for how long terms that are over are kept.
const termsKeptMs = 24 * 60 * 60 * 1000

type termDocument struct {
	Partition string `bson:"partition"`
	Term      int64  `bson:"term"`
	IDCeiling int64  `bson:"id_ceiling"`
	Owner     string `bson:"owner"`
	AtMs      int64  `bson:"at_ms"`
}

// LastTerm returns the partition's greatest term, or im.ErrNotFound.
func (s *Store) LastTerm(ctx context.Context, partition string) (im.Term, error) {
	row, err := one[termDocument](ctx, s.terms, query{
		filter: bson.D{{Key: "partition", Value: partition}}, sort: descending("term"),
	})
	return im.Term(row), wrap("read term", notFound(err, "partition %s", partition))
}

// InsertTerm adds a term, and then prunes those below it that are a day older. The
// next one prunes what this one could not.
func (s *Store) InsertTerm(ctx context.Context, term im.Term) error {
	if err := insert(ctx, s, s.terms, []termDocument{termDocument(term)}); err != nil {
		return wrap("insert term", err)
	}
	_, err := s.terms.DeleteMany(ctx, bson.D{
		{Key: "partition", Value: term.Partition}, {Key: "term", Value: bson.D{{Key: "$lt", Value: term.Term}}},
		{Key: "at_ms", Value: bson.D{{Key: "$lt", Value: term.AtMs - termsKeptMs}}},
	})
	if err != nil {
		slog.WarnContext(ctx, "terms were not pruned", "partition", term.Partition, "error", err)
	}
	return nil
}
