package mongo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

const (
	maxBatch    = 10_000 // rows of a reply to a query without a limit
	maxParallel = 16     // queries of one call at once
	maxUpserts  = 8      // attempts at an upsert that others race for
)

// query is a find.
type query struct {
	filter bson.D
	sort   bson.D
	fields bson.D // nil = all
	limit  int    // 0 = all of them
}

// find runs a query. Its answer comes in one reply, up to 16 MB: the driver's
// default, and a batch that is just as long as the limit, leave the server's
// cursor open and cost another round trip.
func find[Row any](ctx context.Context, in *mongo.Collection, q query) (rows []Row, err error) {
	o := options.Find().SetBatchSize(maxBatch)
	if q.limit > 0 {
		o.SetLimit(int64(q.limit)).SetBatchSize(int32(min(q.limit, maxBatch) + 1))
	}
	if q.sort != nil {
		o.SetSort(q.sort)
	}
	if q.fields != nil {
		o.SetProjection(q.fields)
	}
	cursor, err := in.Find(ctx, q.filter, o)
	if err != nil {
		return nil, err
	}
	return rows, cursor.All(ctx, &rows)
}

// one returns the first row of a query, or mongo.ErrNoDocuments.
func one[Row any](ctx context.Context, in *mongo.Collection, q query) (row Row, err error) {
	q.limit = 1
	rows, err := find[Row](ctx, in, q)
	if err != nil {
		return row, err
	}
	if len(rows) == 0 {
		return row, mongo.ErrNoDocuments
	}
	return rows[0], nil
}

// byID is the filter for one row.
func byID(id any) bson.D { return bson.D{{Key: "_id", Value: id}} }

// byIDs is the query for the rows with these ids.
func byIDs[ID any](ids []ID) query {
	return query{filter: bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, limit: len(ids)}
}

// insert writes rows in order, those behind a refused one not.
func insert[Row any](ctx context.Context, s *Store, in *mongo.Collection, rows []Row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for from := 0; from < len(rows); from += s.maxBulk {
		_, err := in.InsertMany(ctx, rows[from:min(from+s.maxBulk, len(rows))])
		if err := writeError(err, from > 0); err != nil {
			return err
		}
	}
	return nil
}

// raise carries out updates that may be done twice. An upsert that lost a race
// finds the row the next time.
func (s *Store) raise(ctx context.Context, in *mongo.Collection, models []mongo.WriteModel) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for from := 0; from < len(models); from += s.maxBulk {
		if err := s.raiseBulk(ctx, in, models[from:min(from+s.maxBulk, len(models))], from > 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) raiseBulk(ctx context.Context, in *mongo.Collection, models []mongo.WriteModel, before bool) (err error) {
	for range maxUpserts {
		_, err = in.BulkWrite(ctx, models)
		if err = writeError(err, before); !errors.Is(err, im.ErrDuplicate) {
			return err
		}
	}
	return fmt.Errorf("%w: lost every race to insert: %v", im.ErrUnknown, err) //nolint:errorlint // it is no duplicate of the caller's
}

// each calls f for 0 to n-1, several at once, and returns what failed.
func each(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var running sync.WaitGroup
	errs := make([]error, n)
	slots := make(chan struct{}, maxParallel)
	for i := range n {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// wrap names the action that failed.
func wrap(action string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}
