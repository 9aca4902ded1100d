package sqlbuild

import (
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// level is one SELECT: the statement's own or that of a relation in it.
type level struct {
	selection     *sdk.Selection
	key           []sdk.Value
	filter        *sdk.Filter
	order         []sdk.Order
	limit, offset *int64
	// from writes what stands behind FROM, under the scope's alias; nil: the table itself.
	from func()
	// join writes the condition that ties a relation's rows to those of its parent; nil: none.
	join func()
}

func levelOf(s *sdk.Statement) *level {
	return &level{selection: &s.Selection, key: s.Key, filter: s.Filter, order: s.Order, limit: s.Limit, offset: s.Offset}
}

// query writes a level's SELECT from the scope's table.
func (b *builder) query(l *level) {
	if !b.relate(l.selection) {
		return
	}
	b.write("SELECT ")
	if l.selection.Distinct {
		b.write("DISTINCT ")
	}
	b.items(l.selection, b.scope.alias)
	b.source(l)
	b.conditions(l)
	b.group(l.selection)
	b.order(l.order)
	b.paging(l.limit, l.offset)
}

// counting writes a SELECT of how many rows a level has without its limit and offset.
func (b *builder) counting(l *level) {
	if !b.relate(l.selection) {
		return
	}
	grouped := l.selection.Distinct || aggregated(l.selection)
	b.write("SELECT count(*) FROM ")
	if grouped {
		b.write("(SELECT ")
		if l.selection.Distinct {
			b.write("DISTINCT ")
		}
		b.items(l.selection, b.scope.alias)
		b.write(" FROM ")
	}
	b.from(l)
	b.conditions(l)
	if grouped {
		b.group(l.selection)
		b.write(") AS _")
	}
}

// source writes FROM and what stands behind it.
func (b *builder) source(l *level) {
	b.write(" FROM ")
	b.from(l)
}

func (b *builder) from(l *level) {
	if l.from != nil {
		l.from()
	} else {
		b.table()
		if b.scope.alias != b.scope.table.Name {
			b.write(" AS ")
			b.quote(b.scope.alias)
		}
	}
	b.joins()
}

// conditions writes a level's WHERE clause, if it has any.
func (b *builder) conditions(l *level) {
	word := " WHERE "
	and := func(write func()) {
		b.write(word)
		word = " AND "
		write()
	}
	if l.join != nil {
		and(l.join)
	}
	if len(l.key) > 0 {
		and(func() { b.key(l.key) })
	}
	if l.filter != nil {
		and(func() { b.filter(l.filter, 1) })
	}
	b.innerConditions(and)
}

// items writes a select list. star qualifies a star; "" leaves it bare.
func (b *builder) items(selection *sdk.Selection, star string) {
	if selection.Bucket != nil {
		b.unsupported("bucket", "grouping by a time bucket")
		return
	}
	if len(selection.Items) == 0 {
		b.star(star, selection.Distinct)
		return
	}
	for i := range selection.Items {
		if i > 0 {
			b.write(", ")
		}
		item := &selection.Items[i]
		switch {
		case item.Kind == sdk.ItemRelation || item.Relation != nil:
			b.embedItem(item)
		case item.Aggregate != "" || item.CastAfter != "":
			b.unsupported("aggregate", "an aggregate in the select list")
		case item.Kind == sdk.ItemStar:
			b.star(star, selection.Distinct)
		default:
			b.item(item, selection.Distinct)
		}
		if b.err != nil {
			return
		}
	}
}

// star writes all columns: as a star if the database may answer with them as they are.
func (b *builder) star(qualifier string, distinct bool) {
	bare := true
	for i := range b.scope.table.Columns {
		bare = bare && !b.scope.table.Columns[i].AsJSON && !b.storedTime(&b.scope.table.Columns[i])
	}
	if bare {
		if qualifier != "" {
			b.quote(qualifier)
			b.write(".")
		}
		b.write("*")
		return
	}
	for i := range b.scope.table.Columns {
		if i > 0 {
			b.write(", ")
		}
		b.selected(&b.scope.table.Columns[i], castType{}, "", distinct)
	}
}

func (b *builder) item(item *sdk.Item, distinct bool) {
	c := b.plain(item.Column)
	cast := b.cast(item.Cast)
	if c == nil {
		return
	}
	b.selected(c, cast, item.Alias, distinct)
}

// selected writes one column of a select list, with the name that it has in the answer
// wherever the database would name it otherwise.
func (b *builder) selected(c *Column, cast castType, alias string, distinct bool) {
	named := b.d.sqlite || cast.postgres != ""
	switch {
	case cast.postgres != "":
		b.casted(cast, func() { b.column(c) })
	case b.storedTime(c):
		b.write("+")
		b.column(c)
	case c.AsJSON && distinct:
		named = true
		b.write("to_jsonb(") // json has no equality
		b.column(c)
		b.write(")")
	case c.AsJSON:
		named = true
		b.write("to_json(")
		b.column(c)
		b.write(")")
	default:
		b.column(c)
	}
	if alias == "" && named {
		alias = c.Name
	}
	if alias != "" {
		b.write(" AS ")
		b.quote(alias)
	}
}

// storedTime reports whether c is selected as an expression, so that it has no declared
// type: Go's SQLite drivers turn columns declared as times into time.Time, and the text
// as it was stored is lost.
func (b *builder) storedTime(c *Column) bool {
	return b.d.sqlite && c.Class == ClassTime
}

// order writes ORDER BY for columns of the table.
func (b *builder) order(terms []sdk.Order) {
	for i := range terms {
		term := &terms[i]
		if term.Relation != "" {
			b.unsupported("relation", "sorting by a related table's column")
			return
		}
		c := b.plain(term.Column)
		if c == nil {
			return
		}
		if i == 0 {
			b.write(" ORDER BY ")
		} else {
			b.write(", ")
		}
		b.column(c)
		if term.Descending {
			b.write(" DESC")
		}
		switch term.Nulls {
		case sdk.NullsFirst:
			b.write(" NULLS FIRST")
		case sdk.NullsLast:
			b.write(" NULLS LAST")
		}
	}
}

// paging writes the limit as a literal: PostgreSQL does not know a bound one when it
// plans, thinks a tenth of the table will be asked for, and plans anew each time instead
// of keeping the plan. The few limits in use cost few texts; offsets are many and are bound.
func (b *builder) paging(limit, offset *int64) {
	if limit != nil && *limit < 0 || offset != nil && *offset < 0 {
		b.invalid("invalid_range", "limit and offset must not be negative")
		return
	}
	skip := offset != nil && *offset > 0
	if limit != nil {
		var digits [20]byte
		b.write(" LIMIT ")
		b.text.Write(strconv.AppendInt(digits[:0], *limit, 10))
	} else if skip && b.d.sqlite {
		b.write(" LIMIT -1") // SQLite knows OFFSET only behind LIMIT
	}
	if skip {
		b.write(" OFFSET ")
		b.bind(sdk.Value{Hint: sdk.Number, Text: strconv.FormatInt(*offset, 10)})
	}
}
