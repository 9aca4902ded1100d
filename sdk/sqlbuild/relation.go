package sqlbuild

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// cardinality is how many rows stand on both sides of a link, the parent's side first.
type cardinality uint8

const (
	manyToOne cardinality = iota
	oneToOne
	oneToMany
	manyToMany
)

var cardinalities = [...]string{"many-to-one", "one-to-one", "one-to-many", "many-to-many"}

// link is how the rows of a parent table are tied to those of another.
type link struct {
	kind  cardinality
	table *Table // the related one
	// near ties the parent to table, or to the junction; nil for a computed relationship.
	// outward says that near is the parent's own key.
	near    *ForeignKey
	outward bool
	// far ties the junction, which is far.Table, to table; nil: there is no junction.
	far *ForeignKey
	// function returns the related rows of a computed relationship; nil: keys tell them.
	function *Function
}

func (l *link) toMany() bool { return l.kind == oneToMany || l.kind == manyToMany }

// unique reports whether the database itself holds that a parent has at most one row.
func (l *link) unique() bool {
	return !l.toMany() && l.function == nil && l.table.Kind == BaseTable
}

// links are all links of a table that foreign keys make. A key of the table to itself
// makes two. Junctions of a table with itself are left out: nothing would tell the two
// directions apart.
func links(parent *Table) iter.Seq[link] {
	return func(yield func(link) bool) {
		for _, key := range parent.Foreign {
			l := link{kind: manyToOne, table: key.Target, near: key, outward: true}
			if key.Unique {
				l.kind = oneToOne
			}
			if !yield(l) {
				return
			}
		}
		for _, key := range parent.Referring {
			l := link{kind: oneToMany, table: key.Table, near: key}
			if key.Unique {
				l.kind = oneToOne
			}
			if !yield(l) {
				return
			}
		}
		for _, near := range parent.Referring {
			junction := near.Table
			if junction == parent || !contains(junction.Key, near.Columns) {
				continue
			}
			for _, far := range junction.Foreign {
				if far == near || far.Target == parent || far.Target == junction || !contains(junction.Key, far.Columns) {
					continue
				}
				if !yield(link{kind: manyToMany, table: far.Target, near: near, far: far}) {
					return
				}
			}
		}
	}
}

func contains(key, columns []string) bool {
	for _, c := range columns {
		if !slices.Contains(key, c) {
			return false
		}
	}
	return true
}

// targets are the ways in which a relation's target may name a link, the strongest first.
var targets = [...]func(l *link, parent *Table, target string) bool{
	func(l *link, _ *Table, column string) bool {
		return l.outward && !l.table.isView() && len(l.near.Columns) == 1 && l.near.Columns[0] == column
	},
	func(l *link, parent *Table, constraint string) bool {
		return l.far == nil && !l.table.isView() && l.near.Name == constraint && (l.outward || l.table != parent)
	},
	func(l *link, parent *Table, table string) bool {
		return l.table.Name == table && (!l.outward || l.table != parent)
	},
}

func (t *Table) isView() bool { return t.Kind == View || t.Kind == MaterializedView }

// hinted reports whether a hint names the link: by constraint, by the column of either
// side of a single-column key, or by the junction.
func (l *link) hinted(hint string) bool {
	if l.far != nil {
		return l.far.Table.Name == hint
	}
	return l.near.Name == hint ||
		len(l.near.Columns) == 1 && (l.near.Columns[0] == hint || l.near.TargetColumns[0] == hint)
}

// resolve finds the one link that a relation of parent means. The errors are Invalid
// undefined_relation and ambiguous_relation.
func (b *builder) resolve(parent *Table, r *sdk.Relation) (link, bool) {
	for _, f := range parent.Computed {
		if f.Name == r.Target && f.Returns.Table != nil {
			l := link{kind: manyToOne, table: f.Returns.Table, function: f}
			if f.Returns.Set && !f.Returns.One {
				l.kind = oneToMany
			}
			return l, true
		}
	}
	for i, names := range targets {
		var found []link
		best := len(b.c.Path) + 1 // how far away the schema of found is
		for l := range links(parent) {
			if !names(&l, parent, r.Target) || r.Hint != "" && !l.hinted(r.Hint) || r.Schema != "" && l.table.Schema != r.Schema {
				continue
			}
			distance := 0
			if r.Schema == "" && i == len(targets)-1 {
				distance = b.distance(parent, l.table)
			}
			if distance < best {
				best, found = distance, found[:0]
			}
			if distance == best && best <= len(b.c.Path) {
				found = append(found, l)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], true
		default:
			b.fail(ambiguousRelation(parent, r, found))
			return link{}, false
		}
	}
	b.fail(undefinedRelation(parent, r))
	return link{}, false
}

// distance ranks the schema in which a name without one is found: the parent's is 0, then
// those of the path; what is beyond them is greater than any.
func (b *builder) distance(parent, t *Table) int {
	if t.Schema == parent.Schema {
		return 0
	}
	if i := slices.Index(b.c.Path, t.Schema); i >= 0 {
		return i + 1
	}
	return len(b.c.Path) + 1
}

// relationDetails are the Details of undefined_relation and ambiguous_relation.
type relationDetails struct {
	Parent     string              `json:"parent"`
	Target     string              `json:"target"`
	Schema     string              `json:"schema"` // in which the relation was looked for
	Hint       string              `json:"hint,omitempty"`
	Suggestion string              `json:"suggestion,omitempty"` // a target that exists
	Candidates []relationCandidate `json:"candidates,omitempty"`
}

type relationCandidate struct {
	Cardinality  string `json:"cardinality"`
	Relationship string `json:"relationship"`
	Embedding    string `json:"embedding"`
	Target       string `json:"target"` // what to ask for instead
}

func (d *relationDetails) error(parent *Table, reason, message string) *sdk.Error {
	e := sdk.E(sdk.Invalid, reason, message)
	e.Schema, e.Table = parent.Schema, parent.Name
	e.Details, _ = json.Marshal(d) // strings: cannot fail
	return e
}

func detailsOf(parent *Table, r *sdk.Relation) *relationDetails {
	d := &relationDetails{Parent: parent.Name, Target: r.Target, Schema: r.Schema, Hint: r.Hint}
	if d.Schema == "" {
		d.Schema = parent.Schema
	}
	return d
}

func ambiguousRelation(parent *Table, r *sdk.Relation, found []link) *sdk.Error {
	d := detailsOf(parent, r)
	for i := range found {
		l := &found[i]
		d.Candidates = append(d.Candidates, relationCandidate{cardinalities[l.kind], l.relationship(),
			parent.Name + " with " + l.table.Name, l.hintedTarget()})
	}
	message := fmt.Sprintf("more than one relationship of %q answers to %q", parent.Name, r.Target)
	if r.Hint != "" {
		message += fmt.Sprintf(" with the hint %q", r.Hint)
	}
	return d.error(parent, "ambiguous_relation", message).WithHint("name one of them: " + hintedTargets(found))
}

// relationship describes a link by its keys.
func (l *link) relationship() string {
	if l.far != nil {
		return fmt.Sprintf("%s using %s(%s) and %s(%s)", l.far.Table.Name, l.near.Name, strings.Join(l.near.Columns, ", "),
			l.far.Name, strings.Join(l.far.Columns, ", "))
	}
	mine := fmt.Sprintf("%s(%s)", l.near.Table.Name, strings.Join(l.near.Columns, ", "))
	theirs := fmt.Sprintf("%s(%s)", l.near.Target.Name, strings.Join(l.near.TargetColumns, ", "))
	if !l.outward {
		mine, theirs = theirs, mine
	}
	return fmt.Sprintf("%s using %s and %s", l.near.Name, mine, theirs)
}

// hintedTarget is the target with the hint that tells the link from others.
func (l *link) hintedTarget() string {
	if l.far != nil {
		return l.table.Name + "!" + l.far.Table.Name
	}
	return l.table.Name + "!" + l.near.Name
}

func hintedTargets(found []link) string {
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].hintedTarget()
	}
	return strings.Join(names, ", ")
}

func undefinedRelation(parent *Table, r *sdk.Relation) *sdk.Error {
	d := detailsOf(parent, r)
	var unhinted []link  // what answers to the target, but not to the hint
	var elsewhere string // a schema that has a related table of the name
	for l := range links(parent) {
		switch {
		case l.table.Name != r.Target:
		case r.Hint != "" && !l.hinted(r.Hint):
			unhinted = append(unhinted, l)
		case l.table.Schema != d.Schema && (elsewhere == "" || l.table.Schema < elsewhere):
			elsewhere = l.table.Schema
		}
	}
	message := fmt.Sprintf("table %q has no relationship with %q", parent.Name, r.Target)
	switch {
	case len(unhinted) > 0:
		return d.error(parent, "undefined_relation", message+fmt.Sprintf(" by the hint %q", r.Hint)).
			WithHint("name one of these: " + hintedTargets(unhinted))
	case elsewhere != "":
		return d.error(parent, "undefined_relation", message+fmt.Sprintf(" in schema %q", d.Schema)).
			WithHint(fmt.Sprintf("schema %q has a related table of that name: name the schema too", elsewhere))
	}
	names := relatedNames(parent)
	if near := NearestName(r.Target, names); near != r.Target {
		d.Suggestion = near
	}
	e := d.error(parent, "undefined_relation", message)
	switch {
	case d.Suggestion != "":
		return e.WithHint(fmt.Sprintf("did you mean %q?", d.Suggestion))
	case len(names) == 0:
		return e.WithHint("no foreign key leads from or to this table")
	case len(names) <= 10:
		return e.WithHint("related are: " + strings.Join(names, ", "))
	default:
		return e
	}
}

// relatedNames are the targets that relations of a table may name, but for constraints, in
// order.
func relatedNames(parent *Table) []string {
	var names []string
	for l := range links(parent) {
		names = append(names, l.table.Name)
		if l.outward && !l.table.isView() && len(l.near.Columns) == 1 {
			names = append(names, l.near.Columns[0])
		}
	}
	for _, f := range parent.Computed {
		if f.Returns.Table != nil {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
