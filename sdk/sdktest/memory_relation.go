package sdktest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// link ties the rows of a table to those of a related one: those whose cells in to are
// equal to the row's cells in from.
type link struct {
	target   *table
	from, to []int
	many     bool
	through  *junction   // instead of from and to
	key      *foreignKey // nil with through
	own      bool        // the key is that of the table, not of target
}

// junction ties rows by two foreign keys of a table between them.
type junction struct {
	table         *table
	near, distant *foreignKey
}

// relation is a related table in a level.
type relation struct {
	*sdk.Relation
	name string // in the answer
	link *link
	*level
}

// links lists all ways from a table to others.
func (t *tx) links(from *table) []*link {
	var links []*link
	for _, f := range from.foreign {
		links = append(links, &link{target: f.target, from: f.columns, to: f.to, key: f, own: true})
	}
	for _, name := range slices.Sorted(maps.Keys(t.tables)) {
		other := t.tables[name]
		for _, f := range other.foreign {
			if f.target != from {
				continue
			}
			one := slices.ContainsFunc(other.unique, func(u constraint) bool { return within(u.columns, f.columns) })
			links = append(links, &link{target: other, from: f.to, to: f.columns, key: f, many: !one})
			for _, distant := range other.foreign {
				if distant != f && distant.target != from && other.keyed && within(slices.Concat(f.columns, distant.columns), other.keys()) {
					links = append(links, &link{target: distant.target, many: true, through: &junction{other, f, distant}})
				}
			}
		}
	}
	return links
}

// within reports whether every one of some columns is in all.
func within(some, all []int) bool {
	return !slices.ContainsFunc(some, func(c int) bool { return !slices.Contains(all, c) })
}

// matches reports whether the link is what a relation's target and hint mean.
func (l *link) matches(from *table, target, hint string) bool {
	column := func(t *table, columns []int, name string) bool {
		return len(columns) == 1 && t.columns[columns[0]].name == name
	}
	switch {
	case l.through != nil:
		return target == l.target.name && (hint == "" || hint == l.through.table.name)
	case l.target == from && l.own: // the table's name means those that refer to the row
		return hint == "" && column(from, l.from, target)
	case target == l.target.name:
		return hint == "" || hint == l.key.name || column(from, l.from, hint) || column(l.target, l.to, hint)
	default:
		return hint == "" && (target == l.key.name || l.own && column(from, l.from, target))
	}
}

// resolve finds the one link that a relation means.
func (t *tx) resolve(from *table, r *sdk.Relation) *link {
	var found []*link
	for _, l := range t.links(from) {
		if l.matches(from, r.Target, r.Hint) {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		e := sdk.E(sdk.Invalid, "undefined_relation", fmt.Sprintf("the table %q has no relation %q", from.name, r.Target)).
			WithHint("name a table that a foreign key ties to it")
		e.Table = from.name
		t.fail(e)
		return nil
	case 1:
		return found[0]
	default:
		e := sdk.E(sdk.Invalid, "ambiguous_relation", fmt.Sprintf("the relation %q of the table %q can mean %d things", r.Target, from.name, len(found))).
			WithHint("add a hint: the foreign key's name or column, or the table between")
		e.Table = from.name
		t.fail(e)
		return nil
	}
}

// relate adds a related table to the level.
func (l *level) relate(r *sdk.Relation, alias string) *relation {
	made := &relation{Relation: r, name: alias, link: l.resolve(l.table, r), level: &level{tx: l.tx}}
	if made.name == "" {
		made.name = r.Target
	}
	if made.link == nil {
		return nil
	}
	if between := made.link.through; between != nil {
		l.reads[between.table.name] = true
	}
	made.level = l.tx.level(made.link.target, &levelSpec{selection: &r.Selection, filter: r.Filter, order: r.Order, limit: r.Limit, offset: r.Offset})
	if o := l.options; made.link.many && o.CapRows && o.MaxRows > 0 && (made.limit == nil || *made.limit > o.MaxRows) {
		made.limit = &o.MaxRows
	}
	l.relations = append(l.relations, made)
	return made
}

// rows are the related rows of r's row, as the link has them.
func (r *relation) rows(parent row) []row {
	l := r.link
	if l.through == nil {
		return matching(r.tx.rows[l.target.name], l.to, parent, l.from)
	}
	near, distant := l.through.near, l.through.distant
	var found []row
	for _, between := range matching(r.tx.rows[l.through.table.name], near.columns, parent, near.to) {
		found = append(found, matching(r.tx.rows[l.target.name], distant.to, between, distant.columns)...)
	}
	return found
}

// matching are the rows whose cells in columns equal those of other in its.
func matching(rows []row, columns []int, other row, its []int) []row {
	var found []row
	for _, r := range rows {
		if sameCells(r, columns, other, its) {
			found = append(found, r)
		}
	}
	return found
}

// sameCells reports whether two rows have the same cells, none of them null.
func sameCells(r row, columns []int, other row, its []int) bool {
	for i, c := range columns {
		if r[c] == nil || other[its[i]] == nil || !bytes.Equal(r[c], other[its[i]]) && identity(r[c]) != identity(other[its[i]]) {
			return false
		}
	}
	return true
}

// answers are the related rows of a row, as the relation's level answers them.
func (r *relation) answers(parent row) []record {
	var records []record
	for record, err := range r.answer(sequence(r.rows(parent))) {
		if err != nil {
			r.fail(err)
		}
		records = append(records, record)
	}
	return records
}

// embed makes the output of a relation: one JSON value.
func (r *relation) embed() output {
	return output{name: r.name, kind: kindJSON, of: func(parent row) cell {
		records := r.answers(parent)
		if !r.link.many {
			if len(records) == 0 {
				return nil
			}
			return r.object(records[0])
		}
		objects := make([]cell, len(records))
		for i, record := range records {
			objects[i] = r.object(record)
		}
		return arrayCell(objects)
	}}
}

// object is a related row as a JSON object.
func (r *relation) object(record record) cell {
	out := []byte{'{'}
	for i, o := range r.outputs {
		c := record.cells[i]
		if c == nil {
			if r.options.StripNulls {
				continue
			}
			c = cell("null")
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(sdk.AppendString(out, sdk.Rename(o.name, r.options.Naming)), ':'), c...)
	}
	return append(out, '}')
}

// spread makes the outputs of a relation whose columns become the parent's: of one row as
// they are, of many as an array each.
func (r *relation) spread() []output {
	outputs := make([]output, len(r.outputs))
	for i, o := range r.outputs {
		outputs[i] = output{name: o.name, kind: o.kind, aggregate: o.aggregate, of: func(parent row) cell {
			related := r.chosen(parent)
			if len(related) == 0 {
				return nil
			}
			if o.of == nil { // a count of rows
				return cell("true")
			}
			return o.of(related[0])
		}}
		if !r.link.many {
			continue
		}
		if o.aggregate != nil {
			r.unsupported("aggregate_in_spread", "an aggregate cannot be spread from many rows")
		}
		outputs[i] = output{name: o.name, kind: kindJSON, of: func(parent row) cell {
			records := r.answers(parent)
			list := make([]cell, len(records))
			for n, record := range records {
				list[n] = record.cells[i]
			}
			return arrayCell(list)
		}}
	}
	return outputs
}

// exist reports whether a row has related rows that the relation's filter, limit and
// offset leave. Groups and duplicates count for nothing.
func (r *relation) exist(parent row) bool {
	for range r.page(r.bare(sequence(r.rows(parent)))) {
		return true
	}
	return false
}

// chosen are the related rows that the relation's filter and inner relations leave.
func (r *relation) chosen(parent row) []row {
	var found []row
	for _, related := range r.rows(parent) {
		if r.holds(related) == 1 {
			found = append(found, related)
		}
	}
	return found
}

// relationTest compiles a test for related rows.
func (l *level) relationTest(f *sdk.Filter) test {
	r := l.relation(f.Relation)
	word := ""
	if len(f.Values) == 1 {
		word = strings.ToLower(f.Values[0].Text)
		if f.Values[0].Hint == sdk.Null {
			word = "null"
		}
	}
	if f.Operator != sdk.Is || word != "null" && word != "not_null" {
		l.fail(sdk.E(sdk.Invalid, "invalid_relation_filter", "a relation can only be tested for null or not_null"))
	}
	if r == nil {
		l.fail(sdk.E(sdk.Invalid, "relation_not_selected", fmt.Sprintf("the relation %q is not in the selection", f.Relation)).
			WithHint("select it"))
		return nil
	}
	return func(parent row) int { return truth(r.exist(parent) == (word != "null")) }
}

// relation finds a relation of the level by its name in the answer, or else its target.
func (l *level) relation(name string) *relation {
	for _, r := range l.relations {
		if r.name == name {
			return r
		}
	}
	for _, r := range l.relations {
		if r.Target == name {
			return r
		}
	}
	return nil
}

// sequence yields rows.
func sequence(rows []row) rowSeq {
	return func(yield func(row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}
