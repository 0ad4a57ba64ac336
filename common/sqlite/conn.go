package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// conn is a connection and its prepared statements, which live as long. It is
// the driver's own: database/sql costs more than the insert itself. Used by one
// goroutine at a time.
type conn struct {
	raw        driver.Conn
	statements map[string]*statement
}

type statement struct {
	driver.Stmt
	args []driver.NamedValue
	row  row
}

// pragmas of every connection, in this order (the driver sorts those of a URL,
// and page_size would come too late). Of pages from 1 to 8 KiB those of 4 take
// the least processor time for an event. Checkpoints are the checkpointer's,
// never a commit's.
var pragmas = [...]string{
	"busy_timeout = 5000", "page_size = 4096", "journal_mode = WAL", "synchronous = FULL",
	"wal_autocheckpoint = 0", "temp_store = MEMORY",
}

// dial opens a connection with more pragmas of its own.
func dial(ctx context.Context, path string, own ...string) (*conn, error) {
	return dialVFS(ctx, path, "", own...)
}

// dialWriter opens the connection that writes.
func dialWriter(ctx context.Context, path string, own ...string) (*conn, error) {
	if err := registerWAL(); err != nil {
		return nil, err
	}
	return dialVFS(ctx, path, "vfs="+walVFS, own...)
}

func dialVFS(ctx context.Context, path, query string, own ...string) (*conn, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: query}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, statements: make(map[string]*statement)}
	for _, pragma := range append(pragmas[:len(pragmas):len(pragmas)], own...) {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s: %w", pragma, err), c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// prepare returns the statement of a text with its arguments bound. Integers
// must be int64.
func (c *conn) prepare(text string, args []any) (*statement, error) {
	s := c.statements[text]
	if s == nil {
		stmt, err := c.raw.Prepare(text)
		if err != nil {
			return nil, err
		}
		s = &statement{Stmt: stmt, args: make([]driver.NamedValue, len(args))}
		for i := range s.args {
			s.args[i].Ordinal = i + 1
		}
		c.statements[text] = s
	}
	for i, arg := range args {
		s.args[i].Value = arg
	}
	return s, nil
}

// exec runs a statement that returns no rows.
func (c *conn) exec(text string, args ...any) error {
	_, err := c.insert(text, args...)
	return err
}

// insert is exec that returns the rowid given.
func (c *conn) insert(text string, args ...any) (int64, error) {
	s, err := c.prepare(text, args)
	if err != nil {
		return 0, err
	}
	result, err := s.Stmt.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// each calls f for the rows of a query until f returns false. The row is valid
// during the call only. f may run other queries, not the same one.
func (c *conn) each(text string, f func(row) bool, args ...any) (err error) {
	s, err := c.prepare(text, args)
	if err != nil {
		return err
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if s.row == nil {
		s.row = make(row, len(rows.Columns()))
	}
	for {
		if err := rows.Next(s.row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if !f(s.row) {
			return nil
		}
	}
}

// one calls f for the first row of a query and reports whether there was one.
func (c *conn) one(text string, f func(row), args ...any) (bool, error) {
	found := false
	err := c.each(text, func(r row) bool {
		found = true
		f(r)
		return false
	}, args...)
	return found, err
}

// row is a line of a result. Its blobs and texts are copies that may be kept.
type row []driver.Value

// int returns an integer column; 0 for NULL.
func (r row) int(i int) int64 {
	v, _ := r[i].(int64)
	return v
}

// text returns a text column; empty for NULL.
func (r row) text(i int) string {
	v, _ := r[i].(string)
	return v
}

// blob returns a blob column; nil for NULL and for an empty one.
func (r row) blob(i int) []byte {
	v, _ := r[i].([]byte)
	return v
}

// codeOf is SQLite's extended result code of an error, 0 for errors of others.
func codeOf(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return 0
}

// isDuplicate reports whether a unique index refused a row.
func isDuplicate(err error) bool {
	switch codeOf(err) {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// firstOf returns the first error that is not nil.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
