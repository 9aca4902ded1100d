package httpapi

import (
	"fmt"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// invalid makes the error of a request that must be changed.
func invalid(reason, format string, args ...any) *sdk.Error {
	return sdk.E(sdk.Invalid, reason, fmt.Sprintf(format, args...))
}

// operators by their names on the wire. or and not take an expression instead.
var operators = map[string]sdk.Operator{
	"eq": sdk.Eq, "neq": sdk.Neq, "gt": sdk.Gt, "gte": sdk.Gte, "lt": sdk.Lt, "lte": sdk.Lte,
	"like": sdk.Like, "ilike": sdk.ILike, "is": sdk.Is, "in": sdk.In, "contains": sdk.Contains, "containedBy": sdk.Contained,
}

const operatorNames = "eq, neq, gt, gte, lt, lte, like, ilike, is, in, contains, containedBy, or, not"

// casts are the types that a condition may cast to.
var casts = map[string]bool{"text": true, "uuid": true, "int": true, "integer": true, "bigint": true, "boolean": true, "bool": true,
	"numeric": true, "float": true, "double": true, "json": true, "jsonb": true, "date": true, "timestamp": true, "timestamptz": true}

// maxTerms bounds the terms of one request. A short one takes a hundred times the memory
// that it takes in the body.
const maxTerms = 100_000

// terms counts comparisons, what joins them, and the values of their lists.
type terms int

// more counts another one and reports whether there is room for it.
func (n *terms) more() bool {
	*n++
	return *n <= maxTerms
}

// condition is one entry of conditions. The members with an eq_ in front are an older
// spelling, which the other one overrides.
type condition struct {
	operator              string
	column, eqColumn      string
	value, eqValue        []byte // nil: absent
	columnCast, valueCast string
}

// readConditions reads the array of conditions.
func (p *payload) readConditions(r *reader) {
	if !r.wants("conditions", '[', "an array of conditions") {
		return
	}
	p.filters, p.terms, p.byID = nil, 0, false
	r.array(func() {
		r.condition++
		if !r.wants("a condition", '{', "an object") {
			r.fail(invalid("invalid_condition", "condition %d is null", r.condition))
			return
		}
		var c condition
		r.object(func(key []byte) { c.read(r, key) })
		if r.err != nil {
			return
		}
		p.terms.more()
		f, err := c.filter(&p.terms)
		if p.terms > maxTerms {
			err = invalid("too_many_conditions", "the conditions hold more than %d comparisons and values", maxTerms)
		}
		if err != nil {
			err.Message = fmt.Sprintf("condition %d: %s", r.condition, err.Message)
			r.fail(err)
			return
		}
		if f.Operator == sdk.Eq && (f.Column.Name == "id" || f.Column.Name == "resource_id") {
			p.byID = true
		}
		p.filters = append(p.filters, f)
	})
	r.condition = 0
}

func (c *condition) read(r *reader, key []byte) {
	switch string(key) {
	case "operator":
		c.operator = r.word("operator")
	case "column":
		c.column = r.text("column")
	case "eq_column":
		c.eqColumn = r.text("eq_column")
	case "value":
		c.value = r.value()
	case "eq_value":
		c.eqValue = r.value()
	case "column_cast":
		c.columnCast = r.text("column_cast")
	case "value_cast":
		c.valueCast = r.text("value_cast")
	case "eq_column_cast":
		if cast := r.text("eq_column_cast"); c.columnCast == "" {
			c.columnCast = cast
		}
	case "eq_value_cast":
		if cast := r.text("eq_value_cast"); c.valueCast == "" {
			c.valueCast = cast
		}
	default:
		r.value()
	}
}

// filter turns a condition into a filter.
func (c *condition) filter(n *terms) (sdk.Filter, *sdk.Error) {
	column, value := c.column, c.value
	if column == "" {
		column = c.eqColumn
	}
	if value == nil {
		value = c.eqValue
	}
	if c.operator == "" && c.eqColumn != "" {
		c.operator = "eq"
	}
	if value == nil {
		return sdk.Filter{}, invalid("invalid_condition", "it has no value")
	}
	if c.operator == "or" || c.operator == "not" {
		if value[0] != '"' {
			return sdk.Filter{}, invalid("invalid_condition", "%s takes an expression such as \"a.eq.1,b.gt.2\" as its value", c.operator)
		}
		return parseExpression(c.operator, unquote(value[1:len(value)-1]), n)
	}
	operator, ok := operators[c.operator]
	if !ok {
		return sdk.Filter{}, invalid("unknown_operator", "%s is not an operator", quote(c.operator)).WithHint("use one of " + operatorNames)
	}
	if column == "" || strings.IndexByte(column, 0) >= 0 {
		return sdk.Filter{}, invalid("invalid_condition", "it has no column")
	}
	for _, cast := range []string{c.columnCast, c.valueCast} {
		if cast != "" && !casts[strings.ToLower(cast)] {
			return sdk.Filter{}, invalid("unsupported_cast", "casting to %s is not supported", quote(cast)).
				WithHint("use one of text, uuid, int, bigint, boolean, numeric, float, double, json, jsonb, date, timestamp, timestamptz")
		}
	}
	f, err := comparison(column, operator, value, n)
	if err != nil {
		return f, invalid("invalid_condition", "%s", err.Error())
	}
	at := &f
	if f.Kind == sdk.FilterNot {
		at = &f.Children[0]
	}
	at.ColumnCast, at.ValueCast = strings.ToLower(c.columnCast), strings.ToLower(c.valueCast)
	return f, nil
}

// comparison compares a column with a checked JSON value. A list is membership for eq,
// neq and in, and null is a test for null.
func comparison(column string, operator sdk.Operator, value []byte, n *terms) (sdk.Filter, error) {
	f := sdk.Filter{Column: sdk.Column{Name: column}, Operator: operator, Compare: sdk.Lenient}
	list := value[0] == '['
	switch operator {
	case sdk.In, sdk.Eq, sdk.Neq:
		switch {
		case list:
			f.Operator, f.Values = sdk.In, elements(value, n)
			if operator == sdk.Neq {
				return sdk.Filter{Kind: sdk.FilterNot, Children: []sdk.Filter{f}}, nil
			}
			return f, nil
		case operator == sdk.In:
			return f, fmt.Errorf("in takes an array")
		case value[0] == 'n' && operator == sdk.Eq:
			f.Operator = sdk.Is
		case value[0] == 'n':
			f.Operator, f.Values = sdk.Is, []sdk.Value{{Hint: sdk.String, Text: "not_null"}}
			return f, nil
		}
	case sdk.Is:
		v, err := isValue(scalar(value))
		f.Values = []sdk.Value{v}
		return f, err
	case sdk.Contains, sdk.Contained:
	default:
		if list || value[0] == '{' {
			return f, fmt.Errorf("%s takes a single value", operator)
		}
	}
	f.Values = []sdk.Value{scalar(value)}
	return f, nil
}

// isValue reads what a column may be: null, true, false and so on, as JSON or as text.
func isValue(v sdk.Value) (sdk.Value, error) {
	if v.Hint == sdk.Null || v.Hint == sdk.Bool {
		return v, nil
	}
	switch strings.ToLower(v.Text) {
	case "null":
		return sdk.Value{Hint: sdk.Null}, nil
	case "true", "false":
		return sdk.Value{Hint: sdk.Bool, Text: strings.ToLower(v.Text)}, nil
	case "unknown", "not_null":
		return sdk.Value{Hint: sdk.String, Text: strings.ToLower(v.Text)}, nil
	}
	return v, fmt.Errorf("is takes null, not_null, true, false or unknown, not %s", quote(v.Text))
}

// elements are the values of a checked JSON array, as many as n has room for.
func elements(list []byte, n *terms) []sdk.Value {
	values := []sdk.Value{}
	r := reader{b: list}
	r.array(func() {
		if raw := r.value(); n.more() {
			values = append(values, scalar(raw))
		}
	})
	return values
}
