package sdktest

import (
	"context"
	"encoding/json"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// test is a filter over rows. It answers 1 for true, 0 for unknown, -1 for false, as SQL
// does where nulls are compared.
type test func(row) int

func truth(b bool) int {
	if b {
		return 1
	}
	return -1
}

// match answers the rows that the statement's filter and key choose.
func match(s *source, st *sdk.Statement) (iter.Seq2[row, error], error) {
	filters := []sdk.Filter{}
	if st.Filter != nil {
		filters = append(filters, *st.Filter)
	}
	keys := s.table.keys()
	if len(st.Key) > 0 && len(st.Key) != len(keys) {
		return nil, sdk.E(sdk.Invalid, "invalid_key", "the key has "+strconv.Itoa(len(st.Key))+" values where the table has "+
			strconv.Itoa(len(keys))+" key columns")
	}
	for i, v := range st.Key {
		filters = append(filters, sdk.Filter{Column: sdk.Column{Name: s.table.columns[keys[i]].name}, Operator: sdk.Eq,
			Values: []sdk.Value{v}, Compare: sdk.Lenient})
	}
	holds, err := s.table.all(filters)
	if err != nil {
		return nil, err
	}
	return func(yield func(row, error) bool) {
		for r, err := range s.rows {
			if err == nil && holds(r) != 1 {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}, nil
}

func (t *table) compile(f *sdk.Filter) (test, error) {
	switch f.Kind {
	case sdk.FilterAnd:
		return t.all(f.Children)
	case sdk.FilterNot:
		holds, err := t.all(f.Children)
		return func(r row) int { return -holds(r) }, err
	case sdk.FilterOr:
		tests, err := t.compileAll(f.Children)
		return func(r row) int {
			result := -1
			for _, holds := range tests {
				result = max(result, holds(r))
			}
			return result
		}, err
	}
	i, err := t.column(f.Column.Name)
	if err != nil {
		return nil, err
	}
	c := &t.columns[i]
	switch {
	case f.Operator == sdk.Is:
		return func(r row) int { return truth(is(r[i], f.Values[0].Text)) }, nil
	case f.Operator == sdk.In, f.Quantifier == sdk.Any:
		return c.alternatives(f, i, -1)
	default:
		return c.alternatives(f, i, 1)
	}
}

func (t *table) compileAll(filters []sdk.Filter) ([]test, error) {
	tests := make([]test, len(filters))
	for i := range filters {
		var err error
		if tests[i], err = t.compile(&filters[i]); err != nil {
			return nil, err
		}
	}
	return tests, nil
}

func (t *table) all(filters []sdk.Filter) (test, error) {
	tests, err := t.compileAll(filters)
	return func(r row) int {
		result := 1
		for _, holds := range tests {
			result = min(result, holds(r))
		}
		return result
	}, err
}

func is(cell json.RawMessage, what string) bool {
	switch what {
	case "null", "unknown":
		return cell == nil
	case "not_null":
		return cell != nil
	default:
		return string(cell) == what
	}
}

// alternatives tests column i against every value of f: all must hold if start is 1, any
// if it is -1.
func (c *column) alternatives(f *sdk.Filter, i, start int) (test, error) {
	tests := make([]func(json.RawMessage) int, len(f.Values))
	for n, v := range f.Values {
		var err error
		if tests[n], err = c.comparison(f, v); err != nil {
			return nil, err
		}
	}
	return func(r row) int {
		result := start
		for _, holds := range tests {
			if start == 1 {
				result = min(result, holds(r[i]))
			} else {
				result = max(result, holds(r[i]))
			}
		}
		return result
	}, nil
}

func (c *column) comparison(f *sdk.Filter, v sdk.Value) (func(json.RawMessage) int, error) {
	if f.Operator == sdk.Like || f.Operator == sdk.ILike {
		pattern := likePattern(v.Text, f.Operator == sdk.ILike)
		return func(cell json.RawMessage) int {
			if cell == nil {
				return 0
			}
			return truth(pattern.MatchString(text(cell)))
		}, nil
	}
	value, err := c.fromValue(v)
	compare := c.compare
	if err != nil {
		if f.Compare == sdk.Strict {
			return nil, err
		}
		value = sdk.AppendString(nil, v.Text)
		compare = func(a, b json.RawMessage) int { return strings.Compare(text(a), text(b)) }
	}
	return func(cell json.RawMessage) int {
		if f.Operator == sdk.IsDistinct {
			same := cell == nil && value == nil || cell != nil && value != nil && compare(cell, value) == 0
			return truth(!same)
		}
		if cell == nil || value == nil {
			return 0
		}
		return truth(ordered(f.Operator, compare(cell, value)))
	}, nil
}

func ordered(op sdk.Operator, order int) bool {
	switch op {
	case sdk.Neq:
		return order != 0
	case sdk.Gt:
		return order > 0
	case sdk.Gte:
		return order >= 0
	case sdk.Lt:
		return order < 0
	case sdk.Lte:
		return order <= 0
	default: // eq and in
		return order == 0
	}
}

// likePattern makes a regular expression of a LIKE pattern; a backslash escapes.
func likePattern(pattern string, anyCase bool) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?s")
	if anyCase {
		b.WriteString("i")
	}
	b.WriteString(")^")
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == '%':
			b.WriteString(".*")
		case !escaped && r == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		escaped = false
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String())
}

// selectRows answers a Select or a Count.
func selectRows(ctx context.Context, t *table, matched iter.Seq2[row, error], s *sdk.Statement, rows *sdk.Rows) error {
	if s.Verb == sdk.Count || s.Count != sdk.CountNone {
		total := int64(0)
		for _, err := range matched {
			if err != nil {
				return err
			}
			total++
		}
		rows.Head.Total, rows.Tail.Total = &total, &total
		if s.Verb == sdk.Count {
			rows.Scalar(strconv.AppendInt(nil, total, 10))
			return nil
		}
	}
	p, err := t.project(s.Selection)
	if err != nil {
		return err
	}
	if len(s.Order) > 0 {
		if matched, err = t.sorted(matched, s.Order); err != nil {
			return err
		}
	}
	var broken error
	err = p.emit(ctx, func(yield func(row) bool) {
		skip, left := int64(0), int64(-1)
		if s.Offset != nil {
			skip = *s.Offset
		}
		if s.Limit != nil {
			left = *s.Limit
		}
		for r, err := range matched {
			if err != nil {
				broken = err
				return
			}
			if skip > 0 {
				skip--
				continue
			}
			if left == 0 || !yield(r) {
				return
			}
			left--
		}
	}, rows)
	if broken != nil {
		return broken
	}
	return err
}

func (t *table) sorted(matched iter.Seq2[row, error], order []sdk.Order) (iter.Seq2[row, error], error) {
	columns := make([]int, len(order))
	for n, o := range order {
		i, err := t.column(o.Column.Name)
		if err != nil {
			return nil, err
		}
		columns[n] = i
	}
	var all []row
	for r, err := range matched {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b row) int {
		for n, o := range order {
			if c := t.columns[columns[n]].order(o, a[columns[n]], b[columns[n]]); c != 0 {
				return c
			}
		}
		return 0
	})
	return func(yield func(row, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}, nil
}

// order compares two cells for sorting; nulls are last by default, first when descending.
func (c *column) order(o sdk.Order, a, b json.RawMessage) int {
	if a == nil || b == nil {
		first := o.Nulls == sdk.NullsFirst || o.Nulls == sdk.NullsDefault && o.Descending
		switch {
		case a == nil && b == nil:
			return 0
		case (a == nil) == first:
			return -1
		default:
			return 1
		}
	}
	if o.Descending {
		return c.compare(b, a)
	}
	return c.compare(a, b)
}
