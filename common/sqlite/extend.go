package sqlite

import "fmt"

// column is one that the first databases did not have.
type column struct{ table, name, definition string }

// laterColumns came after the first databases were made. Each has a default, so that
// an older program goes on with the database too: the format stays.
func laterColumns() []column {
	return []column{
		{"devices", "name", "TEXT NOT NULL DEFAULT ''"},
		{"devices", "push_provider", "TEXT NOT NULL DEFAULT ''"},
		{"devices", "push_token", "TEXT NOT NULL DEFAULT ''"},
		{"users", "deleted", "INTEGER NOT NULL DEFAULT 0"},
		{"users", "avatar", "TEXT NOT NULL DEFAULT ''"},
		{"users", "bio", "TEXT NOT NULL DEFAULT ''"},
		{"users", "nickname_seq", "INTEGER NOT NULL DEFAULT 0"},
		{"users", "avatar_seq", "INTEGER NOT NULL DEFAULT 0"},
		{"users", "bio_seq", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "cleared_upto", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "deleted_upto", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "muted", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "pinned", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "hidden", "INTEGER NOT NULL DEFAULT 0"},
		{"reads", "unread", "INTEGER NOT NULL DEFAULT 0"},
	}
}

// laterTables came after the first databases were made; an older program leaves them
// alone. Of messages that nobody is mentioned in, that are in no thread and that nothing
// has changed, none of them holds anything.
const laterTables = `
CREATE TABLE IF NOT EXISTS message_states (
	conversation INTEGER NOT NULL, message INTEGER NOT NULL, message_seq INTEGER NOT NULL,
	sender INTEGER NOT NULL, seq INTEGER NOT NULL, version INTEGER NOT NULL, edited_ms INTEGER NOT NULL,
	recalled INTEGER NOT NULL, uncounted INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,
	body BLOB, reactions BLOB, PRIMARY KEY (conversation, message)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS message_states_uncounted ON message_states (conversation, message_seq) WHERE uncounted = 1;
CREATE TABLE IF NOT EXISTS mentions (
	conversation INTEGER NOT NULL, user INTEGER NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (conversation, user, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_of_thread ON messages (conversation, thread_id, seq) WHERE thread_id <> 0;

CREATE TABLE IF NOT EXISTS deletes (
	user INTEGER NOT NULL, conversation INTEGER NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (user, conversation, seq)) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS relations (
	user INTEGER NOT NULL, peer INTEGER NOT NULL, mine INTEGER NOT NULL, ends INTEGER NOT NULL,
	text TEXT NOT NULL, at_ms INTEGER NOT NULL, told INTEGER NOT NULL, theirs INTEGER NOT NULL,
	their_text TEXT NOT NULL, their_at_ms INTEGER NOT NULL, blocked INTEGER NOT NULL,
	remark_seq INTEGER NOT NULL, remark TEXT NOT NULL, PRIMARY KEY (user, peer)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS relations_due ON relations (user) WHERE told < mine;
`

// extend adds what a database lacks that an older program has made.
func extend(c *conn) error {
	for _, tables := range []string{laterTables, makeBroadcasts, makeConnections, makeProgress} {
		if err := c.exec(tables); err != nil {
			return fmt.Errorf("add tables: %w", err)
		}
	}
	for _, column := range laterColumns() {
		there, err := c.one("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", func(row) {}, column.table, column.name)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if err := c.exec(fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", column.table, column.name, column.definition)); err != nil {
			return fmt.Errorf("add column %s to %s: %w", column.name, column.table, err)
		}
	}
	return nil
}
