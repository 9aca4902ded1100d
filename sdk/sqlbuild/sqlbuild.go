// Package sqlbuild turns an sdk.Statement into SQL text and bound arguments, for plugins
// whose database speaks SQL. Postgres and SQLite are the dialects.
//
// Unstable: unlike package sdk, this package may change from one minor version to the
// next.
//
// Values are bound arguments and identifiers are quoted; what the text of a statement
// looks like depends on its shape only, so that prepared statements can be cached by
// their text. Literals are limits, which planners must see, and the steps of JSON paths,
// which indexes are made of: keys are escaped. What a database cannot do is refused as
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
	placeholder byte // written before an argument's number
	arguments   int  // how many a statement can have
	// The database's own codes.
	undefinedColumnCode, undefinedTableCode string
	// forms are those of values in records, by type; nil: embedded relations come as JSON.
	forms map[string]ValueForm
}

// The dialects. Arguments are numbered: $1 in Postgres, ?1 in SQLite.
//
// Postgres expects each argument as text of unspecified type, or NULL for sdk.Null.
// SQLite expects Null, Number (an integer in the range of int64, or a real), and text
// for all other hints.
var (
	Postgres = &Dialect{name: "PostgreSQL", placeholder: '$', arguments: 65535, undefinedColumnCode: "42703", undefinedTableCode: "42P01"}
	SQLite   = &Dialect{name: "SQLite", placeholder: '?', arguments: 32766, sqlite: true}
)

// Query is a built statement.
type Query struct {
	Text string
	Args []sdk.Value
	// Rows says that it answers with rows; Hidden which of their leading columns are no
	// part of the answer.
	Rows   bool
	Hidden Hidden
	// Shape is the answer's: ShapeScalar and ShapeObject for a function that returns one
	// value or one row, ShapeVoid for one that returns nothing.
	Shape sdk.Shape
	// Bare says that each row is the value of its one column, not an object.
	Bare bool
	// ReadOnly says that it cannot write: it may run in a READ ONLY transaction.
	ReadOnly bool
	// Settings are to be set for the transaction: those of a function that have to be in
	// force before it is called.
	Settings []sdk.Pair
	Count    *CountQuery // of a Select whose statement's Count asks for one
	// Read and Written are the schema-qualified tables that it reads and writes; "*"
	// means any.
	Read, Written []string
	// JSON are the positions, from 0, of columns whose texts are JSON although SQLite
	// does not know it.
	JSON []int
	// Records has an element for each column that is not hidden: what its records are, nil
	// for one of another type. It is nil if there are no records.
	Records []*Record
}

// Hidden says what the leading columns of a query's rows are that do not belong to them.
type Hidden uint8

// The hidden columns.
const (
	HiddenNone Hidden = iota
	// HiddenInserted is one boolean: the row is new, not updated.
	HiddenInserted
	// HiddenTotals are three columns, the same in each row but for the third: how many
	// rows were written (or, of a function, how many there are without Limit and Offset),
	// how many of these were inserted or null, and whether there is a row at all; a
	// false there comes in one row of nulls that is not to be shown.
	HiddenTotals
)

// CountQuery counts the rows of a Select without Limit and Offset.
type CountQuery struct {
	// Text answers with one integer, the exact count, or with Bound > 0 the count up to
	// Bound + 1. Empty: planned.
	Text string
	Args []sdk.Value
	// Plan answers with one JSON text, an EXPLAIN whose top node's "Plan Rows" estimates
	// the count. It counts when Text is empty, or when Text found more than Bound: then
	// the greater of both.
	Plan     string
	PlanArgs []sdk.Value
	Bound    int64
}

// Build turns s into SQL for the tables of c. o is how the rows are asked for: names of
// nested rows, text or JSON. The error is an *sdk.Error that had no effects: NotFound or
// Invalid for what the caller can put right (undefined_table, undefined_column,
// missing_filter, no_primary_key, ...), Unsupported for what this package cannot express
// (reasons begin with unsupported_).
func (d *Dialect) Build(c *Catalogue, s *sdk.Statement, o *sdk.ResultOptions) (*Query, error) {
	if s.Verb == sdk.Function {
		return d.call(c, s, o)
	}
	t, err := d.find(c, s.Table)
	if err != nil {
		return nil, err
	}
	// One allocation has room for all that most statements need.
	room := &struct {
		builder
		query Query
		root  scope
		args  [4]sdk.Value
		read  [1]string
	}{root: scope{table: t, alias: t.Name}}
	b, q := &room.builder, &room.query
	b.d, b.c, b.o, b.scope, b.args, b.read = d, c, o, &room.root, room.args[:0], room.read[:0]
	b.text.Grow(256)
	if s.PageToken != "" {
		b.unsupported("page_token", "page tokens")
	}
	switch s.Verb {
	case sdk.Select:
		b.query(levelOf(s))
		b.features(q)
		q.Rows, q.ReadOnly = true, true
	case sdk.Count:
		b.counting(levelOf(s))
		q.Rows, q.ReadOnly = true, true
	case sdk.Insert, sdk.Update, sdk.Delete:
		b.writing(q, s)
	default:
		b.unsupported("verb", "this verb")
	}
	if b.checkArguments(); b.err != nil {
		return nil, b.err
	}
	b.finish(q)
	switch s.Verb {
	case sdk.Select, sdk.Count:
		b.reads(t)
	case sdk.Insert, sdk.Update, sdk.Delete:
		q.Written = []string{t.written()}
	}
	q.Read = b.read
	// A Count's own text is the exact one.
	if s.Verb == sdk.Select && s.Count != sdk.CountNone || s.Verb == sdk.Count && s.Count > sdk.CountExact && !d.sqlite {
		q.Count, err = d.count(c, s, o, t)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

// finish takes over what has been written.
func (b *builder) finish(q *Query) {
	q.Text, q.Args = b.text.String(), b.args
	if b.scope != nil {
		q.JSON, q.Records = b.scope.list.json, b.scope.list.placedRecords()
	}
}

// scope is a table whose columns are in reach under an alias.
type scope struct {
	table *Table
	alias string
	row   string // how functions of the row are given it; "": the alias
	list  list   // the scope's own select list
	// into is the list that the scope's columns join, those of a spread relation; nil: list.
	into *list
	// The relations of the scope's selection, and the one whose scope it is; nil: the
	// statement's own.
	relations []*related
	of        *related
	// joined says that the scope's FROM has the joins of its spread relations.
	joined bool
	// records says that embedded relations of the scope are records, not JSON.
	records bool
}

// builder writes one statement. Its first error stays; what is written after it is
// thrown away.
type builder struct {
	d     *Dialect
	c     *Catalogue
	o     *sdk.ResultOptions
	scope *scope // the table that columns are looked for in
	text  strings.Builder
	args  []sdk.Value
	read  []string // see reads
	// aliases counts the names that were made up for tables.
	aliases int
	err     error
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

// checkArguments refuses what the database would, or worse: a PostgreSQL that is sent too
// many hangs up.
func (b *builder) checkArguments() {
	if len(b.args) > b.d.arguments {
		b.fail(sdk.E(sdk.Invalid, "too_many_values", fmt.Sprintf("the statement has %d values, %s takes %d", len(b.args), b.d.name, b.d.arguments)).
			WithHint("compare a column with many values by one in"))
	}
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
	if b.scope.table.Schema != "" {
		b.quote(b.scope.table.Schema)
		b.text.WriteByte('.')
	}
	b.quote(b.scope.table.Name)
}
