package sqlite

import (
	"fmt"

	"github.com/im-transfer/im"
)

// tx is the writer's transaction: its connection, and the keys given in it,
// which nobody else may see before the commit.
type tx struct {
	*conn
	users         freshKeys
	conversations freshKeys
	scratch       []byte // encoded blocks; the driver copies what it binds
}

func newTx(c *conn, users, conversations *keyspace) *tx {
	return &tx{
		conn:          c,
		users:         freshKeys{keyspace: users, keys: make(map[string]int64)},
		conversations: freshKeys{keyspace: conversations, keys: make(map[string]int64)},
	}
}

// guarded runs one request under a savepoint. A failure is the request's own and
// has left nothing behind; broken means that the transaction itself is gone
// (SQLite ends it on a full disk, for one).
func (t *tx) guarded(do func(*tx) error) (failure, broken error) {
	if err := t.exec("SAVEPOINT request"); err != nil {
		return nil, err
	}
	failure = do(t)
	if failure != nil {
		if err := t.exec("ROLLBACK TO request"); err != nil {
			return nil, fmt.Errorf("%w (the transaction is gone: %w)", failure, err)
		}
		t.users.rollback()
		t.conversations.rollback()
		if isDuplicate(failure) {
			failure = fmt.Errorf("%w: %w", im.ErrDuplicate, failure)
		}
	}
	if err := t.exec("RELEASE request"); err != nil {
		return nil, err
	}
	t.users.keep()
	t.conversations.keep()
	return failure, nil
}

// committed publishes the keys given.
func (t *tx) committed() {
	t.users.publish()
	t.conversations.publish()
}

func (t *tx) userKey(id string) (int64, error) { return t.users.get(t.conn, id) }

func (t *tx) conversationKey(id string) (int64, error) { return t.conversations.get(t.conn, id) }
