package sdktest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// violation is a constraint's error.
func (t *table) violation(reason, column, constraint, message string) *sdk.Error {
	e := sdk.E(sdk.Conflict, reason, message)
	e.Source, e.Table, e.Column, e.Constraint = sdk.FromDownstream, t.name, column, constraint
	return e
}

func (t *table) checkRequired(r row) error {
	for i, c := range t.columns {
		if c.required && r[i] == nil {
			return t.violation("not_null_violation", c.name, "", fmt.Sprintf("the column %q must not be null", c.name))
		}
	}
	return nil
}

// value is a row's value of the constrained columns, "" if one of them is null.
func (c *constraint) value(r row) string {
	value := ""
	for _, i := range c.columns {
		if r[i] == nil {
			return ""
		}
		value += identity(r[i]) + "\x00"
	}
	return value
}

// index maps the values of each unique constraint to the places of their rows. It reports
// the first row that repeats one.
func (t *table) index(rows []row) ([]map[string]int, error) {
	indexes := make([]map[string]int, len(t.unique))
	for u := range indexes {
		indexes[u] = make(map[string]int, len(rows))
	}
	for i, r := range rows {
		if err := t.enter(indexes, r, i); err != nil {
			return nil, err
		}
	}
	return indexes, nil
}

// enter adds the row at a place to indexes.
func (t *table) enter(indexes []map[string]int, r row, place int) error {
	for u, unique := range t.unique {
		value := unique.value(r)
		if value == "" {
			continue
		}
		if _, exists := indexes[u][value]; exists {
			return t.violation("unique_violation", "", unique.name, fmt.Sprintf("a row with this %s exists already", unique.label))
		}
		indexes[u][value] = place
	}
	return nil
}

// checkForeign checks the foreign keys of a table that was written and those that refer
// to it.
func (t *tx) checkForeign(written *table) error {
	for _, name := range slices.Sorted(maps.Keys(t.tables)) {
		from := t.tables[name]
		for _, f := range from.foreign {
			if from != written && f.target != written {
				continue
			}
			if err := t.checkReferences(from, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) checkReferences(from *table, f *foreignKey) error {
	own, referred := constraint{columns: f.columns}, constraint{columns: f.to}
	known := map[string]bool{"": true}
	for _, r := range t.rows[f.target.name] {
		known[referred.value(r)] = true
	}
	for _, r := range t.rows[from.name] {
		if !known[own.value(r)] {
			return from.violation("foreign_key_violation", "", f.name,
				fmt.Sprintf("a row of %q refers to no row of %q", from.name, f.target.name))
		}
	}
	return nil
}
