package main

import (
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// encoder writes a statement's rows as JSON.
type encoder struct {
	rows  *sdk.Rows
	kinds []columnKind
	json  []int // places of columns whose texts are JSON though they are not declared so
	text  bool  // JSON is written as the text that it is
	seen  int64 // rows
	muted bool  // rows are counted and not shown

	// countsCapped says that rows beyond the cap are counted, countsSecond that a second
	// row is where one is to be shown.
	countsCapped, countsSecond bool

	key    []string // columns of the primary key, to be noted
	place  []int    // where they stand among the columns
	hidden int      // how many columns at the end are not shown
	found  []sdk.Value
}

// columnKind says how values of a declared type are written.
type columnKind uint8

const (
	plainColumn columnKind = iota
	boolColumn             // 0 and 1 are false and true
	jsonColumn             // texts are JSON
	dateColumn             // a time at midnight is a date
)

// withKey returns the statement with the primary key among what it returns, if it is a
// write that is to say it: for Tail.Keys, or to be compared with the key that is wanted.
// t is nil if there is no such table.
func (e *encoder) withKey(s *sdk.Statement, t *sqlbuild.Table, want []sdk.Value) (*sdk.Statement, error) {
	if t == nil || s.ReadOnly() {
		return s, nil
	}
	e.key = t.Key
	if want == nil {
		if s.Returning == sdk.ReturnSelection && !unnamed(&s.Selection) {
			e.key = nil
		}
		return s, nil
	}
	if len(t.Key) == 0 || len(t.Key) != len(want) {
		return nil, sdk.E(sdk.Invalid, "no_primary_key", fmt.Sprintf("the primary key of table %q has %d columns, not the %d that are expected", t.Name, len(t.Key), len(want)))
	}
	returned := *s
	switch s.Returning {
	case sdk.ReturnNone:
		returned.Returning, e.muted = sdk.ReturnKeys, true
	case sdk.ReturnSelection:
		items := s.Selection.Items
		if len(items) == 0 {
			items = []sdk.Item{{Kind: sdk.ItemStar}}
		}
		returned.Selection.Items = slices.Clone(items)
		for i, name := range t.Key {
			returned.Selection.Items = append(returned.Selection.Items, sdk.Item{Column: sdk.Column{Name: name}, Alias: "athena_key_" + strconv.Itoa(i)})
		}
		e.hidden = len(t.Key)
	}
	return &returned, nil
}

// unnamed reports whether a selection leaves its columns their own names, by which those
// of the key are found.
func unnamed(selection *sdk.Selection) bool {
	return !slices.ContainsFunc(selection.Items, func(item sdk.Item) bool {
		return item.Relation != nil || item.Alias != "" || len(item.Column.Path) > 0 || item.Aggregate != "" || item.Cast != "" || item.CastAfter != ""
	})
}

// begin describes the columns.
func (e *encoder) begin(rows driver.Rows) error {
	names := rows.Columns()
	for i, name := range e.key {
		place := slices.Index(names, name)
		if e.hidden > 0 {
			place = len(names) - e.hidden + i
		}
		if place >= 0 {
			e.place = append(e.place, place)
		}
	}
	if e.muted {
		return nil
	}
	names = names[:len(names)-e.hidden]
	types := rows.(driver.RowsColumnTypeDatabaseTypeName)
	columns := make([]sdk.ColumnInfo, len(names))
	e.kinds = make([]columnKind, len(names))
	for i, name := range names {
		declared := types.ColumnTypeDatabaseTypeName(i)
		if slices.Contains(e.json, i) {
			declared = "JSON"
		}
		columns[i] = sdk.ColumnInfo{Name: valid(name), Type: strings.ToLower(declared)}
		switch {
		case strings.Contains(declared, "BOOL"):
			e.kinds[i] = boolColumn
		case strings.Contains(declared, "JSON"):
			e.kinds[i] = jsonColumn
		case declared == "DATE":
			e.kinds[i] = dateColumn
		}
	}
	format := e.rows.Options().Format
	e.text = format == sdk.FormatCSV || format == sdk.FormatRaw
	e.rows.Describe(columns)
	return nil
}

// row writes one row.
func (e *encoder) row(values []driver.Value) error {
	e.seen++
	if e.seen == 1 && len(e.key) > 0 && len(e.place) == len(e.key) {
		for _, place := range e.place {
			e.found = append(e.found, keyValue(values[place]))
		}
	}
	if e.muted {
		return nil
	}
	for i, value := range values[:len(e.kinds)] {
		e.cell(e.kinds[i], value)
	}
	err := e.rows.EndRow()
	if err != nil && (e.countsCapped && err == error(sdk.ErrRowLimit) || e.countsSecond && sdk.AsError(err).Reason == "more_than_one_row") {
		e.muted, err = true, nil
	}
	return err
}

// keyValue is a value of a key column.
func keyValue(value driver.Value) sdk.Value {
	switch v := value.(type) {
	case nil:
		return sdk.Value{Hint: sdk.Null}
	case int64, float64:
		return sdk.Value{Hint: sdk.Number, Text: fmt.Sprint(v)}
	case []byte:
		return sdk.Value{Hint: sdk.Bytes, Text: string(v)}
	default:
		return sdk.Value{Hint: sdk.String, Text: fmt.Sprint(v)}
	}
}

// keys is the key that was noted, for Tail.Keys: bytes in hexadecimal.
func (e *encoder) keys() []sdk.KeyColumn {
	var columns []sdk.KeyColumn
	for i, v := range e.found {
		if v.Hint == sdk.Bytes {
			v.Text = `\x` + hex.EncodeToString([]byte(v.Text))
		}
		columns = append(columns, sdk.KeyColumn{Name: e.key[i], Value: v.Text, Null: v.Hint == sdk.Null})
	}
	return columns
}

func (e *encoder) cell(kind columnKind, value driver.Value) {
	r := e.rows
	switch v := value.(type) {
	case nil:
		r.Null()
	case int64:
		if kind == boolColumn && (v == 0 || v == 1) {
			r.Put(strconv.AppendBool(r.Cell(), v == 1))
			return
		}
		r.Put(strconv.AppendInt(r.Cell(), v, 10))
	case float64:
		r.Put(sdk.AppendFloat(r.Cell(), v, 64))
	case string:
		v = valid(v)
		switch {
		case kind != jsonColumn || e.text || !json.Valid([]byte(v)):
			r.Put(sdk.AppendString(r.Cell(), v))
		case v == "null":
			r.Null()
		default:
			r.Put(append(r.Cell(), v...))
		}
	case []byte:
		r.Bytes(v)
	case time.Time:
		r.Put(append(appendTime(append(r.Cell(), '"'), v, kind), '"'))
	default:
		r.Put(sdk.AppendString(r.Cell(), fmt.Sprint(v)))
	}
}

// appendTime writes a time that the driver has read from the text of a column declared
// as such, in the form in which SQLite's own functions write it.
func appendTime(b []byte, t time.Time, kind columnKind) []byte {
	switch {
	case kind == dateColumn && t.Equal(t.Truncate(24*time.Hour)):
		return t.AppendFormat(b, time.DateOnly)
	case t.Location() == time.UTC:
		return t.AppendFormat(b, "2006-01-02 15:04:05.999999999")
	default:
		return t.AppendFormat(b, "2006-01-02 15:04:05.999999999-07:00")
	}
}

// valid is text as UTF-8, which SQLite does not check and JSON must be.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// arguments makes the driver's arguments of a built statement's values. Integers stay
// exact; a decimal that a float would not keep is bound as text, which the column's
// affinity converts if it can without loss.
func arguments(values []sdk.Value) []driver.NamedValue { return bound(values, argument) }

// textArguments makes those of a SQL text, where a number may stand where no column's
// affinity reads it: it is what SQLite reads the same literal as.
func textArguments(values []sdk.Value) []driver.NamedValue {
	return bound(values, func(v sdk.Value) driver.Value {
		made := argument(v)
		if _, text := made.(string); text && v.Hint == sdk.Number {
			if f, err := strconv.ParseFloat(v.Text, 64); err == nil || errors.Is(err, strconv.ErrRange) {
				return f
			}
		}
		return made
	})
}

func bound(values []sdk.Value, argument func(sdk.Value) driver.Value) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, v := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: argument(v)}
	}
	return args
}

func argument(v sdk.Value) driver.Value {
	switch v.Hint {
	case sdk.Null:
		return nil
	case sdk.Bool:
		if v.Text == "true" {
			return int64(1)
		}
		return int64(0)
	case sdk.Number:
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return n
		}
		f, err := strconv.ParseFloat(v.Text, 64)
		if err == nil && strconv.FormatFloat(f, 'f', -1, 64) == v.Text {
			return f
		}
	case sdk.Bytes:
		return []byte(v.Text)
	}
	return v.Text
}

// columnInformer is the driver's connection, as far as it tells of a query's columns.
type columnInformer interface {
	ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
}

// wrapTimes selects the columns of a query that are declared as times through a unary
// plus, which leaves values alone and makes columns without a declared type of them.
func wrapTimes(query string, columns []sqlite.ColumnInfo) string {
	times := false
	var names, items strings.Builder
	for i := range columns {
		if i > 0 {
			names.WriteByte(',')
			items.WriteByte(',')
		}
		plus := ""
		switch strings.ToUpper(columns[i].DeclType) {
		case "DATE", "DATETIME", "TIMESTAMP":
			plus, times = "+", true
		}
		fmt.Fprintf(&names, "c%d", i)
		fmt.Fprintf(&items, `%sc%d AS "%s"`, plus, i, strings.ReplaceAll(columns[i].Name, `"`, `""`))
	}
	if !times {
		return query
	}
	name := "_athena"
	for strings.Contains(query, name) {
		name += "_"
	}
	return "WITH " + name + "(" + names.String() + ") AS (" + query + "\n) SELECT " + items.String() + " FROM " + name
}
