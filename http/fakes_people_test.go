package http

import (
	"context"
	"slices"
	"strings"

	"github.com/im-transfer/im"
)

func (m *memoryStore) UsersByPrefix(_ context.Context, prefix, after string, limit int) (found []im.User, err error) {
	err = m.enter("UsersByPrefix")
	defer m.mu.Unlock()
	for _, user := range m.users {
		if strings.HasPrefix(user.Username, prefix) && user.Username > after {
			found = append(found, user)
		}
	}
	slices.SortFunc(found, func(a, b im.User) int { return strings.Compare(a.Username, b.Username) })
	return found[:min(limit, len(found))], err
}

func (m *memoryStore) ChangeAccount(_ context.Context, userID string, change im.AccountChange) error {
	err := m.enter("ChangeAccount")
	defer m.mu.Unlock()
	at := slices.IndexFunc(m.users, func(u im.User) bool { return u.ID == userID })
	if err != nil || at < 0 {
		return err
	}
	user := &m.users[at]
	if change.PasswordHash != nil {
		user.PasswordHash = *change.PasswordHash
	}
	if change.Disabled != nil {
		user.Disabled = *change.Disabled
	}
	if change.Delete {
		*user = im.User{ID: user.ID, Username: user.Username, Disabled: true, Deleted: true}
	}
	return nil
}

func (m *memoryStore) Relations(_ context.Context, keys []im.RelationKey) ([]im.Relation, error) {
	err := m.enter("Relations")
	defer m.mu.Unlock()
	found := make([]im.Relation, len(keys))
	for i, key := range keys {
		found[i].RelationKey = key
		for _, r := range m.relations {
			if r.RelationKey == key {
				found[i] = r
			}
		}
	}
	return found, err
}

func (m *memoryStore) RelationsOf(_ context.Context, userID, after string, limit int) (found []im.Relation, err error) {
	err = m.enter("RelationsOf")
	defer m.mu.Unlock()
	for _, r := range m.relations {
		if r.UserID == userID && r.PeerID > after && len(found) < limit {
			found = append(found, r)
		}
	}
	return found, err
}

func (m *memoryStore) Marks(_ context.Context, keys []im.ReadKey) (marks []im.ReadMark, err error) {
	err = m.enter("Marks")
	defer m.mu.Unlock()
	for _, key := range keys {
		marks = append(marks, im.ReadMark{UserID: key.UserID, ConversationID: key.ConversationID})
	}
	return marks, err
}

func (m *memoryStore) Deleted(_ context.Context, _ string, refs []im.EventRef) (found []im.EventRef, err error) {
	err = m.enter("Deleted")
	defer m.mu.Unlock()
	for _, ref := range refs {
		if slices.Contains(m.deleted, ref) {
			found = append(found, ref)
		}
	}
	return found, err
}
