package sqlite

import (
	"context"
	"errors"

	"github.com/im-transfer/im"
)

// The table is made here, since a database may be older than it.
const (
	makeFacts = `CREATE TABLE IF NOT EXISTS facts (
		one INTEGER PRIMARY KEY CHECK (one = 1), conversation_partitions INTEGER NOT NULL,
		inbox_partitions INTEGER NOT NULL, format INTEGER NOT NULL)`
	insertFacts = "INSERT OR IGNORE INTO facts VALUES (1, ?, ?, ?)"
	selectFacts = "SELECT conversation_partitions, inbox_partitions, format FROM facts"
)

// Facts stores the facts that data go with if there are none, and returns those in
// force. The prefetch is the one given: nothing stored goes with it.
func (s *Store) Facts(ctx context.Context, facts im.ClusterFacts) (im.ClusterFacts, error) {
	inForce := im.ClusterFacts{Prefetch: facts.Prefetch}
	err := s.write(ctx, "read the facts", func(t *tx) error {
		if err := t.exec(makeFacts); err != nil {
			return err
		}
		err := t.exec(insertFacts, int64(facts.ConversationPartitions), int64(facts.InboxPartitions), int64(facts.Format))
		if err != nil {
			return err
		}
		found, err := t.one(selectFacts, func(r row) {
			inForce.ConversationPartitions, inForce.InboxPartitions, inForce.Format = int(r.int(0)), int(r.int(1)), int(r.int(2))
		})
		if err == nil && !found {
			err = errors.New("they have not been kept")
		}
		return err
	})
	return inForce, err
}
