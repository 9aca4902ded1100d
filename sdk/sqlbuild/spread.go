package sqlbuild

import (
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// spread writes the columns of a relation as its parent's own. At most one row is joined,
// and its columns and aggregates are the parent's level's. Of many rows each column
// becomes an array.
func (b *builder) spread(r *related) {
	selection := &r.item.Relation.Selection
	if !r.toMany() {
		if b.d.sqlite && (r.item.Relation.Limit != nil || r.item.Relation.Offset != nil) {
			b.unsupported("spread_limit", "a limit on a relation that is spread")
			return
		}
		b.within(r.scope, func() { b.entries(r.counted(selection), r.scope.alias) })
		return
	}
	if aggregated(selection) {
		b.unsupported("aggregate_in_spread", "an aggregate of a spread relation that has many rows")
		return
	}
	for i, s := range b.slots(r.scope, selection) {
		b.output(false)
		if b.d.sqlite {
			b.arraySQLite(r, i, &s)
		} else {
			b.slot(r.rows, i)
		}
		b.isJSON(ClassJSON)
		b.as(s.name)
	}
}

// arraySQLite writes one column of a relation's rows as an array.
func (b *builder) arraySQLite(r *related, i int, s *slot) {
	b.ifPresent(func() {
		b.write("(SELECT json_group_array(")
		b.jsonValue(r.rows, i, s)
		b.write(") FROM (")
		b.within(r.scope, func() { b.placed(r) })
		b.write(") AS ")
		b.quote(r.rows)
		b.write(")")
	})
}

// ifPresent makes what write writes null where the scope's columns have joined its
// parent's and there is no row of them.
func (b *builder) ifPresent(write func()) {
	if b.scope.into == nil {
		write()
		return
	}
	b.write("CASE WHEN ")
	b.present(b.scope)
	b.write(" THEN ")
	write()
	b.write(" END")
}

// counted is the selection of a spread relation with count() made the count of a column
// that only a missing row has null in: a parent without a related row counts for none.
func (r *related) counted(selection *sdk.Selection) *sdk.Selection {
	if r.function != nil {
		return selection
	}
	var items []sdk.Item
	for i := range selection.Items {
		if item := &selection.Items[i]; item.Aggregate == "count" && item.Column.Name == "" {
			if items == nil {
				items = slices.Clone(selection.Items)
			}
			items[i].Column.Name = r.tied()
		}
	}
	if items == nil {
		return selection
	}
	counted := *selection
	counted.Items = items
	return &counted
}

// tied is the related table's column that a key ties to the parent, or its first; never
// null in a related row.
func (r *related) tied() string {
	if r.outward {
		return r.near.TargetColumns[0]
	}
	return r.near.Columns[0]
}

// joins writes the joins that the spread relations of a scope need.
func (b *builder) joins(s *scope) {
	for _, r := range s.relations {
		q := r.item.Relation
		switch {
		case !q.Spread || !shown(q):
		case !r.toMany():
			b.joinRow(r)
			b.joins(r.scope)
		case !b.d.sqlite:
			b.joinArrays(r)
		}
	}
}

// joinRow joins the one row of a spread relation.
func (b *builder) joinRow(r *related) {
	if r.item.Relation.Inner && r.parent.into == nil {
		b.write(" JOIN ")
	} else {
		b.write(" LEFT JOIN ")
	}
	b.within(r.scope, func() {
		l := b.relationLevel(r)
		if !b.subselected(r) {
			b.from(l)
			b.clause(l, " ON ")
			return
		}
		b.write("LATERAL (SELECT ")
		b.quote(b.scope.alias)
		b.write(".* FROM ")
		b.from(l)
		b.conditions(l)
		b.order(l.order)
		b.paging(l.limit, l.offset)
		b.write(") AS ")
		b.quote(b.scope.alias)
		b.write(" ON TRUE")
	})
}

// subselected reports whether the row of a spread relation is joined as a subquery, which
// can choose one of many.
func (b *builder) subselected(r *related) bool {
	q := r.item.Relation
	return !b.d.sqlite && (q.Limit != nil || q.Offset != nil || !r.unique() && (r.function == nil || r.function.Returns.Set))
}

// joinArrays joins the columns of a spread relation as arrays.
func (b *builder) joinArrays(r *related) {
	aggregate := "json_agg("
	if r.parent.target().compared {
		aggregate = "jsonb_agg("
	}
	b.write(" LEFT JOIN LATERAL (SELECT ")
	for i := range b.slots(r.scope, &r.item.Relation.Selection) {
		if i > 0 {
			b.write(", ")
		}
		b.write("coalesce(" + aggregate)
		b.slot(r.rows, i)
		b.write("), '[]') AS ")
		b.quote(place(i))
	}
	b.write(" FROM (")
	b.within(r.scope, func() { b.placed(r) })
	b.write(") AS ")
	b.quote(r.rows)
	b.write(") AS ")
	b.quote(r.rows)
	b.write(" ON ")
	if r.parent.into != nil {
		b.present(r.parent)
	} else {
		b.write("TRUE")
	}
}

// present writes that a scope whose columns have joined its parent's has a row.
func (b *builder) present(s *scope) {
	if s.of.function != nil {
		b.tie(s.of)
		return
	}
	b.quote(s.alias)
	b.write(".")
	b.quote(s.of.tied())
	b.write(" IS NOT NULL")
}
