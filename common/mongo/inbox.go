package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// maxBlocks is how many blocks a page reads at once; most hold several entries.
const maxBlocks = 64

// CommitInbox writes marks, then cursors, then blocks in order, then own state. Packs are the
// queue's to keep.
func (s *Store) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	if err := s.raise(ctx, s.reads, raiseMarks(commit.Marks)); err != nil {
		return wrap("commit marks", err)
	}
	if err := s.raise(ctx, s.cursors, raiseCursors(commit.Cursors)); err != nil {
		if len(commit.Marks) > 0 {
			err = maybe(err)
		}
		return wrap("commit cursors", err)
	}
	im.CrashPoint(im.CrashMarksRaised)
	rows := make([]blockDocument, len(commit.Blocks))
	for i := range commit.Blocks {
		rows[i] = blockRow(&commit.Blocks[i])
	}
	written := len(commit.Marks)+len(commit.Cursors) > 0
	if err := insert(ctx, s, s.inbox, rows); err != nil {
		if written {
			err = maybe(err)
		}
		return wrap("commit blocks", err)
	}
	if commit.Own.Empty() {
		return nil
	}
	err := s.writeOwn(ctx, &commit.Own)
	if err != nil && (written || len(rows) > 0) {
		err = maybe(err)
	}
	return wrap("commit own state", err)
}

// Heads returns where users' inboxes end and begin, one for each id, in the
// order asked.
func (s *Store) Heads(ctx context.Context, userIDs []string) ([]im.InboxHead, error) {
	heads := make([]im.InboxHead, len(userIDs))
	if len(userIDs) == 0 {
		return heads, nil
	}
	err := each(len(userIDs), func(i int) (err error) {
		heads[i].Head, err = s.head(ctx, userIDs[i])
		return err
	})
	if err != nil {
		return nil, wrap("read inbox heads", err)
	}
	floors, err := s.floorsOf(ctx, userIDs)
	for i, id := range userIDs {
		heads[i].Floor = floors[id]
	}
	return heads, wrap("read inbox floors", err)
}

func (s *Store) head(ctx context.Context, userID string) (int64, error) {
	newest, err := one[blockDocument](ctx, s.inbox, query{
		filter: bson.D{{Key: "user_id", Value: userID}}, sort: descending("first_seq"), fields: ascending("first_seq", "n"),
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	return newest.lastSeq(), err
}

type floorDocument struct {
	UserID string `bson:"_id"`
	Floor  int64  `bson:"floor"`
}

func (s *Store) floorsOf(ctx context.Context, userIDs []string) (map[string]int64, error) {
	rows, err := find[floorDocument](ctx, s.floors, byIDs(userIDs))
	floors := make(map[string]int64, len(rows))
	for _, row := range rows {
		floors[row.UserID] = row.Floor
	}
	return floors, err
}

// Blocks reads whole blocks of a user from the one that holds after+1 on, until
// they hold at least limit entries above after.
func (s *Store) Blocks(ctx context.Context, userID string, after int64, limit int) (page im.InboxPage, err error) {
	rows, whole, err := s.blockRows(ctx, userID, after, limit)
	if err != nil {
		return page, wrap("read inbox", err)
	}
	for i, last := 0, after; i < len(rows) && last-after < int64(limit); i++ {
		if last = rows[i].lastSeq(); last > after {
			page.Blocks = append(page.Blocks, rows[i].block())
		}
	}
	if whole && len(rows) > 0 {
		page.Head = rows[len(rows)-1].lastSeq()
	} else if page.Head, err = s.head(ctx, userID); err != nil {
		return im.InboxPage{}, wrap("read inbox head", err)
	}
	floors, err := s.floorsOf(ctx, []string{userID})
	page.Floor = floors[userID]
	return page, wrap("read inbox floor", err)
}

// blockRows returns the blocks behind after+1 with the one before them in front,
// and whether they reach to the end. The one in front is read last: so there is no
// block between it and the others that came only after it was read.
func (s *Store) blockRows(ctx context.Context, userID string, after int64, limit int) (rows []blockDocument, whole bool, err error) {
	next, upto := after+1, after
	for !whole && upto-after < int64(limit) {
		wanted := int(min(int64(limit)-(upto-after), maxBlocks))
		more, err := find[blockDocument](ctx, s.inbox, query{
			filter: blocksOf(userID, bson.D{{Key: "$gt", Value: next}}), sort: ascending("first_seq"), limit: wanted,
		})
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, more...)
		if whole = len(more) < wanted; len(more) > 0 {
			next, upto = more[len(more)-1].FirstSeq, more[len(more)-1].lastSeq()
		}
	}
	first, err := one[blockDocument](ctx, s.inbox, query{
		filter: blocksOf(userID, bson.D{{Key: "$lte", Value: after + 1}}), sort: descending("first_seq"),
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return rows, whole, nil
	}
	return append([]blockDocument{first}, rows...), whole, err
}

func blocksOf(userID string, firstSeq bson.D) bson.D {
	return bson.D{{Key: "user_id", Value: userID}, {Key: "first_seq", Value: firstSeq}}
}

// FindEntries returns those keys that are in an inbox, with their seq.
func (s *Store) FindEntries(ctx context.Context, keys []im.EntryKey) ([]im.EntryKey, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	wanted := make(map[im.EntryKey]bool, len(keys))
	ids := make(map[string][]entryID)
	for _, key := range keys {
		wanted[im.EntryKey{UserID: key.UserID, EventID: key.EventID}] = true
		ids[key.UserID] = append(ids[key.UserID], entryID(key.EventID))
	}
	filters := make([]bson.D, 0, len(ids))
	for user, of := range ids {
		filters = append(filters, bson.D{
			{Key: "user_id", Value: user}, {Key: "entries.event_id", Value: bson.D{{Key: "$in", Value: of}}},
		})
	}
	rows, err := find[blockDocument](ctx, s.inbox, query{
		filter: anyOf(filters), limit: len(keys), fields: ascending("user_id", "first_seq", "entries.event_id"),
	})
	if err != nil {
		return nil, wrap("search inbox", err)
	}
	return foundIn(rows, wanted), nil
}

// foundIn returns the entries of blocks that are wanted.
func foundIn(rows []blockDocument, wanted map[im.EntryKey]bool) (found []im.EntryKey) {
	for i := range rows {
		for k := range rows[i].Entries {
			key := im.EntryKey{UserID: rows[i].UserID, EventID: im.EventID(rows[i].Entries[k].EventID)}
			if wanted[key] {
				key.Seq = rows[i].FirstSeq + int64(k)
				found = append(found, key)
			}
		}
	}
	return found
}
