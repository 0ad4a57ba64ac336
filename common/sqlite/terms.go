package sqlite

import (
	"context"
	"fmt"

	"github.com/im-transfer/im"
)

// termsKeptMs is for how long terms that are over are kept.
const termsKeptMs = 24 * 60 * 60 * 1000

const (
	selectTerm = `SELECT term, id_ceiling, owner, at_ms FROM terms
		WHERE partition = ? ORDER BY term DESC LIMIT 1`
	insertTerm = "INSERT INTO terms (partition, term, id_ceiling, owner, at_ms) VALUES (?, ?, ?, ?, ?)"
	pruneTerms = `DELETE FROM terms WHERE partition = ? AND at_ms < ?
		AND term < (SELECT max(term) FROM terms WHERE partition = ?)`
)

// LastTerm returns the partition's greatest term, or im.ErrNotFound.
func (s *Store) LastTerm(ctx context.Context, partition string) (term im.Term, err error) {
	err = s.read(ctx, "read term", func(c *conn) error {
		found, err := c.one(selectTerm, func(r row) {
			term = im.Term{Partition: partition, Term: r.int(0), IDCeiling: r.int(1), Owner: r.text(2), AtMs: r.int(3)}
		}, partition)
		if err == nil && !found {
			err = fmt.Errorf("%w: partition %s", im.ErrNotFound, partition)
		}
		return err
	})
	return term, err
}

// InsertTerm adds a term and prunes those of its partition that are a day older,
// but never the greatest.
func (s *Store) InsertTerm(ctx context.Context, term im.Term) error {
	return s.write(ctx, "insert term", func(t *tx) error {
		if err := t.exec(insertTerm, term.Partition, term.Term, term.IDCeiling, term.Owner, term.AtMs); err != nil {
			return err
		}
		return t.exec(pruneTerms, term.Partition, term.AtMs-termsKeptMs, term.Partition)
	})
}
