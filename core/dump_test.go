package core

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// readAll appends a table's rows to text.
func readAll(table string, text *strings.Builder) func(context.Context, *sql.Conn) error {
	return func(ctx context.Context, c *sql.Conn) error {
		return readQuery(ctx, c, table, "SELECT * FROM "+table, text)
	}
}

// readQuery appends the rows of a query to text, a line for each value.
func readQuery(ctx context.Context, c *sql.Conn, what, query string, text *strings.Builder) error {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return err
		}
		for i, column := range columns {
			value := *values[i].(*any)
			if raw, ok := value.([]byte); ok {
				value = string(raw)
			}
			fmt.Fprintf(text, "%s.%s=%v\n", what, column, value)
		}
	}
	return rows.Err()
}
