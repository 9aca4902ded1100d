package sdktest

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

type rowSeq = iter.Seq2[row, error]

// level is one SELECT of a select tree, compiled: the statement's own or a relation's.
type level struct {
	*tx
	table         *table
	relations     []*relation
	outputs       []output
	holds         test // the filter, and that inner relations have rows
	order         []term
	limit, offset *int64
	distinct      bool
	grouped       bool
}

// levelSpec is what a level is compiled of.
type levelSpec struct {
	selection     *sdk.Selection
	key           []sdk.Value
	filter        *sdk.Filter
	order         []sdk.Order
	limit, offset *int64
}

// output is one column of a level's answer: of a row, or an aggregate of a group's rows.
type output struct {
	name      string
	kind      kind
	of        func(row) cell   // for an aggregate its argument; nil: rows are counted
	aggregate *aggregateOutput // nil: none
}

// aggregateOutput is what is done to the argument's cells in a group.
type aggregateOutput struct {
	name  string
	after string // a type to cast to
}

// term is one sort term.
type term struct {
	expr
	sdk.Order
}

// record is a row of a level's answer with the row of its table that it comes of, the
// first one in a group.
type record struct {
	of    row
	cells []cell
}

// level compiles a level over a table.
func (t *tx) level(from *table, s *levelSpec) *level {
	l := &level{tx: t, table: from, limit: s.limit, offset: s.offset, distinct: s.selection.Distinct}
	t.reads[from.name] = true
	if s.limit != nil && *s.limit < 0 || s.offset != nil && *s.offset < 0 {
		t.fail(sdk.E(sdk.Invalid, "invalid_range", "limit and offset must not be negative"))
	}
	if b := s.selection.Bucket; b != nil {
		e := t.bucket(from, b)
		l.grouped = true
		l.outputs = append(l.outputs, output{name: b.Column.Name, kind: e.kind, of: e.of})
	}
	l.choose(s.selection)
	conditions := l.filters(l.key(s.key))
	if s.filter != nil {
		conditions = append(conditions, l.filter(s.filter))
	}
	for _, r := range l.relations {
		if r.Inner {
			conditions = append(conditions, func(parent row) int { return truth(r.exist(parent)) })
		}
	}
	l.holds = combine(conditions, 1)
	for _, o := range s.order {
		l.order = append(l.order, l.term(o, s.selection.Bucket))
	}
	return l
}

// choose compiles the items of a selection; none are all columns.
func (l *level) choose(s *sdk.Selection) {
	items := s.Items
	if len(items) == 0 && s.Bucket == nil && !s.None {
		items = []sdk.Item{{Kind: sdk.ItemStar}}
	}
	for i := range items {
		item := &items[i]
		switch {
		case item.Relation != nil:
			l.selectRelation(item)
		case item.Kind == sdk.ItemStar && item.Aggregate == "":
			for n, c := range l.table.columns {
				l.outputs = append(l.outputs, output{name: c.name, kind: c.kind, of: func(r row) cell { return r[n] }})
			}
		default:
			l.selectColumn(item)
		}
	}
	for _, o := range l.outputs {
		l.grouped = l.grouped || o.aggregate != nil
	}
}

func (l *level) selectColumn(item *sdk.Item) {
	o := output{name: columnName(item)}
	if item.Column.Name != "" || item.Aggregate != "count" {
		e := l.expr(l.table, item.Column, item.Cast)
		o.kind, o.of = e.kind, e.of
	}
	if item.Aggregate != "" {
		o.aggregate = &aggregateOutput{item.Aggregate, item.CastAfter}
		l.tx.aggregate(o) // reports what it cannot do
	}
	l.outputs = append(l.outputs, o)
}

func (l *level) selectRelation(item *sdk.Item) {
	r := l.relate(item.Relation, item.Alias)
	switch {
	case r == nil || len(r.outputs) == 0:
	case item.Relation.Spread:
		l.outputs = append(l.outputs, r.spread()...)
	default:
		l.outputs = append(l.outputs, r.embed())
	}
}

// term compiles a sort term. Sorting by a bucket's column sorts by the bucket.
func (l *level) term(o sdk.Order, bucket *sdk.Bucket) term {
	if o.Relation == "" {
		if bucket != nil && bucket.Column.Name == o.Column.Name {
			return term{l.bucket(l.table, bucket), o}
		}
		return term{l.expr(l.table, o.Column, ""), o}
	}
	r := l.relation(o.Relation)
	switch {
	case r == nil:
		l.fail(sdk.E(sdk.Invalid, "relation_not_selected", fmt.Sprintf("the relation %q is not in the selection", o.Relation)).
			WithHint("select it"))
		return term{Order: o}
	case r.link.many:
		l.fail(sdk.E(sdk.Invalid, "order_by_to_many", fmt.Sprintf("the relation %q has many rows to sort by", o.Relation)))
	}
	e := l.expr(r.level.table, o.Column, "")
	return term{expr{e.kind, func(parent row) cell {
		if related := r.chosen(parent); len(related) > 0 {
			return e.of(related[0])
		}
		return nil
	}}, o}
}

// answer evaluates the level over rows of its table.
func (l *level) answer(rows rowSeq) iter.Seq2[record, error] {
	return l.page(l.matched(rows))
}

// matched is answer without limit and offset.
func (l *level) matched(rows rowSeq) iter.Seq2[record, error] {
	records := l.records(rows)
	if l.grouped {
		records = l.groups(rows)
	}
	if l.distinct {
		records = l.withoutDuplicates(records)
	}
	if len(l.order) > 0 {
		records = l.sorted(records)
	}
	return records
}

// kept are the rows that the filter leaves. It ends at the first error.
func (l *level) kept(rows rowSeq) rowSeq {
	return func(yield func(row, error) bool) {
		for r, err := range rows {
			if err == nil && l.holds(r) != 1 {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// bare are records without cells.
func (l *level) bare(rows rowSeq) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for r, err := range l.kept(rows) {
			if !yield(record{of: r}, err) {
				return
			}
		}
	}
}

func (l *level) records(rows rowSeq) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for rec, err := range l.bare(rows) {
			for i := range l.outputs {
				if err == nil {
					rec.cells = append(rec.cells, l.outputs[i].of(rec.of))
				}
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// groups makes a record of each group: of the rows whose outputs that are no aggregates
// are equal. Without such outputs all rows are one group, even none.
func (l *level) groups(rows rowSeq) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		groups, names := map[string][]row{}, []string{}
		keyed := slices.ContainsFunc(l.outputs, func(o output) bool { return o.aggregate == nil })
		if !keyed {
			groups[""], names = nil, []string{""}
		}
		for r, err := range l.kept(rows) {
			if err != nil {
				yield(record{}, err)
				return
			}
			var name strings.Builder
			for _, o := range l.outputs {
				if o.aggregate == nil {
					name.WriteString(identity(o.of(r)) + "\x00")
				}
			}
			if groups[name.String()] == nil && keyed {
				names = append(names, name.String())
			}
			groups[name.String()] = append(groups[name.String()], r)
		}
		for _, name := range names {
			if !yield(l.group(groups[name]), nil) {
				return
			}
		}
	}
}

func (l *level) group(rows []row) record {
	rec := record{}
	if len(rows) > 0 {
		rec.of = rows[0]
	}
	for _, o := range l.outputs {
		if o.aggregate == nil {
			rec.cells = append(rec.cells, o.of(rows[0]))
		} else {
			rec.cells = append(rec.cells, l.tx.aggregate(o)(rows))
		}
	}
	return rec
}

func (l *level) withoutDuplicates(records iter.Seq2[record, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		seen := map[string]bool{}
		for rec, err := range records {
			var name strings.Builder
			for _, c := range rec.cells {
				name.WriteString(identity(c) + "\x00")
			}
			if err == nil && seen[name.String()] {
				continue
			}
			seen[name.String()] = true
			if !yield(rec, err) {
				return
			}
		}
	}
}

func (l *level) sorted(records iter.Seq2[record, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		var all []record
		for rec, err := range records {
			if err != nil {
				yield(rec, err)
				return
			}
			all = append(all, rec)
		}
		slices.SortStableFunc(all, func(a, b record) int {
			for _, t := range l.order {
				if c := t.compare(t.of(a.of), t.of(b.of)); c != 0 {
					return c
				}
			}
			return 0
		})
		for _, rec := range all {
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// compare orders two cells; nulls are last by default, first when descending.
func (t *term) compare(a, b cell) int {
	if a == nil || b == nil {
		last := 1
		if t.Nulls == sdk.NullsFirst || t.Nulls == sdk.NullsDefault && t.Descending {
			last = -1
		}
		return last * cmp.Compare(truth(a == nil), truth(b == nil))
	}
	if t.Descending {
		return t.kind.compare(b, a)
	}
	return t.kind.compare(a, b)
}

func (l *level) page(records iter.Seq2[record, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		skip, left := int64(0), int64(-1)
		if l.offset != nil {
			skip = *l.offset
		}
		if l.limit != nil {
			left = *l.limit
		}
		if left == 0 {
			return
		}
		for rec, err := range records {
			if skip > 0 && err == nil {
				skip--
				continue
			}
			left--
			if !yield(rec, err) || err != nil || left == 0 {
				return
			}
		}
	}
}
