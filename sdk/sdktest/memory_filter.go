package sdktest

import (
	"fmt"
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

// key compiles that the primary key equals values.
func (l *level) key(values []sdk.Value) []sdk.Filter {
	keys := l.table.keys()
	if len(values) > 0 && len(keys) == 0 {
		l.fail(noKey(l.table))
		return nil
	}
	if len(values) > 0 && len(values) != len(keys) {
		l.fail(sdk.E(sdk.Invalid, "key_mismatch", fmt.Sprintf("the key has %d values where the table has %d key columns", len(values), len(keys))))
		return nil
	}
	filters := make([]sdk.Filter, len(values))
	for i := range values {
		filters[i] = sdk.Filter{Column: sdk.Column{Name: l.table.columns[keys[i]].name}, Operator: sdk.Eq,
			Values: values[i : i+1], Compare: sdk.Lenient}
	}
	return filters
}

func noKey(t *table) error {
	return sdk.E(sdk.Invalid, "no_primary_key", fmt.Sprintf("the table %q has no primary key", t.name)).
		WithHint("choose the rows by a filter on columns")
}

func (l *level) filter(f *sdk.Filter) test {
	switch f.Kind {
	case sdk.FilterAnd:
		return l.all(f.Children)
	case sdk.FilterNot:
		holds := l.all(f.Children)
		return func(r row) int { return -holds(r) }
	case sdk.FilterOr:
		return combine(l.filters(f.Children), -1)
	}
	if f.Relation != "" {
		return l.relationTest(f)
	}
	e := l.expr(l.table, f.Column, f.ColumnCast)
	switch {
	case f.Quantifier == sdk.QuantifierNone && f.Operator != sdk.In && len(f.Values) != 1:
		l.fail(sdk.E(sdk.Invalid, "invalid_filter", fmt.Sprintf("the operator %s takes one value, but %d were given", f.Operator, len(f.Values))))
		return nil
	case f.Operator == sdk.Is:
		return func(r row) int { return truth(is(e.of(r), f.Values[0])) }
	}
	tests := make([]test, len(f.Values))
	for i, v := range f.Values {
		tests[i] = l.comparison(e, f, v)
	}
	if f.Operator == sdk.In || f.Quantifier == sdk.Any {
		return combine(tests, -1)
	}
	return combine(tests, 1)
}

func (l *level) filters(filters []sdk.Filter) []test {
	tests := make([]test, len(filters))
	for i := range filters {
		tests[i] = l.filter(&filters[i])
	}
	return tests
}

func (l *level) all(filters []sdk.Filter) test { return combine(l.filters(filters), 1) }

// combine makes a conjunction of tests if empty is 1, what none of them is, or a
// disjunction if it is -1.
func combine(tests []test, empty int) test {
	return func(r row) int {
		result := empty
		for _, holds := range tests {
			if empty == 1 {
				result = min(result, holds(r))
			} else {
				result = max(result, holds(r))
			}
		}
		return result
	}
}

func is(c cell, v sdk.Value) bool {
	switch word := strings.ToLower(v.Text); {
	case v.Hint == sdk.Null, word == "null", word == "unknown":
		return c == nil
	case word == "not_null":
		return c != nil
	default:
		return string(c) == word
	}
}

// comparison compiles e compared with one value.
func (l *level) comparison(e expr, f *sdk.Filter, v sdk.Value) test {
	if f.Operator == sdk.Like || f.Operator == sdk.ILike {
		return l.like(e, f.Operator == sdk.ILike, v)
	}
	matchesNull := v.Hint == sdk.Null && f.Compare == sdk.Lenient && (f.Operator == sdk.Eq || f.Operator == sdk.In || f.Operator == sdk.Neq)
	e, value := l.operand(e, f, v)
	return func(r row) int {
		c := e.of(r)
		switch {
		case matchesNull:
			return truth((c == nil) == (f.Operator != sdk.Neq))
		case f.Operator == sdk.IsDistinct:
			same := c == nil && value == nil || c != nil && value != nil && e.kind.compare(c, value) == 0
			return truth(!same)
		case c == nil || value == nil:
			return 0
		case f.Operator == sdk.Contains:
			return truth(e.kind.contains(c, value))
		case f.Operator == sdk.Contained:
			return truth(e.kind.contains(value, c))
		case f.Operator == sdk.Overlaps:
			return truth(e.kind.overlaps(c, value))
		default:
			return truth(ordered(f.Operator, e.kind.compare(c, value)))
		}
	}
}

// operand reads a comparison's value. In a lenient comparison what the column's kind
// cannot read is read as a number, if both are numbers, or else both as text.
func (l *level) operand(e expr, f *sdk.Filter, v sdk.Value) (expr, cell) {
	switch f.Operator {
	case sdk.Contains, sdk.Contained, sdk.Overlaps:
		if e.kind.element() == "" {
			l.unsupported("operator", fmt.Sprintf("this backend has the operator %s for arrays alone", f.Operator))
		}
	}
	k := e.kind
	if f.ValueCast != "" {
		to, err := castTo(f.ValueCast)
		if err != nil {
			l.fail(err)
		}
		k = to.kind
	}
	if k == kindJSON && v.Hint != sdk.Null {
		if f.Compare == sdk.Lenient && v.Hint == sdk.String {
			v.Hint = sdk.Untyped
		}
		if made, err := k.parse(v.Text); err == nil || f.Compare == sdk.Strict {
			l.failIf(err)
			return e, made
		}
		return e, textCell(v.Text)
	}
	value, err := k.fromValue(v)
	switch {
	case err == nil:
		return e, value
	case f.Compare == sdk.Strict:
		l.fail(err)
		return e, nil
	case k == kindInt && validNumber(v.Text):
		return expr{kindNumber, e.of}, cell(v.Text)
	}
	return l.cast(e, "text"), textCell(v.Text)
}

func (t *tx) failIf(err error) {
	if err != nil {
		t.fail(err)
	}
}

func (l *level) like(e expr, anyCase bool, v sdk.Value) test {
	if e.kind != kindText {
		e = l.cast(e, "text")
	}
	fold := func(s string) []rune {
		if anyCase {
			s = lowerASCII(s)
		}
		return []rune(s)
	}
	pattern := fold(v.Text)
	return func(r row) int {
		c := e.of(r)
		if c == nil || v.Hint == sdk.Null {
			return 0
		}
		return truth(likeMatches(fold(text(c)), pattern))
	}
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
