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

// together runs all requests without savepoints, which cost a copy of every page
// that a request touches. The first failure ends it, and only a rollback may follow.
func (t *tx) together(group []*request) error {
	for _, r := range group {
		if err := r.do(t); err != nil {
			return err
		}
	}
	t.keep()
	return nil
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
		t.forget()
		if isDuplicate(failure) {
			failure = fmt.Errorf("%w: %w", im.ErrDuplicate, failure)
		}
	}
	if err := t.exec("RELEASE request"); err != nil {
		return nil, err
	}
	t.keep()
	return failure, nil
}

// keep and forget end the requests in progress: with their keys, or without.
func (t *tx) keep() {
	t.users.keep()
	t.conversations.keep()
}

func (t *tx) forget() {
	t.users.rollback()
	t.conversations.rollback()
}

// committed publishes the keys given.
func (t *tx) committed() {
	t.users.publish()
	t.conversations.publish()
}

func (t *tx) userKey(id string) (int64, error) { return t.users.get(t.conn, id) }

func (t *tx) conversationKey(id string) (int64, error) { return t.conversations.get(t.conn, id) }
