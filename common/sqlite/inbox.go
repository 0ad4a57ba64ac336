package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

// searchedEntries is how far back FindEntries looks.
const searchedEntries = 10_000

const (
	insertBlock = "INSERT INTO inbox (user, first_seq, n, at_ms, entries) VALUES (?, ?, ?, ?, ?)"
	selectEnds  = `SELECT
		(SELECT first_seq + n - 1 FROM inbox WHERE user = ? ORDER BY first_seq DESC LIMIT 1),
		(SELECT floor FROM floors WHERE user = ?)`
	// The block that holds the seq, if one does, and those behind it.
	selectBlocks = `SELECT first_seq, n, at_ms, entries FROM inbox
		WHERE user = ? AND first_seq >= coalesce(
			(SELECT max(first_seq) FROM inbox WHERE user = ? AND first_seq <= ?), 0)
		ORDER BY first_seq`
	newestBlocks = "SELECT first_seq, n, entries FROM inbox WHERE user = ? ORDER BY first_seq DESC"
)

// CommitInbox writes an inbox commit in one transaction. Packs with a zero Ref
// are not kept. Whoever keeps one chooses a Ref.Commit that no other pack of the
// partition has or had, across restarts: the id of the message that it carries,
// or any other snowflake.
func (s *Store) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	return s.write(ctx, "commit inbox", func(t *tx) error {
		if err := t.raiseMarks(commit); err != nil {
			return err
		}
		for i := range commit.Blocks {
			if err := t.insertBlock(&commit.Blocks[i]); err != nil {
				return err
			}
		}
		if err := t.writeOwn(&commit.Own); err != nil {
			return err
		}
		if err := t.keepPacks(commit.Packs); err != nil {
			return err
		}
		return t.forgetPacks(commit.Done)
	})
}

func (t *tx) insertBlock(b *im.Block) error {
	user, err := t.userKey(b.UserID)
	if err != nil {
		return err
	}
	t.scratch, err = appendEntries(t.scratch[:0], b.Entries, t.conversationKey)
	if err != nil {
		return err
	}
	return t.exec(insertBlock, user, b.FirstSeq, int64(len(b.Entries)), b.AtMs, t.scratch)
}

// Heads returns where users' inboxes end and begin, one for each id, in the
// order asked.
func (s *Store) Heads(ctx context.Context, userIDs []string) ([]im.InboxHead, error) {
	heads := make([]im.InboxHead, len(userIDs))
	err := s.read(ctx, "read inbox heads", func(c *conn) error {
		for i, id := range userIDs {
			user, err := s.users.key(c, id)
			if err != nil {
				return err
			}
			if err := loadHead(c, user, &heads[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return heads, err
}

func loadHead(c *conn, user int64, head *im.InboxHead) error {
	_, err := c.one(selectEnds, func(r row) { head.Head, head.Floor = r.int(0), r.int(1) }, user, user)
	return err
}

// Blocks reads whole blocks of a user from the one that holds after+1 on, until
// they hold at least limit entries above after.
func (s *Store) Blocks(ctx context.Context, userID string, after int64, limit int) (page im.InboxPage, err error) {
	err = s.read(ctx, "read inbox", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		var failure error
		err = c.each(selectBlocks, func(r row) bool {
			last := r.int(0) + r.int(1) - 1
			if last <= after {
				return true
			}
			block := im.Block{UserID: userID, FirstSeq: r.int(0), AtMs: r.int(2)}
			block.Entries, failure = readEntries(r.blob(3), r.int(1), func(key int64) (string, error) {
				return s.conversations.id(c, key)
			})
			page.Blocks = append(page.Blocks, block)
			return failure == nil && last-after < int64(limit)
		}, user, user, after+1)
		if err != nil || failure != nil {
			return firstOf(err, failure)
		}
		return loadHead(c, user, &page.InboxHead)
	})
	return page, err
}

// FindEntries returns those keys that are in the newest 10,000 entries of their
// user's inbox, with their seq.
func (s *Store) FindEntries(ctx context.Context, keys []im.EntryKey) (found []im.EntryKey, err error) {
	wanted := make(map[string]map[im.EventID]bool)
	for _, key := range keys {
		if wanted[key.UserID] == nil {
			wanted[key.UserID] = make(map[im.EventID]bool)
		}
		wanted[key.UserID][key.EventID] = true
	}
	err = s.read(ctx, "search inbox", func(c *conn) error {
		for user, ids := range wanted {
			if found, err = s.appendFound(found, c, user, ids); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// appendFound searches one inbox from its end.
func (s *Store) appendFound(found []im.EntryKey, c *conn, userID string, ids map[im.EventID]bool) ([]im.EntryKey, error) {
	user, err := s.users.key(c, userID)
	if err != nil {
		return found, err
	}
	var failure error
	searched := int64(0)
	err = c.each(newestBlocks, func(r row) bool {
		reader := entryReader{rest: r.blob(2)}
		for i := range r.int(1) {
			entry, _, err := reader.next()
			if err != nil {
				failure = err
				return false
			}
			if ids[entry.EventID] {
				delete(ids, entry.EventID)
				found = append(found, im.EntryKey{UserID: userID, EventID: entry.EventID, Seq: r.int(0) + i})
			}
		}
		searched += r.int(1)
		return len(ids) > 0 && searched < searchedEntries
	}, user)
	return found, firstOf(err, failure)
}
