package sqlite

import (
	"context"
	"slices"

	"github.com/im-transfer/im"
)

const (
	raiseView = `INSERT INTO reads (user, conversation, read_upto, receipted_upto, delivered_upto,
			cleared_upto, deleted_upto, muted, pinned, hidden, unread) VALUES (?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (user, conversation) DO UPDATE SET
			cleared_upto = max(cleared_upto, excluded.cleared_upto), deleted_upto = max(deleted_upto, excluded.deleted_upto),
			muted = max(muted, excluded.muted), pinned = max(pinned, excluded.pinned),
			hidden = max(hidden, excluded.hidden), unread = max(unread, excluded.unread)`
	insertDelete = "INSERT INTO deletes (user, conversation, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
	selectDelete = "SELECT 1 FROM deletes WHERE user = ? AND conversation = ? AND seq = ?"

	setNickname = "UPDATE users SET nickname = ?, nickname_seq = ? WHERE user = ? AND nickname_seq < ?"
	setAvatar   = "UPDATE users SET avatar = ?, avatar_seq = ? WHERE user = ? AND avatar_seq < ?"
	setBio      = "UPDATE users SET bio = ?, bio_seq = ? WHERE user = ? AND bio_seq < ?"
)

// writeOwn writes what a commit makes of what is its users' alone.
func (t *tx) writeOwn(own *im.OwnState) error {
	for i := range own.Views {
		if err := t.raiseView(&own.Views[i]); err != nil {
			return err
		}
	}
	for i := range own.Deleted {
		if err := t.insertDelete(&own.Deleted[i]); err != nil {
			return err
		}
	}
	for i := range own.Relations {
		if err := t.raiseRelation(&own.Relations[i]); err != nil {
			return err
		}
	}
	for i := range own.Profiles {
		if err := t.updateProfile(&own.Profiles[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) raiseView(m *im.ReadMark) error {
	user, err := t.userKey(m.UserID)
	if err != nil {
		return err
	}
	conversation, err := t.conversationKey(m.ConversationID)
	if err != nil {
		return err
	}
	return t.exec(raiseView, user, conversation, m.ClearedUpto, m.DeletedUpto,
		int64(m.Muted), int64(m.Pinned), int64(m.Hidden), int64(m.Unread))
}

func (t *tx) insertDelete(d *im.Deletion) error {
	user, err := t.userKey(d.UserID)
	if err != nil {
		return err
	}
	conversation, err := t.conversationKey(d.ConversationID)
	if err != nil {
		return err
	}
	return t.exec(insertDelete, user, conversation, d.Seq)
}

func (t *tx) updateProfile(p *im.ProfileUpdate) error {
	user, err := t.users.key(t.conn, p.UserID)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		statement string
		value     *string
	}{{setNickname, p.Nickname}, {setAvatar, p.AvatarFileID}, {setBio, p.Bio}} {
		if part.value == nil {
			continue
		}
		if err := t.exec(part.statement, *part.value, p.Seq, user, p.Seq); err != nil {
			return err
		}
	}
	return nil
}

// Deleted returns those of some places that a user has deleted for themselves.
func (s *Store) Deleted(ctx context.Context, userID string, refs []im.EventRef) (deleted []im.EventRef, err error) {
	err = s.read(ctx, "read deletes", func(c *conn) error {
		for _, ref := range refs {
			user, conversation, err := s.readKeys(c, userID, ref.ConversationID)
			if err != nil {
				return err
			}
			found, err := c.one(selectDelete, func(row) {}, user, conversation, ref.Seq)
			if err != nil {
				return err
			}
			if found && !slices.Contains(deleted, ref) {
				deleted = append(deleted, ref)
			}
		}
		return nil
	})
	return deleted, err
}
