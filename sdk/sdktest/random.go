package sdktest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// Flavor is what Differential must know of a database beyond what its plugin declares.
type Flavor struct {
	types map[kind]string // column types in DDL; kinds without one are left out
	exact bool            // decimals keep all their digits
	// strict databases refuse literals that a column's type cannot read.
	strict bool
	// constraints can be named in hints and conflicts.
	constraints bool
	// returning says that writes return relations, in an order.
	returning bool
	// twice says that an upsert that writes one row twice fails.
	twice bool
	// views says that tables are also read through views that compute their columns.
	views bool
	// texts says that ->> makes text of every JSON value, as PostgreSQL writes it.
	texts bool
}

// The flavors.
var (
	PostgresFlavor = Flavor{
		types: map[kind]string{kindInt: "bigint", kindNumber: "numeric", kindText: `text COLLATE "C"`, kindBool: "boolean",
			kindTime: "timestamp", kindJSON: "jsonb", kindInts: "bigint[]", kindTexts: `text[] COLLATE "C"`},
		exact: true, strict: true, constraints: true, returning: true, twice: true, texts: true,
	}
	SQLiteFlavor = Flavor{types: map[kind]string{kindInt: "BIGINT", kindNumber: "NUMERIC", kindText: "TEXT", kindBool: "BOOLEAN",
		kindTime: "TIMESTAMP", kindJSON: "JSON"}, views: true}
)

// random makes random choices, the same for a seed each time.
type random struct {
	*rand.Rand
	flavor *Flavor
}

func newRandom(seed, stream uint64, f *Flavor) *random {
	return &random{rand.New(rand.NewPCG(seed, stream)), f}
}

func (r *random) chance(percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *random, list []T) T { return list[r.IntN(len(list))] }

// world is a few random tables that refer to each other, and their rows.
type world struct {
	tables      []*table
	definitions []string
	rows        map[*table][]row
	wipe, fill  []sdk.Statement
}

var columnNames = []string{"name", "qty", "price", "is_active", "made_at", "doc", "tags", "Full Name", `we"ird`, "select", "naïve"}

// newWorld makes the world of a number. Its tables are called after it.
func newWorld(number uint64, f *Flavor) *world {
	r := newRandom(number, 1, f)
	w := &world{rows: map[*table][]row{}}
	for i := range 2 + r.IntN(3) {
		w.add(r, fmt.Sprintf("w%d %s", number, pick(r, []string{"items", "People", `q"t`, "orders_of"})+string(rune('a'+i))))
	}
	if r.chance(60) {
		w.addJunction(r, fmt.Sprintf("w%d_links", number))
	}
	for _, t := range w.tables {
		w.fill = append(w.fill, w.fillTable(r, t))
		w.wipe = slices.Insert(w.wipe, 0, sdk.Statement{Verb: sdk.Delete, Table: sdk.Table{Name: t.name}, AllowAll: true})
	}
	return w
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// define parses a table and resolves its foreign keys.
func (w *world) define(name, definition string) {
	t, err := parseTable(name, definition)
	tables := map[string]*table{name: t}
	for _, other := range w.tables {
		tables[other.name] = other
	}
	if err == nil {
		err = t.resolve(tables)
	}
	if err != nil {
		panic(fmt.Sprintf("%s: %v in %s", name, err, definition))
	}
	w.tables, w.definitions = append(w.tables, t), append(w.definitions, definition)
}

// add makes a table with a key of one or two columns or, seldom, none, and references to
// tables made before and to itself.
func (w *world) add(r *random, name string) {
	parts := []string{"id int key"}
	keyed := true
	switch n := r.IntN(10); {
	case n == 0:
		parts, keyed = []string{"id int"}, false
	case n < 4:
		parts = []string{"id int key", "part text key"}
	}
	names := slices.Clone(columnNames)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i := range 2 + r.IntN(4) {
		k := pick(r, r.kinds())
		part := quoteName(names[i]) + " " + string(k)
		switch n := r.IntN(10); {
		case n < 2:
			part += " required"
		case n == 2 && (k == kindInt || k == kindText):
			part += " unique"
		}
		if r.chance(20) && k == kindInt {
			part += " default 7"
		}
		parts = append(parts, part)
	}
	for i, target := range w.tables {
		for n := range 2 {
			if keys := target.keys(); len(keys) > 0 && r.chance(55-35*n) {
				parts = append(parts, reference(target, fmt.Sprintf("t%d_%d", i, n), r.chance(10))...)
			}
		}
	}
	if keyed && !strings.Contains(parts[1], " key") && r.chance(30) {
		parts = append(parts, "parent int references "+quoteName(name)+"(id)")
	}
	w.define(name, strings.Join(parts, ", "))
}

// reference is the definition of columns that refer to a table's key.
func reference(target *table, prefix string, unique bool) []string {
	var parts, own, its []string
	for _, i := range target.keys() {
		c := target.columns[i]
		own, its = append(own, prefix+"_"+c.name), append(its, c.name)
		parts = append(parts, prefix+"_"+c.name+" "+string(c.kind))
	}
	list := "(" + strings.Join(own, ", ") + ")"
	parts = append(parts, "foreign "+list+" references "+quoteName(target.name)+"("+strings.Join(its, ", ")+")")
	if unique {
		parts = append(parts, "unique "+list)
	}
	return parts
}

// addJunction makes a table whose key is two foreign keys.
func (w *world) addJunction(r *random, name string) {
	var keyed []*table
	for _, t := range w.tables {
		if t.keyed {
			keyed = append(keyed, t)
		}
	}
	if len(keyed) < 2 {
		return
	}
	r.Shuffle(len(keyed), func(i, j int) { keyed[i], keyed[j] = keyed[j], keyed[i] })
	left, right := reference(keyed[0], "l", false), reference(keyed[1], "r", false)
	var key []string
	for _, part := range slices.Concat(left[:len(left)-1], right[:len(right)-1]) {
		key = append(key, strings.Fields(part)[0])
	}
	parts := append(slices.Concat(left, right), "key ("+strings.Join(key, ", ")+")", "weight int")
	w.define(name, strings.Join(parts, ", "))
}

func (r *random) kinds() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return r.flavor.types[k] == "" })
}

// fillTable makes the insert of a table's rows, and keeps them in rows for those that
// refer to them.
func (w *world) fillTable(r *random, t *table) sdk.Statement {
	indexes, _ := t.index(nil)
	var rows []row
	for range 4 + r.IntN(9) {
		candidate := w.row(r, t, func(f *foreignKey) []row {
			if f.target == t {
				return rows
			}
			return w.rows[f.target]
		})
		if t.enter(indexes, candidate, len(rows)) == nil {
			rows = append(rows, candidate)
		}
	}
	w.rows[t] = rows
	return sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: t.name}, Rows: sdk.Rowset{Payload: rowsJSON(t, rows), Columns: names(t)}}
}

func names(t *table) []string {
	list := make([]string, len(t.columns))
	for i, c := range t.columns {
		list[i] = c.name
	}
	return list
}

func rowsJSON(t *table, rows []row) []byte {
	list := make([]cell, len(rows))
	for n, r := range rows {
		object := []byte{'{'}
		for i, c := range r {
			if i > 0 {
				object = append(object, ',')
			}
			if c == nil {
				c = cell("null")
			}
			object = append(append(sdk.AppendString(object, t.columns[i].name), ':'), c...)
		}
		list[n] = append(object, '}')
	}
	return arrayCell(list)
}

// rowsCSV writes rows with a header line. Text arrays are not among what it can write.
func rowsCSV(t *table, rows []row) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	var out strings.Builder
	for i, c := range t.columns {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(quote(c.name))
	}
	for _, r := range rows {
		for i, c := range r {
			out.WriteByte("\n,"[min(i, 1)])
			switch k := t.columns[i].kind; {
			case c == nil:
				out.WriteString("NULL")
			case k == kindJSON:
				out.WriteString(quote(string(c)))
			case k.element() != "":
				out.WriteString(quote(arrayText(c)))
			case k == kindText || k == kindTime:
				out.WriteString(quote(text(c)))
			default:
				out.Write(c)
			}
		}
	}
	return []byte(out.String() + "\n")
}

// row makes a row whose foreign keys are null or those of rows that they can refer to.
func (w *world) row(r *random, t *table, referred func(*foreignKey) []row) row {
	made := make(row, len(t.columns))
	for i, c := range t.columns {
		switch {
		case c.name == "id":
			made[i] = cell(fmt.Sprint(1 + r.IntN(14)))
		case !c.required && r.chance(25):
		default:
			made[i] = r.cell(c.kind)
		}
	}
	for _, f := range t.foreign {
		rows := referred(f)
		required := slices.ContainsFunc(f.columns, func(i int) bool { return t.columns[i].required })
		var target row // the columns of one key come of one row
		if len(rows) > 0 && (required || r.chance(85)) {
			target = pick(r, rows)
		}
		for n, i := range f.columns {
			made[i] = nil
			if target != nil {
				made[i] = target[f.to[n]]
			}
		}
	}
	return made
}

var textPool = []string{"", "a", "A", "abc", "Abc", "abd", "b%c", "_x", "O'Brien", `say "hi"`, "naïve", "名前", "😀", `a\b`, "null", "5", "tab\there",
	" lead", "{x}", "a,b", "line\nend", "$1", "?"}

// cell makes a value, out of few so that equal ones meet.
func (r *random) cell(k kind) cell {
	switch k {
	case kindInt:
		if r.chance(6) {
			return cell("9007199254740993")
		}
		if r.flavor.exact && r.chance(4) {
			return cell(pick(r, []string{maxInt64, "-9223372036854775808", belowMaxInt}))
		}
		return cell(fmt.Sprint(r.IntN(12) - 3))
	case kindNumber:
		if r.flavor.exact && r.chance(30) {
			return cell(pick(r, []string{"0.1", "1.10", "0.30", "12345678901234567890.123456789", "-0.000001", "33.333"}))
		}
		return cell(pick(r, []string{"0", "1.5", "2.25", "-0.5", "10", "3.75", "100.125", "-7"}))
	case kindBool:
		return cell(pick(r, []string{"true", "false"}))
	case kindTime:
		return textCell(pick(r, []string{"2024-02-29T12:34:56", "2024-02-29T00:00:00", "2023-12-31T23:59:59", "2024-03-01T12:34:00", "1999-01-01T08:00:00"}))
	case kindJSON:
		return r.document()
	case kindInts, kindTexts:
		list := make([]cell, r.IntN(4))
		for i := range list {
			if !r.chance(10) {
				list[i] = r.cell(k.element())
			}
		}
		return arrayCell(list)
	default:
		return textCell(pick(r, textPool))
	}
}

// documentNumbers are in another order as texts.
var documentNumbers = []string{"0", "2", "9", "10", "11", "100"}

// document makes JSON: mostly an object with some of the keys n (an integer), s, b, o and l.
func (r *random) document() cell {
	if r.chance(12) {
		return cell(pick(r, []string{"[1,2,3]", `"text"`, "7", "true", "[]", "{}"}))
	}
	var keys []string
	for _, key := range []string{`"n":` + pick(r, documentNumbers), `"s":` + string(textCell(pick(r, textPool))), `"b":true`,
		`"o":{"x":` + fmt.Sprint(r.IntN(3)) + `,"y":[1,2]}`, `"l":[1,"two",{"k":3}]`} {
		if r.chance(60) {
			keys = append(keys, key)
		}
	}
	return cell("{" + strings.Join(keys, ",") + "}")
}

// create is the DDL of a table.
func (f *Flavor) create(t *table) string {
	var parts []string
	for _, c := range t.columns {
		part := quoteName(c.name) + " " + f.types[c.kind]
		if c.required {
			part += " NOT NULL"
		}
		if c.def != nil {
			part += " DEFAULT " + string(c.def)
		}
		parts = append(parts, part)
	}
	list := func(t *table, columns []int) string {
		quoted := make([]string, len(columns))
		for n, i := range columns {
			quoted[n] = quoteName(t.columns[i].name)
		}
		return "(" + strings.Join(quoted, ", ") + ")"
	}
	for i, u := range t.unique {
		word := " UNIQUE "
		if i == 0 && t.keyed {
			word = " PRIMARY KEY "
		}
		parts = append(parts, "CONSTRAINT "+quoteName(u.name)+word+list(t, u.columns))
	}
	for _, k := range t.foreign {
		parts = append(parts, "CONSTRAINT "+quoteName(k.name)+" FOREIGN KEY "+list(t, k.columns)+" REFERENCES "+quoteName(k.target.name)+list(k.target, k.to))
	}
	return "CREATE TABLE " + quoteName(t.name) + " (" + strings.Join(parts, ", ") + ")"
}

// viewName is the name of a table's view.
func viewName(table string) string { return table + " seen" }

// createView is the DDL of a view of a table whose numbers and texts are expressions:
// some databases know no type of these.
func createView(t *table) string {
	items := make([]string, len(t.columns))
	for i, c := range t.columns {
		items[i] = quoteName(c.name)
		if c.kind == kindInt || c.kind == kindNumber || c.kind == kindText {
			items[i] = "+" + items[i] + " AS " + items[i]
		}
	}
	return "CREATE VIEW " + quoteName(viewName(t.name)) + " AS SELECT " + strings.Join(items, ", ") + " FROM " + quoteName(t.name)
}
