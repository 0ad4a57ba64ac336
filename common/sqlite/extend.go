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
	}
}

// extend adds what a database lacks that an older program has made.
func extend(c *conn) error {
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
