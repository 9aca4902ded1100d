package sdktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// update changes the chosen rows and answers them as they are afterwards.
func (t *tx) update(table *table, s *sdk.Statement) ([]row, error) {
	if len(s.Set) == 0 {
		var set map[string]json.RawMessage
		if len(s.SetObject) == 0 || json.Unmarshal(s.SetObject, &set) == nil && len(set) == 0 {
			return nil, sdk.E(sdk.Invalid, "empty_update", "the update sets no column")
		}
	}
	chosen, err := t.chosen(table, s)
	if err != nil {
		return nil, err
	}
	if _, err := table.assign(make(row, len(table.columns)), nil, s.Set, s.SetObject); err != nil {
		return nil, err // also when no row is chosen
	}
	rows := slices.Clone(t.rows[table.name])
	var written []row
	for i, r := range rows {
		if !chosen[&r[0]] {
			continue
		}
		if rows[i], err = table.assign(r, rows, s.Set, s.SetObject); err != nil {
			return nil, err
		}
		if err := table.checkRequired(rows[i]); err != nil {
			return nil, err
		}
		written = append(written, rows[i])
	}
	t.rows[table.name] = rows
	_, err = table.index(rows)
	return written, err
}

func (t *tx) delete(table *table, s *sdk.Statement) ([]row, error) {
	chosen, err := t.chosen(table, s)
	if err != nil {
		return nil, err
	}
	var kept, gone []row
	for _, r := range t.rows[table.name] {
		if chosen[&r[0]] {
			gone = append(gone, r)
		} else {
			kept = append(kept, r)
		}
	}
	t.rows[table.name] = kept
	return gone, nil
}

// chosen are the rows that an update or delete is about, by the address of their first
// cell: rows are never copied unless they change.
func (t *tx) chosen(table *table, s *sdk.Statement) (map[*cell]bool, error) {
	if !compares(s.Filter) && len(s.Key) == 0 && !s.AllowAll {
		return nil, sdk.E(sdk.Invalid, "missing_filter", "an update or delete without filter would change every row").
			WithHint("give a filter, or say that all rows are meant")
	}
	spec := &levelSpec{selection: &sdk.Selection{None: true}, key: s.Key, filter: s.Filter}
	if s.Limit != nil || s.Offset != nil {
		if !table.keyed {
			return nil, noKey(table)
		}
		spec.order, spec.limit, spec.offset = s.Order, s.Limit, s.Offset
	}
	l := t.level(table, spec)
	if t.err != nil {
		return nil, t.err
	}
	rows := map[*cell]bool{}
	for rec := range l.answer(sequence(t.rows[table.name])) {
		rows[&rec.of[0]] = true
	}
	return rows, t.err
}

// compares reports whether a filter holds a comparison, an or one in each of its branches.
func compares(f *sdk.Filter) bool {
	if f == nil || f.Kind != sdk.FilterCompare && len(f.Children) == 0 {
		return false
	}
	some := slices.ContainsFunc(f.Children, func(child sdk.Filter) bool { return compares(&child) })
	lacking := slices.ContainsFunc(f.Children, func(child sdk.Filter) bool { return !compares(&child) })
	return f.Kind == sdk.FilterCompare || some && !(f.Kind == sdk.FilterOr && lacking)
}

// assign is a row after an update's assignments; rows are those that it is one of.
func (t *table) assign(old row, rows []row, set []sdk.SetItem, object []byte) (row, error) {
	r := slices.Clone(old)
	for _, item := range set {
		i, err := t.find(item.Column)
		if err != nil {
			return nil, err
		}
		if item.Default {
			r[i] = t.defaultOf(i, rows)
			continue
		}
		if r[i], err = t.columns[i].fromValue(item.Value); err != nil {
			return nil, err
		}
	}
	if len(object) == 0 {
		return r, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(object, &values); err != nil {
		return nil, sdk.E(sdk.Invalid, "invalid_set", "what to set is not a JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i, err := t.find(name)
		if err != nil {
			return nil, err
		}
		if r[i], err = t.columns[i].fromJSON(values[name]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// insert adds the statement's rows. It answers the rows written and, of an upsert, how
// many of these are new.
func (t *tx) insert(table *table, s *sdk.Statement) ([]row, *int64, error) {
	objects, columns, err := payload(table, s)
	if err != nil {
		return nil, nil, err
	}
	if len(s.Rows.Columns) > 0 {
		columns = s.Rows.Columns
	}
	in := &insertion{tx: t, table: table, conflict: s.Conflict, columns: columns, rows: slices.Clone(t.rows[table.name])}
	if in.indexes, err = table.index(in.rows); err != nil {
		return nil, nil, err
	}
	if err := in.findTarget(); err != nil {
		return nil, nil, err
	}
	for _, object := range objects {
		r, err := table.newRow(in.rows, columns, object, s.Rows.MissingDefault)
		if err != nil {
			return nil, nil, err
		}
		if err := in.add(r); err != nil {
			return nil, nil, err
		}
	}
	t.rows[table.name] = in.rows
	written := make([]row, len(in.written))
	for n, i := range in.written {
		written[n] = in.rows[i]
	}
	if s.Conflict == nil {
		return written, nil, nil
	}
	return written, &in.inserted, nil
}

// insertion is an insert under way.
type insertion struct {
	*tx
	table    *table
	conflict *sdk.OnConflict
	columns  []string
	rows     []row
	indexes  []map[string]int
	target   int   // which unique constraint the conflict is about; -1: any
	written  []int // places in rows
	inserted int64
}

// findTarget finds the constraint that the conflict names.
func (in *insertion) findTarget() error {
	in.target = -1
	c := in.conflict
	if c == nil || len(c.Columns) == 0 && c.Constraint == "" && !in.table.keyed && !c.Update {
		return nil
	}
	if len(c.Columns) == 0 && c.Constraint == "" {
		in.target = 0
		if !in.table.keyed {
			return noKey(in.table)
		}
		return nil
	}
	columns, err := in.table.findAll(c.Columns)
	if err != nil {
		return err
	}
	for i, u := range in.table.unique {
		if c.Constraint == u.name || len(columns) == len(u.columns) && within(columns, u.columns) && within(u.columns, columns) {
			in.target = i
			return nil
		}
	}
	e := sdk.E(sdk.Invalid, "invalid_statement", "no unique constraint is the target of the conflict").
		WithHint("name the columns of the primary key or of a unique constraint")
	e.Source, e.Table = sdk.FromDownstream, in.table.name
	return e
}

func (in *insertion) add(r row) error {
	if err := in.table.checkRequired(r); err != nil {
		return err
	}
	if in.conflict != nil {
		for u, unique := range in.table.unique {
			i, exists := in.indexes[u][unique.value(r)]
			if exists && (in.target == u || in.target == -1) {
				return in.collide(i, r)
			}
		}
	}
	if err := in.table.enter(in.indexes, r, len(in.rows)); err != nil {
		return err
	}
	in.written = append(in.written, len(in.rows))
	in.rows = append(in.rows, r)
	in.inserted++
	return nil
}

// collide does what the statement says about the row at i, which exists already.
func (in *insertion) collide(i int, r row) error {
	if !in.conflict.Update {
		return nil
	}
	if slices.Contains(in.written, i) {
		e := sdk.E(sdk.Invalid, "cardinality_violation", "the statement would write one row twice").
			WithHint("let no two of its rows have the same key")
		e.Source, e.Table = sdk.FromDownstream, in.table.name
		return e
	}
	changed, err := in.table.assign(in.rows[i], in.rows, in.conflict.Set, in.conflict.SetObject)
	if err != nil {
		return err
	}
	if len(in.conflict.Set) == 0 && len(in.conflict.SetObject) == 0 {
		for _, name := range in.columns {
			c, _ := in.table.find(name)
			if !slices.Contains(in.table.unique[in.target].columns, c) {
				changed[c] = r[c]
			}
		}
	}
	if err := in.table.checkRequired(changed); err != nil {
		return err
	}
	for u, unique := range in.table.unique {
		delete(in.indexes[u], unique.value(in.rows[i]))
	}
	if err := in.table.enter(in.indexes, changed, i); err != nil {
		return err
	}
	in.rows[i] = changed
	in.written = append(in.written, i)
	return nil
}

// newRow makes a row of one inserted object.
func (t *table) newRow(rows []row, columns []string, object map[string]json.RawMessage, missingDefault bool) (row, error) {
	r := make(row, len(t.columns))
	filled := map[int]bool{}
	for _, name := range columns {
		i, err := t.find(name)
		if err != nil {
			return nil, err
		}
		value, given := object[name]
		if !given && missingDefault {
			continue
		}
		filled[i] = true
		if !given {
			continue
		}
		if r[i], err = t.columns[i].fromJSON(value); err != nil {
			return nil, err
		}
	}
	for i := range t.columns {
		if !filled[i] {
			r[i] = t.defaultOf(i, rows)
		}
	}
	return r, nil
}

func (t *table) defaultOf(column int, rows []row) cell {
	if t.columns[column].auto {
		return strconv.AppendInt(nil, highest(rows, column)+1, 10)
	}
	return t.columns[column].def
}

func highest(rows []row, column int) int64 {
	top := int64(0)
	for _, r := range rows {
		n, err := strconv.ParseInt(string(r[column]), 10, 64)
		if err == nil {
			top = max(top, n)
		}
	}
	return top
}

// payload reads an insert's rows: maps from column name to JSON value, and the columns
// that they have.
func payload(t *table, s *sdk.Statement) ([]map[string]json.RawMessage, []string, error) {
	if s.Rows.Format == sdk.RowsCSV {
		return csvPayload(t, string(s.Rows.Payload))
	}
	body := bytes.TrimSpace(s.Rows.Payload)
	if len(body) > 0 && body[0] == '{' {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(body, &objects); err != nil {
		return nil, nil, sdk.E(sdk.Invalid, "invalid_json", "the rows are not a JSON object or an array of them")
	}
	names := map[string]bool{}
	for _, object := range objects {
		for name := range object {
			names[name] = true
		}
	}
	return objects, slices.Sorted(maps.Keys(names)), nil
}

// csvPayload reads a header line and rows. A bare NULL is null; the text of a JSON column
// is JSON.
func csvPayload(t *table, body string) ([]map[string]json.RawMessage, []string, error) {
	var header []string
	var objects []map[string]json.RawMessage
	for line := 1; body != ""; line++ {
		var fields []json.RawMessage
		for more := true; more; {
			var field json.RawMessage
			field, body, more = csvField(body)
			fields = append(fields, field)
		}
		if header == nil {
			for _, f := range fields {
				header = append(header, text(f))
			}
			continue
		}
		if len(fields) != len(header) {
			return nil, nil, sdk.E(sdk.Invalid, "invalid_csv", fmt.Sprintf("row %d has %d fields where the header has %d", line, len(fields), len(header)))
		}
		object := map[string]json.RawMessage{}
		for i, name := range header {
			object[name] = fields[i]
			column, err := t.find(name)
			if err == nil && t.columns[column].kind == kindJSON && string(fields[i]) != "null" {
				object[name], err = t.columns[column].kind.parse(text(fields[i]))
			}
			if err != nil {
				return nil, nil, err
			}
		}
		objects = append(objects, object)
	}
	return objects, header, nil
}

// csvField reads one field; more says that another follows in its row.
func csvField(body string) (field json.RawMessage, rest string, more bool) {
	var value string
	if strings.HasPrefix(body, `"`) {
		for rest = body[1:]; ; rest = rest[1:] {
			before, after, _ := strings.Cut(rest, `"`)
			value, rest = value+before, after
			if !strings.HasPrefix(rest, `"`) {
				break
			}
			value += `"`
		}
		field = textCell(value)
	} else {
		end := strings.IndexAny(body, ",\r\n")
		if end < 0 {
			end = len(body)
		}
		value, rest = body[:end], body[end:]
		if field = textCell(value); value == "NULL" {
			field = json.RawMessage("null")
		}
	}
	if after, comma := strings.CutPrefix(rest, ","); comma {
		return field, after, true
	}
	return field, strings.TrimPrefix(strings.TrimPrefix(rest, "\r"), "\n"), false
}
