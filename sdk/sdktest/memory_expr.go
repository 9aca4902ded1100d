package sdktest

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// expr is a value computed of a row. What cannot be computed fails the statement and is
// null.
type expr struct {
	kind kind
	of   func(row) cell
}

// fail keeps the statement's first error.
func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tx) unsupported(what, message string) {
	t.fail(sdk.E(sdk.Unsupported, "unsupported_"+what, message))
}

// expr compiles a column of a table with a path into its JSON and a cast.
func (t *tx) expr(from *table, c sdk.Column, cast string) expr {
	i, err := from.find(c.Name)
	if err != nil {
		t.fail(err)
		return expr{kindText, func(row) cell { return nil }}
	}
	e := expr{from.columns[i].kind, func(r row) cell { return r[i] }}
	if len(c.Path) > 0 {
		e = pathExpr(e, c.Path)
	}
	return t.cast(e, cast)
}

// pathExpr goes into the JSON of e. The last step says whether JSON or text is asked for.
func pathExpr(e expr, path []sdk.PathStep) expr {
	result := kindJSON
	if path[len(path)-1].Text {
		result = kindText
	}
	return expr{result, func(r row) cell {
		c := e.of(r)
		for _, s := range path {
			if c = step(c, s); c == nil {
				return nil
			}
		}
		switch {
		case result == kindJSON, c[0] == '"':
			return c
		case string(c) == "null":
			return nil
		default:
			return textCell(jsonText(c))
		}
	}}
}

// cast casts e to a type by its name; "" leaves it alone.
func (t *tx) cast(e expr, name string) expr {
	if name == "" {
		return e
	}
	to, err := castTo(name)
	if err != nil {
		t.fail(err)
		return e
	}
	return expr{to.kind, func(r row) cell {
		c, err := to.cast(e.kind, e.of(r))
		if err != nil {
			t.fail(err)
		}
		return c
	}}
}

// columnName is the name that a column has in an answer.
func columnName(item *sdk.Item) string {
	name := item.Column.Name
	for _, s := range item.Column.Path {
		if !s.IsIndex {
			name = s.Key
		}
	}
	switch {
	case item.Alias != "":
		return item.Alias
	case item.Aggregate != "":
		return item.Aggregate
	default:
		return name
	}
}

// bucket compiles the start of the period that a time lies in.
func (t *tx) bucket(from *table, b *sdk.Bucket) expr {
	e := t.expr(from, b.Column, "")
	switch b.Granularity {
	case "minute", "hour", "day", "week", "month", "quarter", "year":
	default:
		t.fail(sdk.E(sdk.Invalid, "invalid_granularity", fmt.Sprintf("there is no granularity %q", b.Granularity)).
			WithHint("use minute, hour, day, week, month, quarter or year"))
	}
	if e.kind != kindTime {
		t.fail(sdk.E(sdk.Invalid, "invalid_bucket", fmt.Sprintf("the column %q holds no times", b.Column.Name)))
	}
	return expr{kindTime, func(r row) cell {
		c := e.of(r)
		if c == nil {
			return nil
		}
		return textCell(truncated(text(c), b.Granularity))
	}}
}

// truncated is the start of the period that a time such as 2024-02-29T12:34:56 lies in.
func truncated(at, granularity string) string {
	switch granularity {
	case "minute":
		return at[:16] + ":00"
	case "hour":
		return at[:13] + ":00:00"
	case "day":
		return at[:10] + "T00:00:00"
	case "month":
		return at[:7] + "-01T00:00:00"
	case "year":
		return at[:4] + "-01-01T00:00:00"
	}
	moment := parseTime(textCell(at))
	if granularity == "week" {
		monday := moment.AddDate(0, 0, -(int(moment.Weekday())+6)%7)
		return monday.Format("2006-01-02") + "T00:00:00"
	}
	month := (int(moment.Month())-1)/3*3 + 1
	return fmt.Sprintf("%s-%02d-01T00:00:00", at[:4], month)
}

// aggregate compiles an output that is an aggregate over a group's rows.
func (t *tx) aggregate(o output) func([]row) cell {
	result, of := t.aggregateOf(o)
	if o.aggregate.after == "" {
		return of
	}
	to, err := castTo(o.aggregate.after)
	t.failIf(err)
	return func(rows []row) cell {
		c, err := to.cast(result, of(rows))
		t.failIf(err)
		return c
	}
}

func (t *tx) aggregateOf(o output) (kind, func([]row) cell) {
	switch name := o.aggregate.name; name {
	case "count":
		return kindInt, func(rows []row) cell { return strconv.AppendInt(nil, int64(len(values(o, rows))), 10) }
	case "min", "max":
		return o.kind, func(rows []row) cell {
			var best cell
			for _, c := range values(o, rows) {
				if best == nil || name == "min" && o.kind.compare(c, best) < 0 || name == "max" && o.kind.compare(c, best) > 0 {
					best = c
				}
			}
			return best
		}
	case "sum", "avg":
		if o.kind != kindInt && o.kind != kindNumber {
			t.fail(sdk.E(sdk.Invalid, "undefined_function", fmt.Sprintf("there is no %s of the type %s", name, o.kind)))
		}
		return kindNumber, func(rows []row) cell { return sum(values(o, rows), name == "avg") }
	}
	t.fail(sdk.E(sdk.Invalid, "invalid_aggregate", fmt.Sprintf("there is no aggregate %q", o.aggregate.name)).
		WithHint("use count, sum, avg, min or max"))
	return kindText, func([]row) cell { return nil }
}

// sum adds numbers, and divides by how many they are for their average.
func sum(list []cell, average bool) cell {
	if len(list) == 0 {
		return nil
	}
	total := decimal{new(big.Int), 0}
	for _, c := range list {
		total = total.add(parseDecimal(c))
	}
	if average {
		total = total.divide(int64(len(list)))
	}
	return total.cell()
}

// values are those of an aggregate's argument that are not null; without one as many as
// there are rows.
func values(o output, rows []row) []cell {
	list := make([]cell, 0, len(rows))
	for _, r := range rows {
		if o.of == nil {
			list = append(list, cell("true"))
		} else if c := o.of(r); c != nil {
			list = append(list, c)
		}
	}
	return list
}

// likeMatches matches text with a LIKE pattern; a backslash escapes.
func likeMatches(text, pattern []rune) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '%':
			for i := range len(text) + 1 {
				if likeMatches(text[i:], pattern[1:]) {
					return true
				}
			}
			return false
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if len(text) == 0 || text[0] != pattern[0] {
				return false
			}
		case '_':
			if len(text) == 0 {
				return false
			}
		default:
			if len(text) == 0 || text[0] != pattern[0] {
				return false
			}
		}
		text, pattern = text[1:], pattern[1:]
	}
	return len(text) == 0
}

// lowerASCII makes small letters of A to Z alone.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
