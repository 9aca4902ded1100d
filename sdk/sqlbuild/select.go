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
	// related is the relation whose level it is; nil: the statement's own.
	related *related
	// writes says that the level chooses rows to be written: what is returned of them has
	// no say in it.
	writes bool
}

func levelOf(s *sdk.Statement) *level {
	return &level{selection: &s.Selection, key: s.Key, filter: s.Filter, order: s.Order, limit: s.Limit, offset: s.Offset,
		writes: s.Verb == sdk.Update || s.Verb == sdk.Delete}
}

// query writes a level's SELECT from the scope's table.
func (b *builder) query(l *level) {
	if !b.relate(l.selection) {
		return
	}
	b.unsorted(l)
	b.order(l.order)
	b.paging(l.limit, l.offset)
}

// unsorted writes a level's SELECT, its relations being known, up to ORDER BY.
func (b *builder) unsorted(l *level) {
	b.write("SELECT ")
	if l.selection.Distinct {
		b.write("DISTINCT ")
	}
	b.items(l.selection, b.scope.alias)
	b.source(l)
	b.conditions(l)
	b.group()
}

// counting writes a SELECT of how many rows a level has without its limit and offset.
func (b *builder) counting(l *level) {
	if !b.relate(l.selection) {
		return
	}
	b.write("SELECT count(*) FROM ")
	if l.selection.Distinct || aggregated(l.selection) {
		b.write("(")
		b.unsorted(l)
		b.write(") AS _")
		return
	}
	b.from(l)
	b.conditions(l)
}

// source writes FROM with the joins that the select list needs.
func (b *builder) source(l *level) {
	b.write(" FROM ")
	b.from(l)
	b.joins(b.scope)
	b.scope.joined = true
}

// from writes the tables that a level's rows are made of.
func (b *builder) from(l *level) {
	switch {
	case l.from != nil:
		l.from()
	case l.related != nil:
		b.relationFrom(l.related)
	default:
		b.table()
		if b.scope.alias != b.scope.table.Name {
			b.write(" AS ")
			b.quote(b.scope.alias)
		}
	}
}

// conditions writes a level's WHERE clause, if it has any.
func (b *builder) conditions(l *level) { b.clause(l, " WHERE ") }

// clause writes a level's conditions behind word, nothing if it has none.
func (b *builder) clause(l *level, word string) {
	and := func(write func()) {
		b.write(word)
		word = " AND "
		write()
	}
	if r := l.related; r != nil && (r.function == nil || !r.toMany()) {
		and(func() { b.tie(r) })
	}
	if len(l.key) > 0 {
		and(func() { b.key(l.key) })
	}
	if l.filter != nil {
		and(func() { b.filter(l.filter, 1) })
	}
	if !l.writes {
		b.innerConditions(and)
	}
}
