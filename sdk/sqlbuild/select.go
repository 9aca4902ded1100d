package sqlbuild

import "github.com/athena-gateway/athena/sdk"

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
	b.group()
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
		b.group()
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
