package main

import (
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"

	"github.com/athena-gateway/athena/sdk"
)

// encoder writes a statement's rows as JSON.
type encoder struct {
	rows  *sdk.Rows
	kinds []columnKind
	key   []string // columns of the primary key, to be noted
	place []int    // where they stand among the columns
	found []sdk.Pair
	seen  int64 // rows
}

// columnKind says how values of a declared type are written.
type columnKind uint8

const (
	plainColumn columnKind = iota
	boolColumn             // 0 and 1 are false and true
	jsonColumn             // texts are JSON
	dateColumn             // a time at midnight is a date
)

// begin describes the columns.
func (e *encoder) begin(rows driver.Rows) error {
	names := rows.Columns()
	types := rows.(driver.RowsColumnTypeDatabaseTypeName)
	columns := make([]sdk.ColumnInfo, len(names))
	e.kinds = make([]columnKind, len(names))
	for i, name := range names {
		declared := types.ColumnTypeDatabaseTypeName(i)
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
	for _, name := range e.key {
		for i := range names {
			if names[i] == name {
				e.place = append(e.place, i)
				break
			}
		}
	}
	e.rows.Describe(columns)
	return nil
}

// row writes one row.
func (e *encoder) row(values []driver.Value) error {
	e.seen++
	if e.seen == 1 && len(e.key) > 0 && len(e.place) == len(e.key) {
		for i, name := range e.key {
			e.found = append(e.found, sdk.Pair{Name: name, Value: fmt.Sprint(values[e.place[i]])})
		}
	}
	for i, value := range values {
		e.cell(e.kinds[i], value)
	}
	return e.rows.EndRow()
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
		if kind == jsonColumn && json.Valid([]byte(v)) {
			r.Put(append(r.Cell(), v...))
			return
		}
		r.Put(sdk.AppendString(r.Cell(), v))
	case []byte:
		r.Put(append(hex.AppendEncode(append(r.Cell(), `"\\x`...), v), '"'))
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

// arguments makes the driver's arguments of values. Integers stay exact; a decimal that
// a float would not keep is bound as text, which the column's affinity converts if it
// can without loss.
func arguments(values []sdk.Value) []driver.NamedValue {
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
