package sqlbuild

import (
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// writing writes an Insert, Update or Delete and what it answers with: nothing, rows of
// its own RETURNING, or, where the rows need more than RETURNING can express, rows of a
// SELECT from it.
func (b *builder) writing(q *Query, s *sdk.Statement) {
	var (
		t        = b.scope.table
		rows     = s.Returning == sdk.ReturnSelection || s.Returning == sdk.ReturnKeys && len(t.Key) > 0
		inserted = s.Verb == sdk.Insert && s.Conflict != nil && s.Conflict.Update && !b.d.sqlite && t.Kind == BaseTable && !t.Partitioned
		selected = s.Returning == sdk.ReturnSelection && (b.selects(s) || b.o.Format == sdk.FormatGeoJSON)
	)
	if hasRelation(&s.Selection) && !b.relate(&s.Selection) {
		return
	}
	totals := selected || inserted && !rows
	if totals {
		b.write("WITH _w AS (")
	}
	switch s.Verb {
	case sdk.Insert:
		b.insert(s)
	case sdk.Update:
		b.update(s)
	default:
		b.delete(s)
	}
	switch {
	case b.err != nil:
	case totals:
		q.Rows, q.Hidden = true, HiddenTotals
		b.writtenTotals(s, inserted, rows)
	case rows:
		q.Rows = true
		b.write(" RETURNING ")
		if inserted {
			q.Hidden = HiddenInserted
			b.write("(xmax = 0), ")
		}
		b.returned(s)
	}
}

// selects reports whether the rows that a write returns need a SELECT. SQLite cannot
// select from a write: there it fails, but for relations that are embedded as they are.
func (b *builder) selects(s *sdk.Statement) bool {
	relations, order := false, len(s.Order) > 0
	for i := range s.Selection.Items {
		if r := s.Selection.Items[i].Relation; r != nil {
			relations = true
			if b.d.sqlite && (r.Inner || r.Spread) {
				b.unsupported("returned_relation", "returning a written row with inner or spread relations")
			}
		}
	}
	grouped := s.Selection.Distinct || aggregated(&s.Selection)
	if !b.d.sqlite {
		return relations || order || grouped
	}
	switch {
	case grouped:
		b.unsupported("returned_groups", "returning distinct or aggregated rows of a write")
	case order && s.Limit == nil && s.Offset == nil:
		b.unsupported("returned_order", "sorting the rows that a write returns")
	}
	return false
}

func hasRelation(selection *sdk.Selection) bool {
	return slices.ContainsFunc(selection.Items, func(item sdk.Item) bool { return item.Relation != nil })
}

// returned writes the list of a RETURNING.
func (b *builder) returned(s *sdk.Statement) {
	if s.Returning == sdk.ReturnSelection {
		star := b.scope.alias
		if b.d.sqlite {
			star = "" // SQLite refuses "table".* here
		}
		b.items(&s.Selection, star)
		return
	}
	for i, name := range b.scope.table.Key {
		c := b.find(name)
		if c == nil {
			return
		}
		if i > 0 {
			b.write(", ")
		}
		b.selected(c, castType{}, "")
	}
}

// writtenTotals ends a write that began as _w and selects from it: how many rows were
// written and, if inserted, how many of these are new; with rows, also what s selects of
// them. Whether a row is new comes out of xmax, which only a row that was there before
// has: it was locked to be updated.
func (b *builder) writtenTotals(s *sdk.Statement, inserted, rows bool) {
	t := b.scope.table
	flag := "_i"
	for slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Name == flag }) {
		flag += "_"
	}
	b.write(" RETURNING ")
	if inserted {
		b.write("(xmax = 0) AS ")
		b.write(flag)
		if rows {
			b.write(", ")
		}
	}
	if rows {
		b.quote(b.scope.alias)
		b.write(".*")
	}
	b.write(") ")
	count := func() {
		b.write("SELECT count(*), ")
		if inserted {
			b.write("count(*) FILTER (WHERE ")
			b.write(flag)
			b.write(")")
		} else {
			b.write("NULL::bigint")
		}
		if !rows {
			b.write(", FALSE")
		}
		b.write(" FROM _w")
	}
	if !rows {
		count()
		return
	}
	b.scope = &scope{table: t, alias: t.Name, row: b.rowOf(t, t.Name)}
	b.totals(count, &level{selection: &s.Selection, order: s.Order, from: func() {
		if inserted { // the flag is no column of the table
			b.write("(SELECT ")
			for i := range t.Columns {
				if i > 0 {
					b.write(",")
				}
				b.quote(t.Columns[i].Name)
			}
			b.write(" FROM _w)")
		} else {
			b.write("_w")
		}
		b.write(" AS ")
		b.quote(t.Name)
	}})
}

// totals writes a level's rows behind the columns of HiddenTotals: count selects the
// first two. The join is a nested loop over one row, which keeps the level's order.
func (b *builder) totals(count func(), l *level) {
	b.write("SELECT _c.*, _r.* IS DISTINCT FROM NULL, ") // _r alone could be a column
	b.shownRow("_r")
	b.write(" FROM (")
	count()
	b.write(") AS _c LEFT JOIN (")
	b.query(l)
	b.write(") AS _r ON TRUE")
}

// rowOf is the SQL of a row of a table made of its columns, for functions of the row when
// the columns come from elsewhere; "" if the table has no such functions.
func (b *builder) rowOf(t *Table, alias string) string {
	if len(t.Computed) == 0 {
		return ""
	}
	row := builder{d: b.d, scope: &scope{table: t, alias: alias}}
	row.write("ROW(")
	for i := range t.Columns {
		if i > 0 {
			row.write(",")
		}
		row.column(&t.Columns[i])
	}
	row.write(")::")
	row.table()
	return row.text.String()
}
