// Package sqlbuild turns an sdk.Statement into SQL text and bound arguments, for plugins
// whose database speaks SQL. Postgres and SQLite are the dialects.
//
// Unstable: unlike package sdk, this package may change from one minor version to the
// next.
//
// Every value is a bound argument and every identifier is quoted; what the text of a
// statement looks like depends on its shape only, so that prepared statements can be
// cached by their text. Relations, JSON paths, aggregates and buckets are refused as
// Unsupported.
package sqlbuild

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// Dialect is the SQL of one database. It is immutable and safe for concurrent use.
type Dialect struct {
	name        string
	sqlite      bool
	placeholder byte   // written before an argument's number
	undefined   string // the database's own code for an undefined column
}

// The dialects. Arguments are numbered: $1 in Postgres, ?1 in SQLite.
//
// Postgres expects each argument as text of unspecified type, or NULL for sdk.Null.
// SQLite expects Null, Number (an integer in the range of int64, or a real), and text
// for all other hints.
var (
	Postgres = &Dialect{name: "PostgreSQL", placeholder: '$', undefined: "42703"}
	SQLite   = &Dialect{name: "SQLite", placeholder: '?', sqlite: true}
)

// Table is what the builder must know of a table, from the database's catalogue. Names,
// types and default expressions are trusted as catalogue text.
type Table struct {
	Schema, Name string
	Columns      []Column
	Key          []string // the primary key's columns; empty: none
}

// Column is one column of a Table.
type Column struct {
	Name string
	// Type is the type's name as it may stand in a cast: integer, text[], "My Enum".
	Type  string
	Class Class
	// AsJSON selects the column as to_json(column): the plugin's row encoder cannot
	// write its wire form.
	AsJSON     bool
	HasDefault bool
	Generated  bool
	// Default is the default expression. Empty with HasDefault means an identity column.
	Default string
}

// Class is the kind of a column's type, as far as building needs it.
type Class uint8

// The classes.
const (
	ClassOther Class = iota
	ClassText
	ClassNumber
	ClassBool
	ClassUUID
	ClassArray
	ClassJSON
	ClassTime
	ClassBytes
)

// Query is a built statement.
type Query struct {
	Text string
	Args []sdk.Value
	Rows bool // it answers with rows

	// CountText counts the rows of a Select without Limit and Offset, exactly, when
	// the statement's Count asks for any count. It answers with one integer.
	CountText string
	CountArgs []sdk.Value
}

// Build turns s into SQL for t. The error is an *sdk.Error that had no effects: Invalid
// for what the caller can put right (undefined_column, missing_filter, no_primary_key,
// ...), Unsupported for what this package cannot express (reasons begin with
// unsupported_).
func (d *Dialect) Build(s *sdk.Statement, t *Table) (*Query, error) {
	b := &builder{d: d, t: t, args: make([]sdk.Value, 0, 8)}
	b.text.Grow(256)
	q := &Query{}
	if s.PageToken != "" {
		b.unsupported("page_token", "page tokens")
	}
	switch s.Verb {
	case sdk.Select:
		b.selectRows(s)
		q.Rows = true
	case sdk.Count:
		b.countRows(s)
		q.Rows = true
	case sdk.Insert:
		b.insert(s)
		q.Rows = b.returning(s)
	case sdk.Update:
		b.update(s)
		q.Rows = b.returning(s)
	case sdk.Delete:
		b.delete(s)
		q.Rows = b.returning(s)
	default:
		b.unsupported("verb", "this verb")
	}
	if b.err != nil {
		return nil, b.err
	}
	q.Text, q.Args = b.text.String(), b.args
	if s.Verb == sdk.Select && s.Count != sdk.CountNone {
		c := &builder{d: d, t: t}
		c.countRows(s)
		if c.err != nil {
			return nil, c.err
		}
		q.CountText, q.CountArgs = c.text.String(), c.args
	}
	return q, nil
}

// builder writes one statement. Its first error stays; what is written after it is
// thrown away.
type builder struct {
	d    *Dialect
	t    *Table
	text strings.Builder
	args []sdk.Value
	err  error
}

func (b *builder) fail(err *sdk.Error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) invalid(reason, format string, args ...any) {
	b.fail(sdk.E(sdk.Invalid, reason, fmt.Sprintf(format, args...)))
}

func (b *builder) unsupported(what, text string) {
	b.fail(sdk.E(sdk.Unsupported, "unsupported_"+what, text+" cannot be expressed on a "+b.d.name+" backend yet"))
}

func (b *builder) write(s string) { b.text.WriteString(s) }

// bind adds an argument and writes its placeholder.
func (b *builder) bind(v sdk.Value) {
	b.args = append(b.args, v)
	b.placeholder(len(b.args))
}

// placeholder writes the nth argument's placeholder, n from 1.
func (b *builder) placeholder(n int) {
	var digits [8]byte
	b.text.WriteByte(b.d.placeholder)
	b.text.Write(strconv.AppendInt(digits[:0], int64(n), 10))
}

// table writes the table's qualified name.
func (b *builder) table() {
	if b.t.Schema != "" {
		b.quote(b.t.Schema)
		b.text.WriteByte('.')
	}
	b.quote(b.t.Name)
}

// column writes a column qualified by its table: ORDER BY must not find an alias of the
// same name, UPDATE ... FROM needs it, and SQLite reads a lone "name" that it does not
// know as a string.
func (b *builder) column(c *Column) {
	b.quote(b.t.Name)
	b.text.WriteByte('.')
	b.quote(c.Name)
}

// find returns the column that has a name, nil after an error.
func (b *builder) find(name string) *Column {
	for i := range b.t.Columns {
		if b.t.Columns[i].Name == name {
			return &b.t.Columns[i]
		}
	}
	if b.d.sqlite {
		for i := range b.t.Columns {
			if strings.EqualFold(b.t.Columns[i].Name, name) {
				return &b.t.Columns[i]
			}
		}
	}
	b.fail(undefinedColumn(b.d, b.t, name))
	return nil
}

// plain is find for a column reference, which must not reach into JSON.
func (b *builder) plain(c sdk.Column) *Column {
	if len(c.Path) > 0 {
		b.unsupported("json_path", "a path into the JSON column "+strconv.Quote(c.Name))
		return nil
	}
	return b.find(c.Name)
}
