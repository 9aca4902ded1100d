package sdktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// payload reads an insert's rows: maps from column name to JSON value.
func payload(s *sdk.Statement) ([]map[string]json.RawMessage, error) {
	if s.Rows.Format != sdk.RowsJSON {
		return nil, sdk.E(sdk.Unsupported, "csv_unsupported", "this backend cannot insert CSV").WithHint("send the rows as JSON")
	}
	body := bytes.TrimSpace(s.Rows.Payload)
	if len(body) > 0 && body[0] == '{' {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(body, &objects); err != nil {
		return nil, sdk.E(sdk.Invalid, "invalid_rows", "the rows are not a JSON object or an array of them")
	}
	return objects, nil
}

// insert adds the statement's rows and answers them.
func (t *tx) insert(table *table, s *sdk.Statement) ([]row, error) {
	objects, err := payload(s)
	if err != nil {
		return nil, err
	}
	columns := s.Rows.Columns
	if len(columns) == 0 {
		names := map[string]bool{}
		for _, object := range objects {
			for name := range object {
				names[name] = true
			}
		}
		columns = slices.Sorted(maps.Keys(names))
	}
	rows := slices.Clone(t.rows[table.name])
	before := len(rows)
	for _, object := range objects {
		r, err := table.newRow(rows, columns, object, s.Rows.MissingDefault)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	t.rows[table.name] = rows
	return rows[before:], table.check(rows)
}

// newRow makes a row of one inserted object.
func (t *table) newRow(rows []row, columns []string, object map[string]json.RawMessage, missingDefault bool) (row, error) {
	r := make(row, len(t.columns))
	filled := map[int]bool{}
	for _, name := range columns {
		i, err := t.column(name)
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
	for i, c := range t.columns {
		if filled[i] {
			continue
		}
		r[i] = c.def
		if c.auto {
			r[i] = strconv.AppendInt(nil, highest(rows, i)+1, 10)
		}
	}
	return r, nil
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

// assign is a row after an update's assignments.
func (t *table) assign(old row, set []sdk.SetItem, object []byte) (row, error) {
	r := slices.Clone(old)
	for _, item := range set {
		i, err := t.column(item.Column)
		if err != nil {
			return nil, err
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
	for name, value := range values {
		i, err := t.column(name)
		if err != nil {
			return nil, err
		}
		if r[i], err = t.columns[i].fromJSON(value); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (t *tx) update(table *table, s *sdk.Statement, matched iter.Seq2[row, error]) ([]row, error) {
	chosen, err := chosen(s, matched)
	if err != nil {
		return nil, err
	}
	if _, err := table.assign(make(row, len(table.columns)), s.Set, s.SetObject); err != nil {
		return nil, err // also when no row is chosen
	}
	rows := slices.Clone(t.rows[table.name])
	var written []row
	for i, r := range rows {
		if !chosen[&r[0]] {
			continue
		}
		if rows[i], err = table.assign(r, s.Set, s.SetObject); err != nil {
			return nil, err
		}
		written = append(written, rows[i])
	}
	t.rows[table.name] = rows
	return written, table.check(rows)
}

func (t *tx) delete(table *table, s *sdk.Statement, matched iter.Seq2[row, error]) ([]row, error) {
	chosen, err := chosen(s, matched)
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
func chosen(s *sdk.Statement, matched iter.Seq2[row, error]) (map[*json.RawMessage]bool, error) {
	if s.Filter == nil && len(s.Key) == 0 && !s.AllowAll {
		return nil, sdk.E(sdk.Invalid, "missing_filter", "an update or delete without filter would change every row").
			WithHint("give a filter, or say that all rows are meant")
	}
	rows := map[*json.RawMessage]bool{}
	for r, err := range matched {
		if err != nil {
			return nil, err
		}
		rows[&r[0]] = true
	}
	return rows, nil
}

// check reports the first row that lacks a required value or repeats a unique one.
func (t *table) check(rows []row) error {
	constraints := map[string][]int{}
	if keys := t.keys(); len(keys) > 0 {
		constraints["key"] = keys
	}
	for i, c := range t.columns {
		if c.unique {
			constraints[c.name] = []int{i}
		}
		for _, r := range rows {
			if c.required && r[i] == nil {
				return t.violation(sdk.Invalid, "not_null_violation", c.name, fmt.Sprintf("the column %q must not be null", c.name))
			}
		}
	}
	for name, columns := range constraints {
		seen := map[string]bool{}
		for _, r := range rows {
			var value []byte
			null := false
			for _, i := range columns {
				null = null || r[i] == nil
				value = append(append(value, r[i]...), 0)
			}
			if !null && seen[string(value)] {
				return t.violation(sdk.Conflict, "unique_violation", name, fmt.Sprintf("a row with this %s exists already", name))
			}
			seen[string(value)] = true
		}
	}
	return nil
}
