package mongo

import (
	"context"

	"github.com/im-transfer/im"
)

// FindDeliveries returns where an event stands in users' inboxes; those that do not have it
// are left out.
func (s *Store) FindDeliveries(ctx context.Context, event *im.Event, userIDs []string) ([]im.EntryKey, error) {
	keys := make([]im.EntryKey, len(userIDs))
	for i, id := range userIDs {
		keys[i] = im.EntryKey{UserID: id, EventID: im.EventIDOf(event.ID)}
	}
	return s.FindEntries(ctx, keys)
}
