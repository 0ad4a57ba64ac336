package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
)

// format is the version of the schema that this program writes.
const format = 1

// schema mirrors the collections of the distributed store. Every table that
// grows with traffic is clustered on the user or the conversation, and so are
// its indexes; message ids increase, so their index is appended to. A device and
// a client id are a 16-byte blob or a text (pack.go), hence untyped.
const schema = `
CREATE TABLE store (
	one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL,
	inbox_epoch TEXT NOT NULL, created_ms INTEGER NOT NULL);

CREATE TABLE user_keys (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE conversation_keys (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);

CREATE TABLE users (
	user INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE, nickname TEXT NOT NULL,
	password TEXT NOT NULL, created_ms INTEGER NOT NULL, disabled INTEGER NOT NULL);

CREATE TABLE devices (
	user INTEGER NOT NULL, device NOT NULL, platform TEXT NOT NULL, family TEXT NOT NULL,
	created_ms INTEGER NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID;

CREATE TABLE refreshes (
	family TEXT NOT NULL, generation INTEGER NOT NULL, at_ms INTEGER NOT NULL,
	PRIMARY KEY (family, generation)) WITHOUT ROWID;

CREATE TABLE conversations (
	conversation INTEGER PRIMARY KEY, type TEXT NOT NULL, key TEXT NOT NULL,
	applied_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, last_at_ms INTEGER NOT NULL,
	created_ms INTEGER NOT NULL, settings BLOB);

CREATE TABLE members (
	conversation INTEGER NOT NULL, user INTEGER NOT NULL, joined_seq INTEGER NOT NULL,
	left_seq INTEGER NOT NULL, role TEXT NOT NULL, muted_until_ms INTEGER NOT NULL,
	blocked INTEGER NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (conversation, user, joined_seq)) WITHOUT ROWID;
CREATE INDEX members_of_user ON members (user, conversation, joined_seq, left_seq);

CREATE TABLE messages (
	conversation INTEGER NOT NULL, seq INTEGER NOT NULL, id INTEGER NOT NULL,
	kind INTEGER NOT NULL, flags INTEGER NOT NULL, sender INTEGER NOT NULL,
	device NOT NULL, client_id NOT NULL, hash INTEGER NOT NULL,
	at_ms INTEGER NOT NULL, waited_ms INTEGER NOT NULL, target_id INTEGER NOT NULL,
	thread_id INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL, b3 TEXT, body BLOB,
	PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
CREATE UNIQUE INDEX messages_once ON messages (conversation, sender, device, client_id);
CREATE INDEX messages_by_id ON messages (id);

CREATE TABLE inbox (
	user INTEGER NOT NULL, first_seq INTEGER NOT NULL, n INTEGER NOT NULL,
	at_ms INTEGER NOT NULL, entries BLOB NOT NULL,
	PRIMARY KEY (user, first_seq)) WITHOUT ROWID;
CREATE TABLE floors (user INTEGER PRIMARY KEY, floor INTEGER NOT NULL);

CREATE TABLE cursors (
	user INTEGER NOT NULL, device NOT NULL, seq INTEGER NOT NULL, receipted_seq INTEGER NOT NULL,
	PRIMARY KEY (user, device)) WITHOUT ROWID;
CREATE INDEX cursors_due ON cursors (user) WHERE receipted_seq < seq;

CREATE TABLE reads (
	user INTEGER NOT NULL, conversation INTEGER NOT NULL, read_upto INTEGER NOT NULL,
	receipted_upto INTEGER NOT NULL, delivered_upto INTEGER NOT NULL,
	PRIMARY KEY (user, conversation)) WITHOUT ROWID;
CREATE INDEX reads_due ON reads (user) WHERE receipted_upto < read_upto;

CREATE TABLE outbox (
	place INTEGER PRIMARY KEY, commit_id INTEGER NOT NULL, partition INTEGER NOT NULL,
	body BLOB, UNIQUE (commit_id, partition));

CREATE TABLE terms (
	partition TEXT NOT NULL, term INTEGER NOT NULL, id_ceiling INTEGER NOT NULL,
	owner TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (partition, term)) WITHOUT ROWID;

CREATE TABLE quarantine (
	place INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
	reason TEXT NOT NULL, body BLOB, at_ms INTEGER NOT NULL);
`

// prepareDatabase makes the schema, or what of it an older program did not know, and
// returns the store's row. It does so in one transaction: a crash leaves what was there.
func prepareDatabase(ctx context.Context, path string) (info im.StoreInfo, err error) {
	c, err := dial(ctx, path)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, c.close()) }() // what is not committed is rolled back
	for _, step := range []func() error{
		func() error { return c.exec("BEGIN IMMEDIATE") },
		func() error { return create(c) },
		func() error { info, err = readInfo(c); return err },
		func() error { return extend(c) },
		func() error { return c.exec("COMMIT") },
	} {
		if err := step(); err != nil {
			return info, fmt.Errorf("prepare %s: %w", path, err)
		}
	}
	return info, nil
}

// create writes the schema and the store's row if there are none.
func create(c *conn) error {
	exists, err := c.one("SELECT 1 FROM sqlite_schema WHERE name = 'store'", func(row) {})
	if err != nil || exists {
		return err
	}
	if err := c.exec(schema); err != nil {
		return err
	}
	return c.exec("INSERT INTO store VALUES (1, ?, ?, ?)", int64(format), im.NewID(), nowMs())
}

// readInfo returns the store's row, and an error when a newer version has written it.
func readInfo(c *conn) (im.StoreInfo, error) {
	info := im.StoreInfo{Outbox: true}
	_, err := c.one("SELECT format, inbox_epoch FROM store", func(r row) {
		info.Format, info.InboxEpoch = int(r.int(0)), r.text(1)
	})
	if err == nil && info.Format > format {
		err = fmt.Errorf("it has format %d, this program knows %d: it was written by a newer version", info.Format, format)
	}
	return info, err
}
