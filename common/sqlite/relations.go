package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	raiseRelation = `INSERT INTO relations (user, peer, mine, ends, text, at_ms, told, theirs, their_text, their_at_ms,
			blocked, remark_seq, remark) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (user, peer) DO UPDATE SET
			ends = iif(excluded.mine > mine, excluded.ends, ends), text = iif(excluded.mine > mine, excluded.text, text),
			at_ms = iif(excluded.mine > mine, excluded.at_ms, at_ms), mine = max(mine, excluded.mine),
			told = max(told, excluded.told),
			their_text = iif(excluded.theirs > theirs, excluded.their_text, their_text),
			their_at_ms = iif(excluded.theirs > theirs, excluded.their_at_ms, their_at_ms), theirs = max(theirs, excluded.theirs),
			blocked = max(blocked, excluded.blocked),
			remark = iif(excluded.remark_seq > remark_seq, excluded.remark, remark), remark_seq = max(remark_seq, excluded.remark_seq)`
	relationColumns = "mine, ends, text, at_ms, told, theirs, their_text, their_at_ms, blocked, remark_seq, remark"
	selectRelation  = "SELECT " + relationColumns + " FROM relations WHERE user = ? AND peer = ?"
	selectRelations = "SELECT " + relationColumns + ", peer FROM relations WHERE user = ? AND peer > ? ORDER BY peer LIMIT ?"

	// It reads the partial index relations_due only.
	dueRelations = `SELECT k.id, p.id FROM relations r
		JOIN user_keys k ON k.key = r.user JOIN user_keys p ON p.key = r.peer WHERE r.told < r.mine`
)

func (t *tx) raiseRelation(r *im.Relation) error {
	user, err := t.userKey(r.UserID)
	if err != nil {
		return err
	}
	peer, err := t.userKey(r.PeerID)
	if err != nil {
		return err
	}
	return t.exec(raiseRelation, user, peer, int64(r.Mine), r.Ends, r.Text, r.AtMs, int64(r.Told),
		int64(r.Theirs), r.TheirText, r.TheirAtMs, int64(r.Blocked), r.RemarkSeq, r.Remark)
}

func relationOf(r row, key im.RelationKey) im.Relation {
	return im.Relation{
		RelationKey: key, Mine: im.Wish(r.int(0)), Ends: r.int(1), Text: r.text(2), AtMs: r.int(3), Told: im.Wish(r.int(4)),
		Theirs: im.Wish(r.int(5)), TheirText: r.text(6), TheirAtMs: r.int(7), Blocked: im.Flag(r.int(8)),
		RemarkSeq: r.int(9), Remark: r.text(10),
	}
}

// Relations returns the relations for keys, one for each, in the order asked.
func (s *Store) Relations(ctx context.Context, keys []im.RelationKey) ([]im.Relation, error) {
	relations := make([]im.Relation, len(keys))
	err := s.read(ctx, "read relations", func(c *conn) error {
		for i, key := range keys {
			relations[i].RelationKey = key
			user, err := s.users.key(c, key.UserID)
			if err != nil {
				return err
			}
			peer, err := s.users.key(c, key.PeerID)
			if err != nil {
				return err
			}
			if _, err := c.one(selectRelation, func(r row) { relations[i] = relationOf(r, key) }, user, peer); err != nil {
				return err
			}
		}
		return nil
	})
	return relations, err
}

// RelationsOf returns up to limit relations of a user behind that with a peer, in an
// order that does not change.
func (s *Store) RelationsOf(ctx context.Context, userID, afterPeer string, limit int) (relations []im.Relation, err error) {
	err = s.read(ctx, "list relations", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		after, err := s.users.key(c, afterPeer)
		if err != nil {
			return err
		}
		var failure error
		err = c.each(selectRelations, func(r row) bool {
			var peer string
			peer, failure = s.users.id(c, r.int(11))
			relations = append(relations, relationOf(r, im.RelationKey{UserID: userID, PeerID: peer}))
			return failure == nil
		}, user, after, int64(limit))
		return firstOf(err, failure)
	})
	return relations, err
}

// DueRelations returns the relations of the users of an inbox partition of which the
// peer has not been told.
func (s *Store) DueRelations(ctx context.Context, partition, n int) (due []im.RelationKey, err error) {
	err = s.read(ctx, "read due relations", func(c *conn) error {
		return c.each(dueRelations, func(r row) bool {
			if key := (im.RelationKey{UserID: r.text(0), PeerID: r.text(1)}); im.Partition(key.UserID, n) == partition {
				due = append(due, key)
			}
			return true
		})
	})
	return due, err
}
