package sqlbuild

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// related is a relation of a level's selection.
type related struct {
	link
	item          *sdk.Item
	parent, scope *scope // the level that it stands in, and its own
	// rows is the alias of its level as a derived table, junction that of far.Table.
	rows, junction string
	record         *Record // what its rows are in the answer; nil: JSON
}

// maxText is how long, in bytes, a statement with relations may grow: conditions on
// relations repeat those within them.
const maxText = 1 << 20

// relate resolves the relations of a selection into the current scope, before any of the
// level is written. It reports whether the builder can go on.
func (b *builder) relate(selection *sdk.Selection) bool {
	if b.scope.relations == nil {
		if b.scope.of == nil {
			b.scope.records = b.recordable(selection)
		}
		b.relations(b.scope, selection, 1)
	}
	return b.err == nil
}

// relations resolves the relations of a selection and those within them; depth counts
// from 1.
func (b *builder) relations(s *scope, selection *sdk.Selection, depth int) {
	for i := range selection.Items {
		item := &selection.Items[i]
		if item.Kind != sdk.ItemRelation && item.Relation == nil {
			continue
		}
		if item.Relation == nil || item.Relation.Target == "" {
			b.invalid("invalid_relation", "a relation in the select list names no target")
			return
		}
		if depth > sdk.MaxFilterDepth {
			b.invalid("too_deep", "the relations nest deeper than %d levels", sdk.MaxFilterDepth)
			return
		}
		l, ok := b.resolve(s.table, item.Relation)
		if !ok {
			return
		}
		r := &related{link: l, item: item, parent: s, rows: b.alias()}
		r.scope = &scope{table: l.table, alias: b.alias(), of: r}
		r.scope.list.naming = b.o.Naming
		if item.Relation.Spread && !l.toMany() {
			r.scope.into = s.target()
			if b.subselected(r) {
				r.scope.row = b.rowOf(l.table, r.scope.alias)
			}
		}
		b.chooseRecord(r)
		if l.far != nil {
			r.junction = b.alias()
			b.reads(l.far.Table)
		}
		b.reads(l.table)
		if l.function != nil {
			b.readsAny()
		}
		s.relations = append(s.relations, r)
		if b.relations(r.scope, &item.Relation.Selection, depth+1); b.err != nil {
			return
		}
	}
}

// target is the select list that columns of the scope go to.
func (s *scope) target() *list {
	if s.into != nil {
		return s.into
	}
	return &s.list
}

// alias makes up a name for a table; the statement's own, the only one that is not made
// up, is left out.
func (b *builder) alias() string {
	for {
		b.aliases++
		if name := "_" + strconv.Itoa(b.aliases); name != b.scope.alias {
			return name
		}
	}
}

// name is what the relation is called in the answer.
func (r *related) name() string {
	if r.item.Alias != "" {
		return r.item.Alias
	}
	return r.item.Relation.Target
}

// shown reports whether a relation has a place in the answer: not one that only filters,
// nor one that only has such in it.
func shown(r *sdk.Relation) bool {
	if r.Selection.None {
		return false
	}
	for i := range r.Selection.Items {
		if item := &r.Selection.Items[i]; item.Relation == nil || shown(item.Relation) {
			return true
		}
	}
	return len(r.Selection.Items) == 0
}

// joined reports whether the relation's row is joined where its parent's level now is.
func (r *related) joined() bool {
	return r.parent.joined && r.scope.into != nil && shown(r.item.Relation)
}

// relation finds the relation that an item of the current level is.
func (s *scope) relation(item *sdk.Item) *related {
	for _, r := range s.relations {
		if r.item.Relation == item.Relation && r.item.Alias == item.Alias {
			return r
		}
	}
	return nil
}

// selectedRelation finds the relation of the current level that a filter or order term
// means: by its alias, else by its target. The errors are Invalid relation_not_selected
// and ambiguous_relation.
func (b *builder) selectedRelation(name string) *related {
	for _, called := range []func(r *related) string{(*related).name, func(r *related) string { return r.item.Relation.Target }} {
		var found *related
		for _, r := range b.scope.relations {
			switch {
			case called(r) != name:
			case found == nil:
				found = r
			default:
				b.refuse("ambiguous_relation", name, fmt.Sprintf("more than one relation in the select list is called %q", name),
					"give each of them an alias of its own, and use that")
				return nil
			}
		}
		if found != nil {
			return found
		}
	}
	b.refuse("relation_not_selected", name, fmt.Sprintf("%q is no relation in the select list", name),
		"select the relation too, if only with an empty list of columns")
	return nil
}

// refuse fails with Invalid for what the caller asks of a relation of the current level.
func (b *builder) refuse(reason, relation, message, hint string) {
	d := relationDetails{Parent: b.scope.table.Name, Target: relation, Schema: b.scope.table.Schema}
	b.fail(d.error(b.scope.table, reason, message).WithHint(hint))
}

// within writes a part of the statement in another scope.
func (b *builder) within(s *scope, write func()) {
	if b.text.Len() > maxText {
		b.invalid("too_large", "the statement has more than %d bytes of SQL", maxText)
	}
	if b.err != nil {
		return
	}
	outer := b.scope
	b.scope = s
	write()
	b.scope = outer
}

// relationLevel is the level of a relation's rows.
func (b *builder) relationLevel(r *related) *level {
	q := r.item.Relation
	l := &level{selection: &q.Selection, filter: q.Filter, order: q.Order, limit: q.Limit, offset: q.Offset, related: r}
	most := int64(1)
	switch {
	case r.unique():
		return l
	case r.toMany():
		if !b.o.CapRows || b.o.MaxRows <= 0 {
			return l
		}
		most = b.o.MaxRows
	}
	if l.limit == nil || *l.limit > most {
		l.limit = &most
	}
	return l
}

// relationFrom writes the tables of a relation's level.
func (b *builder) relationFrom(r *related) {
	if r.function != nil {
		b.quote(r.function.Schema)
		b.write(".")
		b.quote(r.function.Name)
		b.write("(")
		if r.parent.row != "" {
			b.write(r.parent.row)
		} else {
			b.quote(r.parent.alias)
			b.write(".*") // the row, even if a column has the alias's name
		}
		b.write(")")
	} else {
		b.table()
	}
	b.write(" AS ")
	b.quote(r.scope.alias)
	if r.far == nil {
		return
	}
	b.write(" JOIN ")
	b.within(&scope{table: r.far.Table}, b.table)
	b.write(" AS ")
	b.quote(r.junction)
	b.write(" ON ")
	b.equal(r.scope.alias, r.far.TargetColumns, r.junction, r.far.Columns)
}

// tie writes the condition that ties a relation's rows to those of its parent.
func (b *builder) tie(r *related) {
	switch {
	case r.function != nil:
		b.write("NOT (") // a function that returns null makes a row of nulls
		b.quote(r.scope.alias)
		b.write(".* IS NULL)")
	case r.far != nil:
		b.equal(r.junction, r.near.Columns, r.parent.alias, r.near.TargetColumns)
	case r.outward:
		b.equal(r.scope.alias, r.near.TargetColumns, r.parent.alias, r.near.Columns)
	default:
		b.equal(r.scope.alias, r.near.Columns, r.parent.alias, r.near.TargetColumns)
	}
}

// equal writes that columns of two tables are equal, pair by pair.
func (b *builder) equal(alias string, columns []string, other string, others []string) {
	for i := range columns {
		if i > 0 {
			b.write(" AND ")
		}
		b.quote(alias)
		b.write(".")
		b.quote(columns[i])
		b.write(" = ")
		b.quote(other)
		b.write(".")
		b.quote(others[i])
	}
}

// embedItem writes a relation's entry of the select list: nothing, or columns, each begun
// by b.output.
func (b *builder) embedItem(item *sdk.Item) {
	r := b.scope.relation(item)
	switch {
	case r == nil:
		b.unsupported("relation", "embedding related rows here")
	case !shown(item.Relation):
	case item.Relation.Spread:
		b.spread(r)
	default:
		b.output(false)
		if r.toMany() {
			b.ifPresent(func() { b.embedded(r) })
		} else {
			b.embedded(r)
		}
		b.isJSON(ClassJSON)
		b.isRecord(r.record)
		b.as(r.name())
	}
}

// embedded writes the related rows of a parent as one value: JSON, or records. It is a
// subquery in the select list, so that it is evaluated for the rows of the page only.
func (b *builder) embedded(r *related) {
	b.write("(SELECT ")
	switch {
	case b.d.sqlite:
		b.jsonSQLite(r)
	case r.record != nil:
		b.recordPostgres(r)
	default:
		b.jsonPostgres(r)
	}
	b.write(" AS ")
	b.quote(r.rows)
	b.write(")")
}

// jsonPostgres writes the JSON of a relation's rows, from its level.
func (b *builder) jsonPostgres(r *related) {
	json, row := "json", "row_to_json("
	if b.list().compared {
		json, row = "jsonb", "to_jsonb("
	}
	end := ".*)"
	if r.toMany() {
		if !b.o.StripNulls {
			row = "" // aggregated as it is
			end = ".*"
		}
		b.write("coalesce(" + json + "_agg(")
	}
	switch {
	case !b.o.StripNulls:
	case b.nests(r): // only the row's own nulls
		row = "(SELECT coalesce(" + json + "_object_agg(_.key, _.value), '{}') FROM " + json + "_each(" + row
		end += ") AS _ WHERE " + json + "_typeof(_.value) <> 'null')"
	default:
		row = json + "_strip_nulls(" + row
		end += ")"
	}
	b.write(row)
	b.quote(r.rows)
	b.write(end)
	if r.toMany() {
		b.write("), '[]')")
	}
	b.write(" FROM (")
	b.within(r.scope, func() { b.query(b.relationLevel(r)) })
	b.write(")")
}

// nests reports whether values of a relation's rows may hold objects.
func (b *builder) nests(r *related) bool {
	return slices.ContainsFunc(b.slots(r.scope, &r.item.Relation.Selection), func(s slot) bool {
		return s.class == ClassJSON || s.class == ClassArray || s.class == ClassOther
	})
}

// exists writes that a parent has related rows.
func (b *builder) exists(r *related) {
	b.write("EXISTS (SELECT 1 FROM ")
	b.within(r.scope, func() {
		l := b.relationLevel(r)
		b.scope.joined = false
		b.from(l)
		b.conditions(l)
		b.paging(l.limit, l.offset)
	})
	b.write(")")
}

// relationTest writes a test for related rows. The errors are Invalid
// relation_not_selected and invalid_relation_filter.
func (b *builder) relationTest(f *sdk.Filter) {
	r := b.selectedRelation(f.Relation)
	if r == nil {
		return
	}
	word := ""
	if f.Operator == sdk.Is && f.Quantifier == sdk.QuantifierNone && len(f.Values) == 1 {
		word = strings.ToLower(f.Values[0].Text)
		if f.Values[0].Hint == sdk.Null {
			word = "null"
		}
	}
	switch word {
	case "null":
		b.write("NOT ")
	case "not_null":
	default:
		b.refuse("invalid_relation_filter", f.Relation, fmt.Sprintf("the relation %q cannot be compared", f.Relation),
			"test it with the operator is, for null or not_null")
		return
	}
	b.exists(r)
}

// orderRelation writes the expression that a term with a relation sorts by. The errors are
// Invalid relation_not_selected and order_by_to_many.
func (b *builder) orderRelation(term *sdk.Order) {
	r := b.selectedRelation(term.Relation)
	if r == nil {
		return
	}
	if r.toMany() {
		b.refuse("order_by_to_many", term.Relation, fmt.Sprintf("%q cannot be sorted by %q, of which a row may have many",
			b.scope.table.Name, term.Relation), "sort by a relation that has at most one row")
		return
	}
	if r.joined() {
		b.within(r.scope, func() { b.sortKey(&term.Column) })
		return
	}
	b.write("(SELECT ")
	b.within(r.scope, func() {
		l := b.relationLevel(r)
		b.scope.joined = false
		b.sortKey(&term.Column)
		b.write(" FROM ")
		b.from(l)
		b.conditions(l)
		b.order(l.order)
		b.paging(l.limit, l.offset)
	})
	b.write(")")
}

// innerConditions adds a condition for each relation that a row must have, but for those
// that are joined so.
func (b *builder) innerConditions(and func(write func())) {
	for _, r := range b.scope.relations {
		if r.item.Relation.Inner && !r.joined() {
			and(func() { b.exists(r) })
		}
	}
}
