package sqlbuild

import (
	"fmt"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// list is a select list while it is written.
type list struct {
	// naming is the policy for the names of a relation's columns. Those of the statement's
	// own are left to the caller.
	naming sdk.Naming
	placed bool // columns are named by their places instead, for the parent to pick
	// compared says that rows are compared with each other, by DISTINCT or GROUP BY: values
	// without equality are selected as jsonb. grouped says that it is by GROUP BY.
	compared, grouped bool
	bucket            *sdk.Bucket
	columns           int   // written so far
	groups            []int // the positions, from 1, to group by
	json              []int // see Query.JSON
	// records are those of the columns that hold records, by their places from 0.
	records map[int]*Record
}

// list is the select list that columns of the scope go to.
func (b *builder) list() *list { return b.scope.target() }

// renames reports whether columns do not keep their own names.
func (l *list) renames() bool { return l.placed || l.naming != sdk.NamesAsIs }

// output begins a column of the select list, which a level that is grouped groups by
// unless it is an aggregate.
func (b *builder) output(aggregate bool) {
	l := b.list()
	if l.columns > 0 {
		b.write(", ")
	}
	l.columns++
	if l.grouped && !aggregate {
		l.groups = append(l.groups, l.columns)
	}
}

// maxName is how many bytes a name has at most in PostgreSQL, which cuts longer ones short
// without a word.
const maxName = 63

// as names the column that has just been written.
func (b *builder) as(name string) {
	l := b.list()
	if name = sdk.Rename(name, l.naming); !b.d.sqlite && len(name) > maxName {
		b.fail(sdk.E(sdk.Invalid, "invalid_identifier", fmt.Sprintf("%q cannot be a name in an answer: it has %d bytes", name, len(name))).
			WithHint(fmt.Sprintf("give it an alias of at most %d bytes", maxName)))
	}
	if l.placed {
		name = place(l.columns - 1)
	}
	b.write(" AS ")
	b.quote(name)
}

// items writes the select list of a level. star qualifies a star; "" leaves it bare.
func (b *builder) items(selection *sdk.Selection, star string) {
	l := &b.scope.list
	grouped := aggregated(selection)
	*l = list{naming: l.naming, placed: l.placed, grouped: grouped, compared: grouped || selection.Distinct, bucket: selection.Bucket}
	b.entries(selection, star)
	if l.columns == 0 && b.d.sqlite {
		b.unsupported("empty_selection", "rows of no columns")
	}
}

// entries writes what a selection adds to the select list.
func (b *builder) entries(selection *sdk.Selection, star string) {
	if selection.Bucket != nil {
		b.bucket(selection.Bucket)
	}
	if len(selection.Items) == 0 && !selection.None {
		b.star(star)
		return
	}
	for i := range selection.Items {
		item := &selection.Items[i]
		switch {
		case item.Kind == sdk.ItemRelation || item.Relation != nil:
			b.embedItem(item)
		case item.Aggregate != "":
			b.aggregate(item)
		case item.Kind == sdk.ItemStar:
			b.star(star)
		default:
			b.item(item)
		}
		if b.err != nil {
			return
		}
	}
}

// star writes all columns: as a star if the database may answer with them as they are.
func (b *builder) star(qualifier string) {
	l := b.list()
	columns := b.scope.table.Columns
	bare := !l.grouped && !l.renames() && !b.scope.records // whoever reads records knows the number of columns
	for i := range columns {
		c := &columns[i]
		wrap, _ := b.wrapping(c.AsJSON, c.Class, c.Type)
		bare = bare && wrap == "" && !b.storedTime(c)
	}
	if !bare {
		for i := range columns {
			b.output(false)
			b.selected(&columns[i], castType{}, "")
		}
		return
	}
	b.output(false)
	l.columns += len(columns) - 1
	if qualifier != "" {
		b.quote(qualifier)
		b.write(".")
	}
	b.write("*")
}

// item writes a column, a computed column or a place in JSON.
func (b *builder) item(item *sdk.Item) {
	o, ok := b.operand(&item.Column)
	cast, after := b.cast(item.Cast), b.cast(item.CastAfter)
	if !ok {
		return
	}
	b.output(false)
	if o.function == nil && len(o.path) == 0 && item.CastAfter == "" {
		b.selected(o.column, cast, item.Alias)
		return
	}
	value, asJSON := castType{postgres: o.typ, class: o.class}, o.column.AsJSON && len(o.path) == 0
	for _, c := range [...]castType{cast, after} {
		if c.postgres != "" {
			value, asJSON = c, false
		}
	}
	wrap, end := b.wrapping(asJSON, value.class, value.postgres)
	b.write(wrap)
	b.casted(after, func() { b.casted(cast, func() { b.reference(&o) }) })
	b.write(end)
	b.isJSON(value.class)
	name := item.Alias
	if name == "" {
		name = named(&item.Column)
	}
	b.as(name)
}

// selected writes a column, with the name that it has in the answer wherever the database
// would name it otherwise.
func (b *builder) selected(c *Column, cast castType, alias string) {
	class, typ, asJSON := c.Class, c.Type, c.AsJSON
	if cast.postgres != "" {
		class, typ, asJSON = cast.class, cast.postgres, false
		b.isJSON(class)
	} else if b.storedTime(c) {
		b.write("+")
	}
	wrap, end := b.wrapping(asJSON, class, typ)
	b.write(wrap)
	b.casted(cast, func() { b.column(c) })
	b.write(end)
	switch {
	case alias != "":
		b.as(alias)
	case b.d.sqlite || cast.postgres != "" || wrap != "" || b.list().renames():
		b.as(c.Name)
	}
}

// wrapping is what stands around a value so that it can be selected; "" for most.
func (b *builder) wrapping(asJSON bool, class Class, typ string) (before, behind string) {
	compared := b.list().compared
	switch {
	case b.d.sqlite:
	case asJSON && (b.o.Format == sdk.FormatCSV || b.o.Format == sdk.FormatRaw || b.o.Format == sdk.FormatGeoJSON):
	case compared && (asJSON || class == ClassJSON && typ != "jsonb"): // json has no equality
		return "to_jsonb(", ")"
	case asJSON:
		return "to_json(", ")"
	}
	return "", ""
}

// storedTime reports whether c is selected as an expression, so that it has no declared
// type: Go's SQLite drivers turn columns declared as times into time.Time, and the text
// as it was stored is lost.
func (b *builder) storedTime(c *Column) bool {
	return b.d.sqlite && c.Class == ClassTime
}

// isJSON notes that the column just written, an expression of a class, may be JSON.
func (b *builder) isJSON(class Class) {
	if b.d.sqlite && class == ClassJSON {
		l := b.list()
		l.json = append(l.json, l.columns-1)
	}
}

// order writes ORDER BY. The column of the level's time bucket sorts by the bucket.
func (b *builder) order(terms []sdk.Order) {
	for i := range terms {
		term := &terms[i]
		if i == 0 {
			b.write(" ORDER BY ")
		} else {
			b.write(", ")
		}
		bucket := b.scope.list.bucket
		switch {
		case term.Relation != "":
			b.orderRelation(term)
		case bucket != nil && sameColumn(&bucket.Column, &term.Column):
			b.write("1")
		default:
			b.sortKey(&term.Column)
		}
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

// sortKey writes what a term sorts by.
func (b *builder) sortKey(ref *sdk.Column) {
	o, ok := b.operand(ref)
	if !ok {
		return
	}
	o.byValue = true // 10 is more than 9
	wrap, end := "", ""
	switch {
	case b.list().compared: // rows that are compared sort by what is in the list
		wrap, end = b.wrapping(o.column.AsJSON && len(o.path) == 0, o.class, o.typ)
	case !b.d.sqlite && o.class == ClassJSON && o.typ != "jsonb": // json has no order
		wrap, end = "to_jsonb(", ")"
	}
	b.write(wrap)
	b.reference(&o)
	b.write(end)
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
