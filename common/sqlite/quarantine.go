package sqlite

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

// An item's place is its id.
const (
	insertQuarantined = `INSERT INTO quarantine (place, topic, partition, reason, body, at_ms) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (place) DO NOTHING`
	selectQuarantined = `SELECT topic, partition, reason, body, at_ms FROM quarantine
		WHERE (at_ms, place) > (?, ?) ORDER BY at_ms, place LIMIT ?`
	oneQuarantined    = "SELECT topic, partition, reason, body, at_ms FROM quarantine WHERE place = ?"
	deleteQuarantined = "DELETE FROM quarantine WHERE place = ?"
)

// Quarantine adds an item. One that is there already stays as it is.
func (s *Store) Quarantine(ctx context.Context, item im.Quarantined) error {
	return s.write(ctx, "quarantine", func(t *tx) error {
		return t.exec(insertQuarantined, item.ID(), item.Topic, int64(item.Partition), item.Reason, item.Body, item.AtMs)
	})
}

func quarantinedOf(r row) im.Quarantined {
	return im.Quarantined{Topic: r.text(0), Partition: int(r.int(1)), Reason: r.text(2), Body: r.blob(3), AtMs: r.int(4)}
}

// Quarantined returns up to limit items behind a place in the order of times and
// ids.
func (s *Store) Quarantined(ctx context.Context, afterMs, afterID int64, limit int) (items []im.Quarantined, err error) {
	err = s.read(ctx, "list the quarantine", func(c *conn) error {
		return c.each(selectQuarantined, func(r row) bool {
			items = append(items, quarantinedOf(r))
			return true
		}, afterMs, afterID, int64(limit))
	})
	return items, err
}

// QuarantinedItem returns an item, or im.ErrNotFound.
func (s *Store) QuarantinedItem(ctx context.Context, id int64) (item im.Quarantined, err error) {
	err = s.read(ctx, "read the quarantine", func(c *conn) error {
		found, err := c.one(oneQuarantined, func(r row) { item = quarantinedOf(r) }, id)
		return firstOf(err, absent(found, id))
	})
	return item, err
}

// Release forgets an item and keeps packs, in one transaction.
func (s *Store) Release(ctx context.Context, id int64, packs []im.Pack) error {
	return s.write(ctx, "release from the quarantine", func(t *tx) error {
		found, err := t.one(oneQuarantined, func(row) {}, id)
		if err := firstOf(err, absent(found, id)); err != nil {
			return err
		}
		if err := t.exec(deleteQuarantined, id); err != nil {
			return err
		}
		return t.keepPacks(packs)
	})
}

func absent(found bool, id int64) error {
	if found {
		return nil
	}
	return fmt.Errorf("%w: item %d of the quarantine", im.ErrNotFound, id)
}
