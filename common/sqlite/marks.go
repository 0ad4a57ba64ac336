package sqlite

import (
	"context"

	"github.com/im-transfer/im"
)

const (
	raiseMark = `INSERT INTO reads (user, conversation, read_upto, receipted_upto, delivered_upto) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (user, conversation) DO UPDATE SET
			read_upto = max(read_upto, excluded.read_upto),
			receipted_upto = max(receipted_upto, excluded.receipted_upto),
			delivered_upto = max(delivered_upto, excluded.delivered_upto)
		WHERE excluded.read_upto > read_upto OR excluded.receipted_upto > receipted_upto
			OR excluded.delivered_upto > delivered_upto`
	raiseCursor = `INSERT INTO cursors (user, device, seq, receipted_seq) VALUES (?, ?, ?, ?)
		ON CONFLICT (user, device) DO UPDATE SET
			seq = max(seq, excluded.seq), receipted_seq = max(receipted_seq, excluded.receipted_seq)
		WHERE excluded.seq > seq OR excluded.receipted_seq > receipted_seq`

	markColumns   = "read_upto, receipted_upto, delivered_upto, cleared_upto, deleted_upto, muted, pinned, hidden, unread"
	selectMark    = "SELECT " + markColumns + " FROM reads WHERE user = ? AND conversation = ?"
	selectCursors = "SELECT device, seq, receipted_seq FROM cursors WHERE user = ?"

	// These two read the partial indexes reads_due and cursors_due only.
	dueMarks = `SELECT k.id, c.id, r.read_upto, r.receipted_upto, r.delivered_upto FROM reads r
		JOIN user_keys k ON k.key = r.user JOIN conversation_keys c ON c.key = r.conversation
		WHERE r.receipted_upto < r.read_upto`
	dueCursors = `SELECT k.id, c.device, c.seq, c.receipted_seq FROM cursors c
		JOIN user_keys k ON k.key = c.user WHERE c.receipted_seq < c.seq`
)

func (t *tx) raiseMarks(commit *im.InboxCommit) error {
	for i := range commit.Marks {
		m := &commit.Marks[i]
		user, err := t.userKey(m.UserID)
		if err != nil {
			return err
		}
		conversation, err := t.conversationKey(m.ConversationID)
		if err != nil {
			return err
		}
		if err := t.exec(raiseMark, user, conversation, m.ReadUpto, m.ReceiptedUpto, m.DeliveredUpto); err != nil {
			return err
		}
	}
	for i := range commit.Cursors {
		m := &commit.Cursors[i]
		user, err := t.userKey(m.UserID)
		if err != nil {
			return err
		}
		if err := t.exec(raiseCursor, user, packID(m.DeviceID), m.Seq, m.ReceiptedSeq); err != nil {
			return err
		}
	}
	return nil
}

// Cursors returns the cursors of all devices of these users.
func (s *Store) Cursors(ctx context.Context, userIDs []string) (cursors []im.Cursor, err error) {
	err = s.read(ctx, "read cursors", func(c *conn) error {
		for _, id := range userIDs {
			user, err := s.users.key(c, id)
			if err != nil {
				return err
			}
			err = c.each(selectCursors, func(r row) bool {
				cursors = append(cursors, im.Cursor{UserID: id, DeviceID: unpackID(r, 0), Seq: r.int(1), ReceiptedSeq: r.int(2)})
				return true
			}, user)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return cursors, err
}

// Marks returns the read marks for keys, one for each, in the order asked.
func (s *Store) Marks(ctx context.Context, keys []im.ReadKey) ([]im.ReadMark, error) {
	marks := make([]im.ReadMark, len(keys))
	err := s.read(ctx, "read marks", func(c *conn) error {
		for i, key := range keys {
			user, conversation, err := s.readKeys(c, key.UserID, key.ConversationID)
			if err != nil {
				return err
			}
			if marks[i], err = loadMark(c, user, conversation); err != nil {
				return err
			}
			marks[i].UserID, marks[i].ConversationID = key.UserID, key.ConversationID
		}
		return nil
	})
	return marks, err
}

// loadMark returns a mark without its ids.
func loadMark(c *conn, user, conversation int64) (mark im.ReadMark, err error) {
	_, err = c.one(selectMark, func(r row) { mark = markOf(r, 0) }, user, conversation)
	return mark, err
}

// markOf is the mark of a row that has markColumns from a place on.
func markOf(r row, at int) im.ReadMark {
	return im.ReadMark{
		ReadUpto: r.int(at), ReceiptedUpto: r.int(at + 1), DeliveredUpto: r.int(at + 2),
		ClearedUpto: r.int(at + 3), DeletedUpto: r.int(at + 4),
		Muted: im.Flag(r.int(at + 5)), Pinned: im.Flag(r.int(at + 6)), Hidden: im.Flag(r.int(at + 7)), Unread: im.Flag(r.int(at + 8)),
	}
}

// readKeys returns the keys of a user and a conversation, 0 for unknown ones.
func (s *Store) readKeys(c *conn, userID, conversationID string) (user, conversation int64, err error) {
	if user, err = s.users.key(c, userID); err == nil {
		conversation, err = s.conversations.key(c, conversationID)
	}
	return user, conversation, err
}

// DueReceipts returns the marks and cursors of the users of an inbox partition
// that are above their receipted values.
func (s *Store) DueReceipts(ctx context.Context, partition, n int) (marks []im.ReadMark, cursors []im.Cursor, err error) {
	err = s.read(ctx, "read due receipts", func(c *conn) error {
		err := c.each(dueMarks, func(r row) bool {
			if user := r.text(0); im.Partition(user, n) == partition {
				marks = append(marks, im.ReadMark{
					UserID: user, ConversationID: r.text(1), ReadUpto: r.int(2), ReceiptedUpto: r.int(3), DeliveredUpto: r.int(4),
				})
			}
			return true
		})
		if err != nil {
			return err
		}
		return c.each(dueCursors, func(r row) bool {
			if user := r.text(0); im.Partition(user, n) == partition {
				cursors = append(cursors, im.Cursor{UserID: user, DeviceID: unpackID(r, 1), Seq: r.int(2), ReceiptedSeq: r.int(3)})
			}
			return true
		})
	})
	return marks, cursors, err
}

// Unread counts the counted events of others above each mark's ReadUpto within
// the user's stays that they have neither cleared nor deleted, up to im.MaxUnread,
// without those that are recalled or expired.
func (s *Store) Unread(ctx context.Context, marks []im.ReadMark) ([]int, error) {
	counts := make([]int, len(marks))
	err := s.read(ctx, "count unread", func(c *conn) error {
		for i, mark := range marks {
			user, conversation, err := s.readKeys(c, mark.UserID, mark.ConversationID)
			if err != nil {
				return err
			}
			stored, err := loadMark(c, user, conversation)
			if err != nil {
				return err
			}
			if counts[i], err = s.unread(c, user, conversation, max(mark.ReadUpto, stored.ClearedUpto)); err != nil {
				return err
			}
		}
		return nil
	})
	return counts, err
}
