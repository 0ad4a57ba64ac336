package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	insertPack = "INSERT INTO outbox (commit_id, partition, body) VALUES (?, ?, ?)"
	deletePack = "DELETE FROM outbox WHERE commit_id = ? AND partition = ?"
	// A place is above those of all packs that are still there.
	selectPacks = "SELECT commit_id, partition, body FROM outbox ORDER BY place"
)

func (t *tx) keepPacks(packs []im.Pack) error {
	for i := range packs {
		ref := packs[i].Ref
		if ref == (im.PackRef{}) {
			continue
		}
		if err := t.exec(insertPack, ref.Commit, int64(ref.Partition), packs[i].Body); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) forgetPacks(refs []im.PackRef) error {
	for _, ref := range refs {
		if err := t.exec(deletePack, ref.Commit, int64(ref.Partition)); err != nil {
			return err
		}
	}
	return nil
}

// PendingPacks returns the packs whose envelopes are in no inbox yet, in the
// order they were kept.
func (s *Store) PendingPacks(ctx context.Context) (packs []im.Pack, err error) {
	err = s.read(ctx, "read outbox", func(c *conn) error {
		return c.each(selectPacks, func(r row) bool {
			ref := im.PackRef{Commit: r.int(0), Partition: int(r.int(1))}
			packs = append(packs, im.Pack{Ref: ref, Partition: ref.Partition, Body: r.blob(2)})
			return true
		})
	})
	return packs, err
}
