package sqlbuild

import (
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// key writes that the primary key equals values.
func (b *builder) key(values []sdk.Value) {
	if len(b.scope.table.Key) == 0 {
		b.noKey("choosing rows by primary key")
		return
	}
	if len(values) != len(b.scope.table.Key) {
		b.invalid("key_mismatch", "the primary key of table %q has %d columns (%s), but %d values were given",
			b.scope.table.Name, len(b.scope.table.Key), strings.Join(b.scope.table.Key, ", "), len(values))
		return
	}
	for i, name := range b.scope.table.Key {
		if i > 0 {
			b.write(" AND ")
		}
		f := sdk.Filter{Column: sdk.Column{Name: name}, Operator: sdk.Eq, Values: values[i : i+1], Compare: sdk.Lenient}
		b.compare(&f)
	}
}

func (b *builder) noKey(what string) {
	e := sdk.E(sdk.Invalid, "no_primary_key", "table "+strconv.Quote(b.scope.table.Name)+" has no primary key, which "+what+" needs").
		WithHint("choose the rows by a filter on columns")
	e.Schema, e.Table = b.scope.table.Schema, b.scope.table.Name
	b.fail(e)
}

// filter writes a node of a filter tree; depth counts from 1.
func (b *builder) filter(f *sdk.Filter, depth int) {
	if b.err != nil {
		return
	}
	if depth > sdk.MaxFilterDepth {
		b.invalid("too_deep", "the filter nests deeper than %d levels", sdk.MaxFilterDepth)
		return
	}
	switch f.Kind {
	case sdk.FilterCompare:
		b.compare(f)
	case sdk.FilterAnd:
		b.junction(f.Children, " AND ", "TRUE", depth)
	case sdk.FilterOr:
		b.junction(f.Children, " OR ", "FALSE", depth)
	case sdk.FilterNot:
		b.write("NOT ")
		b.junction(f.Children, " AND ", "TRUE", depth)
	default:
		b.unsupported("filter", "this kind of filter node")
	}
}

func (b *builder) junction(children []sdk.Filter, word, empty string, depth int) {
	b.write("(")
	for i := range children {
		if i > 0 {
			b.write(word)
		}
		b.filter(&children[i], depth+1)
	}
	if len(children) == 0 {
		b.write(empty)
	}
	b.write(")")
}

// compares reports whether a filter holds a comparison, an or one in each of its branches:
// a branch without any is true of every row. What is too deep is refused later.
func compares(f *sdk.Filter, depth int) bool {
	if f == nil {
		return false
	}
	if f.Kind == sdk.FilterCompare || depth > sdk.MaxFilterDepth {
		return true
	}
	all := f.Kind == sdk.FilterOr
	for i := range f.Children {
		if compares(&f.Children[i], depth+1) != all {
			return !all
		}
	}
	return all && len(f.Children) > 0
}

// comparison is a FilterCompare on its way into text.
type comparison struct {
	*sdk.Filter
	operand    operand
	columnCast castType
	valueCast  castType
	class      Class  // of the column after its cast
	typ        string // likewise
}

// compare writes one comparison.
func (b *builder) compare(f *sdk.Filter) {
	if f.Relation != "" {
		b.relationTest(f)
		return
	}
	c := comparison{Filter: f}
	c.operand, _ = b.operand(&f.Column)
	if f.ColumnCast != "" {
		c.columnCast = b.castTo(f.ColumnCast, f.Compare)
	}
	if f.ValueCast != "" {
		c.valueCast = b.castTo(f.ValueCast, f.Compare)
	}
	if b.err != nil {
		return
	}
	c.class, c.typ = c.operand.class, c.operand.typ
	if c.columnCast.postgres != "" {
		c.class, c.typ = c.columnCast.class, c.columnCast.postgres
	}
	if !b.checkValues(f) {
		return
	}
	switch {
	case f.Operator == sdk.Is:
		b.is(&c)
	case f.Operator == sdk.In, f.Operator == sdk.Eq && f.Quantifier == sdk.Any:
		b.in(&c)
	case f.Operator == sdk.Eq && f.Quantifier == sdk.QuantifierNone && c.matchesNull(&f.Values[0]):
		b.left(&c, asColumn)
		b.write(" IS NULL")
	case f.Operator == sdk.Neq && f.Quantifier == sdk.QuantifierNone && c.matchesNull(&f.Values[0]):
		b.left(&c, asColumn)
		b.write(" IS NOT NULL")
	case b.d.sqlite:
		b.compareSQLite(&c)
	default:
		b.comparePostgres(&c)
	}
}

// checkValues checks that a comparison has as many values as its operator takes.
func (b *builder) checkValues(f *sdk.Filter) bool {
	switch {
	case f.Operator == sdk.In:
		if f.Quantifier != sdk.QuantifierNone {
			b.invalid("invalid_filter", "the operator in takes no any or all")
		}
	case f.Quantifier != sdk.QuantifierNone:
		switch f.Operator {
		case sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.Match, sdk.IMatch:
		default:
			b.invalid("invalid_filter", "the operator %s takes no any or all", f.Operator)
		}
	case len(f.Values) != 1:
		b.invalid("invalid_filter", "the operator %s on column %q takes one value, but %d were given", f.Operator, f.Column.Name, len(f.Values))
	}
	return b.err == nil
}

// is writes a test for null, true, false or unknown.
func (b *builder) is(c *comparison) {
	word := strings.ToLower(c.Values[0].Text)
	if c.Values[0].Hint == sdk.Null {
		word = "null"
	}
	b.left(c, asColumn)
	switch word {
	case "null":
		b.write(" IS NULL")
	case "not_null":
		b.write(" IS NOT NULL")
	case "true":
		b.write(" IS TRUE")
	case "false":
		b.write(" IS FALSE")
	case "unknown":
		if b.d.sqlite {
			b.write(" IS NULL")
		} else {
			b.write(" IS UNKNOWN")
		}
	default:
		b.invalid("invalid_filter", "the operator is takes null, not_null, true, false or unknown, not %q", c.Values[0].Text)
	}
}

// matchesNull reports whether v is a null that nulls are equal to. They are in a lenient
// comparison; in a strict one null is neither equal nor unequal to anything.
func (c *comparison) matchesNull(v *sdk.Value) bool {
	return v.Hint == sdk.Null && c.Compare == sdk.Lenient
}

// in writes membership in a list. A null in a lenient list matches nulls.
func (b *builder) in(c *comparison) {
	null, others := false, 0
	for i := range c.Values {
		if c.matchesNull(&c.Values[i]) {
			null = true
		} else {
			others++
		}
	}
	switch {
	case others == 0 && null:
		b.left(c, asColumn)
		b.write(" IS NULL")
		return
	case others == 0:
		b.write("FALSE")
		return
	case null:
		b.write("(")
	}
	if b.d.sqlite {
		b.inSQLite(c)
	} else {
		b.inPostgres(c)
	}
	if null {
		b.write(" OR ")
		b.left(c, asColumn)
		b.write(" IS NULL)")
	}
}

// left writes a comparison's column, with its cast or with the one that reading its
// value asks for.
func (b *builder) left(c *comparison, as reading) {
	if as == asUUID {
		b.reference(&c.operand)
		return
	}
	b.casted(c.columnCast, func() { b.reference(&c.operand) })
	b.write(as.cast())
}
