package sqlbuild

import (
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// slot is a column of a relation's level that the parent's level picks by its place,
// counted from 0: names may occur twice.
type slot struct {
	name   string // in the answer
	class  Class
	typ    string  // in PostgreSQL; "" unknown
	made   bool    // JSON that the statement itself makes, of a relation
	record *Record // of a relation that is records instead
}

// place is the name of the column at a place.
func place(i int) string { return "_" + strconv.Itoa(i+1) }

// slot writes the column at a place of a derived table.
func (b *builder) slot(alias string, i int) {
	b.quote(alias)
	b.write(".")
	b.quote(place(i))
}

// placed writes the level of a relation with its columns named by their places.
func (b *builder) placed(r *related) {
	b.scope.list.placed = true
	b.query(b.relationLevel(r))
}

// slots are the columns of the level of s.
func (b *builder) slots(s *scope, selection *sdk.Selection) (slots []slot) {
	b.within(s, func() {
		if selection.Bucket != nil {
			slots = append(slots, slot{name: named(&selection.Bucket.Column), class: ClassText})
		}
		if len(selection.Items) == 0 {
			slots = s.starSlots(slots)
		}
		for i := range selection.Items {
			item := &selection.Items[i]
			switch {
			case item.Relation != nil:
				slots = append(slots, b.relationSlots(item)...)
			case item.Kind == sdk.ItemStar:
				slots = s.starSlots(slots)
			default:
				slots = append(slots, b.itemSlot(item))
			}
		}
	})
	return slots
}

func (s *scope) starSlots(slots []slot) []slot {
	for i := range s.table.Columns {
		c := &s.table.Columns[i]
		slots = append(slots, slot{name: c.Name, class: c.Class, typ: c.selectedType()})
	}
	return slots
}

// relationSlots are the columns that a relation of the current scope adds to it.
func (b *builder) relationSlots(item *sdk.Item) []slot {
	r := b.scope.relation(item)
	switch {
	case r == nil || !shown(item.Relation):
		return nil
	case !item.Relation.Spread:
		return []slot{{name: r.name(), class: ClassJSON, typ: "json", made: true, record: r.record}}
	}
	slots := b.slots(r.scope, &item.Relation.Selection)
	for i := range slots {
		if r.toMany() {
			slots[i] = slot{name: slots[i].name, class: ClassJSON, typ: "json", made: true}
		}
	}
	return slots
}

// itemSlot is the column that an item other than a star or a relation makes.
func (b *builder) itemSlot(item *sdk.Item) slot {
	s := slot{name: item.Alias, class: ClassNumber}
	if item.Aggregate == "count" {
		s.typ = "bigint"
	}
	if item.Aggregate == "" || item.Aggregate == "min" || item.Aggregate == "max" {
		o, ok := b.operand(&item.Column)
		if !ok {
			return s
		}
		s.class, s.typ = o.class, o.typ
		if len(o.path) == 0 {
			s.typ = o.column.selectedType()
		}
		if item.Cast != "" {
			cast := b.cast(item.Cast)
			s.class, s.typ = cast.class, cast.postgres
		}
	}
	if item.CastAfter != "" {
		cast := b.cast(item.CastAfter)
		s.class, s.typ = cast.class, cast.postgres
	}
	switch {
	case s.name != "":
	case item.Aggregate != "":
		s.name = item.Aggregate
	default:
		s.name = named(&item.Column)
	}
	return s
}

// jsonSQLite writes the JSON of a relation's rows, from its level. Objects are made of
// their columns one by one: SQLite has no rows that are values.
func (b *builder) jsonSQLite(r *related) {
	if r.toMany() {
		b.write("json_group_array(")
	}
	end := ""
	switch {
	case !b.o.StripNulls:
	case b.nests(r): // only the row's own nulls
		b.write("json((SELECT json_group_object(_.key, json(CASE _.type WHEN 'object' THEN _.value WHEN 'array' THEN _.value " +
			"WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE json_quote(_.value) END)) FROM json_each(")
		end = ") AS _ WHERE _.type <> 'null'))"
	default:
		b.write("json_patch('{}', ") // leaves out what is null
		end = ")"
	}
	b.write("json_object(")
	for i, s := range b.slots(r.scope, &r.item.Relation.Selection) {
		if i > 0 {
			b.write(", ")
		}
		b.bind(sdk.Value{Hint: sdk.String, Text: sdk.Rename(s.name, b.o.Naming)})
		b.write(", ")
		b.jsonValue(r.rows, i, &s)
	}
	b.write(")")
	b.write(end)
	if r.toMany() {
		b.write(")")
	}
	b.write(" FROM (")
	b.within(r.scope, func() { b.placed(r) })
	b.write(")")
}

// How SQLite shows the value @ in JSON as rows of the statement itself show it: bytes in
// hexadecimal, reals without needless decimals, booleans and JSON as such.
const (
	jsonBytes = `CASE typeof(@) WHEN 'blob' THEN '\x' || lower(hex(@))`
	jsonPlain = jsonBytes + ` WHEN 'real' THEN CASE @ WHEN CAST(@ AS INTEGER) THEN CAST(@ AS INTEGER) WHEN 9e999 THEN 'Infinity' WHEN -9e999 THEN '-Infinity' ELSE @ END ELSE @ END`
	jsonBool  = `json(CASE @ WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE json_quote(` + jsonPlain + `) END)`
	jsonJSON  = `json(CASE WHEN typeof(@) = 'text' AND json_valid(@) THEN @ ELSE json_quote(` + jsonPlain + `) END)`
)

// jsonValue writes the column at a place as an argument of a JSON function.
func (b *builder) jsonValue(alias string, i int, s *slot) {
	form := jsonPlain
	switch {
	case s.made:
		form = "json(@)"
	case s.class == ClassText:
		form = jsonBytes + " ELSE @ END"
	case s.class == ClassBool:
		form = jsonBool
	case s.class == ClassJSON:
		form = jsonJSON
	}
	for text, rest, more := strings.Cut(form, "@"); ; text, rest, more = strings.Cut(rest, "@") {
		b.write(text)
		if !more {
			return
		}
		b.slot(alias, i)
	}
}
