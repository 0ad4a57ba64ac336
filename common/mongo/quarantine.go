package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/im-transfer/im"
)

type quarantineDocument struct {
	ID        int64  `bson:"_id"`
	Topic     string `bson:"topic"`
	Partition int    `bson:"partition"`
	Reason    string `bson:"reason"`
	Body      []byte `bson:"body"`
	AtMs      int64  `bson:"at_ms"`
}

func (d *quarantineDocument) item() im.Quarantined {
	return im.Quarantined{Topic: d.Topic, Partition: d.Partition, Reason: d.Reason, Body: d.Body, AtMs: d.AtMs}
}

// Quarantine adds an item. One that is there already stays as it is; it counts only
// when a majority has it, which the refusal of its like does not say.
func (s *Store) Quarantine(ctx context.Context, item im.Quarantined) error {
	row := quarantineDocument{item.ID(), item.Topic, item.Partition, item.Reason, item.Body, item.AtMs}
	err := insert(ctx, s, s.quarantine, []quarantineDocument{row})
	if errors.Is(err, im.ErrDuplicate) {
		if _, err = s.QuarantinedItem(ctx, row.ID); errors.Is(err, im.ErrNotFound) {
			err = fmt.Errorf("%w: a majority does not show it yet", im.ErrUnknown)
		}
	}
	return wrap("quarantine", err)
}

// Quarantined returns up to limit items behind a place in the order of times and
// ids.
func (s *Store) Quarantined(ctx context.Context, afterMs, afterID int64, limit int) (items []im.Quarantined, err error) {
	above := func(value int64) bson.D { return bson.D{{Key: "$gt", Value: value}} }
	rows, err := find[quarantineDocument](ctx, s.quarantine, query{
		filter: anyOf([]bson.D{
			{{Key: "at_ms", Value: above(afterMs)}},
			{{Key: "at_ms", Value: afterMs}, {Key: "_id", Value: above(afterID)}},
		}),
		sort: ascending("at_ms", "_id"), limit: limit,
	})
	for i := range rows {
		items = append(items, rows[i].item())
	}
	return items, wrap("list the quarantine", err)
}

// QuarantinedItem returns an item, or im.ErrNotFound.
func (s *Store) QuarantinedItem(ctx context.Context, id int64) (im.Quarantined, error) {
	row, err := one[quarantineDocument](ctx, s.quarantine, query{filter: byID(id)})
	return row.item(), wrap("read the quarantine", notFound(err, "item %d", id))
}

// Release forgets an item. Packs are the queue's to keep.
func (s *Store) Release(ctx context.Context, id int64, _ []im.Pack) error {
	result, err := s.quarantine.DeleteOne(ctx, byID(id))
	if err := writeError(err, true); err != nil {
		return wrap("release from the quarantine", err)
	}
	if result.DeletedCount == 0 {
		return fmt.Errorf("%w: item %d of the quarantine", im.ErrNotFound, id)
	}
	return nil
}
