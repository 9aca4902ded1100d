package sdktest

import (
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// generator makes random calls for the tables of a world, of what capabilities declare.
type generator struct {
	*random
	*world
	capabilities *sdk.Capabilities
	probe        *tx // finds links
	aliases      int
}

func newGenerator(seed uint64, w *world, f *Flavor, c *sdk.Capabilities) *generator {
	g := &generator{random: newRandom(seed, 2, f), world: w, capabilities: c, probe: &tx{tables: map[string]*table{}}}
	for _, t := range w.tables {
		g.probe.tables[t.name] = t
	}
	return g
}

// call makes a call of one statement, or of several in one transaction.
func (g *generator) call() *sdk.Call {
	call := &sdk.Call{}
	n := 1
	if g.capabilities.Transactions && g.chance(20) {
		n = 2 + g.IntN(3)
		call.Tx.Single = g.chance(75)
		call.Tx.Rollback = call.Tx.Single && g.chance(10)
	}
	for range n {
		call.Statements = append(call.Statements, g.statement())
	}
	if g.chance(7) { // the first: others may be refused before it is executed, or after
		g.spoil(&call.Statements[0])
	}
	reads := slices.ContainsFunc(call.Statements, func(s sdk.Statement) bool { return s.ReadOnly() })
	if g.capabilities.Transactions && !reads && (n == 1 || call.Tx.Single) && g.chance(10) {
		call.Expect.MaxAffected = ptr(int64(g.IntN(4)))
	}
	if n == 1 && call.Statements[0].Verb == sdk.Select {
		g.options(call)
	}
	return call
}

// options are how the rows of a Select are asked for.
func (g *generator) options(call *sdk.Call) {
	s := &call.Statements[0]
	switch n := g.IntN(100); {
	case n < 5:
		call.Result.Naming = sdk.NamesCamel
	case n < 9 && !slices.ContainsFunc(s.Selection.Items, func(i sdk.Item) bool { return i.Relation != nil }):
		call.Result.StripNulls = true
	case n < 12:
		call.Result.Format = sdk.FormatNone
	case n < 16 && len(s.Order) > 0:
		call.Result.MaxRows, call.Result.CapRows = int64(1+g.IntN(4)), true
	case n < 20:
		call.Result.Format = sdk.FormatObject
	}
}

func (g *generator) statement() sdk.Statement {
	t := pick(g.random, g.tables)
	s := sdk.Statement{Table: sdk.Table{Name: t.name}}
	switch n := g.IntN(100); {
	case n < 52:
		g.selects(t, &s)
	case n < 60:
		s.Verb = sdk.Count
		g.filters(t, &s)
	case n < 78:
		g.inserts(t, &s)
	case n < 90:
		s.Verb = sdk.Update
		for _, c := range g.some(t, 1+g.IntN(2)) {
			s.Set = append(s.Set, g.assignment(c))
		}
		if g.chance(30) {
			s.Set, s.SetObject = nil, g.object(g.some(t, 1+g.IntN(2)))
		}
		g.chooses(t, &s)
	default:
		s.Verb = sdk.Delete
		g.chooses(t, &s)
	}
	return s
}

func (g *generator) selects(t *table, s *sdk.Statement) {
	s.Verb = sdk.Select
	part := g.part(t, 3, false)
	s.Selection, s.Filter, s.Order, s.Limit, s.Offset = part.selection, part.filter, part.order, part.limit, part.offset
	if g.chance(8) && t.keyed {
		s.Key = g.keyOf(t)
	}
	if g.chance(25) {
		s.Count = sdk.CountExact
	}
}

func (g *generator) filters(t *table, s *sdk.Statement) {
	if g.chance(85) {
		s.Filter = g.filter(t, 4, nil)
	}
}

// keyOf is the primary key of a row that exists, or seldom of none.
func (g *generator) keyOf(t *table) []sdk.Value {
	values := make([]sdk.Value, len(t.keys()))
	from := pick(g.random, g.rows[t])
	for n, i := range t.keys() {
		values[n] = sdk.Value{Text: text(from[i])}
	}
	if g.chance(10) {
		values[0].Text = "98"
		if t.columns[t.keys()[0]].kind == kindText {
			values[0].Text = "none"
		}
	}
	return values
}

// some are n columns, seldom of the key.
func (g *generator) some(t *table, n int) []column {
	var list []column
	for i, c := range t.columns {
		if !slices.Contains(t.keys(), i) || g.chance(10) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return t.columns[:1]
	}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// assignment sets a column, seldom to its default.
func (g *generator) assignment(c column) sdk.SetItem {
	if g.capabilities.Defaults && g.chance(10) {
		return sdk.SetItem{Column: c.name, Default: true}
	}
	return sdk.SetItem{Column: c.name, Value: g.assigned(c)}
}

// assigned is a value for a column, with the hint that JSON would give it.
func (g *generator) assigned(c column) sdk.Value {
	if g.chance(15) && (!c.required || g.chance(10)) {
		return sdk.Value{Hint: sdk.Null}
	}
	if c.kind == kindJSON && g.chance(20) {
		return sdk.Value{Hint: sdk.String, Text: pick(g.random, textPool)}
	}
	return g.value(c.kind)
}

// value makes a value of a kind with its hint.
func (g *generator) value(k kind) sdk.Value {
	c := g.cell(k)
	switch {
	case k == kindInt || k == kindNumber:
		return sdk.Value{Hint: sdk.Number, Text: string(c)}
	case k == kindBool:
		return sdk.Value{Hint: sdk.Bool, Text: string(c)}
	case k == kindJSON || k.element() != "":
		return sdk.Value{Hint: sdk.JSON, Text: string(c)}
	default:
		return sdk.Value{Hint: sdk.String, Text: text(c)}
	}
}

func (g *generator) object(columns []column) []byte {
	out := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			out = append(out, ',')
		}
		value := g.cell(c.kind)
		if g.chance(15) && !c.required {
			value = cell("null")
		}
		out = append(append(sdk.AppendString(out, c.name), ':'), value...)
	}
	return append(out, '}')
}

// inserts makes an insert, often of rows that exist already with what to do then.
func (g *generator) inserts(t *table, s *sdk.Statement) {
	s.Verb = sdk.Insert
	rows := make([]row, 1+g.IntN(3))
	upsert := g.capabilities.Conflict && t.keyed && g.chance(50)
	indexes, _ := t.index(nil)
	for n := range rows {
		rows[n] = g.row(g.random, t, func(f *foreignKey) []row { return g.rows[f.target] })
		if upsert && g.chance(60) {
			old := pick(g.random, g.rows[t])
			for _, i := range t.keys() {
				rows[n][i] = old[i]
			}
		} else if i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == "id" }); i >= 0 && g.chance(80) {
			rows[n][i] = cell(fmt.Sprint(100 + g.IntN(50)))
		}
	}
	if upsert && !g.flavor.twice {
		rows = slices.DeleteFunc(rows, func(r row) bool { return t.enter(indexes, r, 0) != nil })
	}
	s.Rows = sdk.Rowset{Payload: rowsJSON(t, rows), Columns: names(t), MissingDefault: g.chance(30)}
	if len(rows) == 1 && g.chance(50) {
		s.Rows.Payload = s.Rows.Payload[1 : len(s.Rows.Payload)-1]
	}
	if g.capabilities.CSV && g.chance(15) && !slices.ContainsFunc(t.columns, func(c column) bool { return c.kind == kindTexts }) {
		s.Rows = sdk.Rowset{Format: sdk.RowsCSV, Payload: rowsCSV(t, rows), Columns: names(t)}
	}
	if g.chance(20) { // leave the last columns to their defaults
		s.Rows.Columns = s.Rows.Columns[:max(1, len(s.Rows.Columns)-g.IntN(3))]
	}
	if upsert {
		s.Conflict = g.onConflict(t)
	}
	g.returns(t, s)
}

func (g *generator) onConflict(t *table) *sdk.OnConflict {
	c := &sdk.OnConflict{Update: g.chance(65)}
	switch n := g.IntN(3); {
	case n == 0:
		for _, i := range t.keys() {
			c.Columns = append(c.Columns, t.columns[i].name)
		}
	case n == 1 && g.flavor.constraints:
		c.Constraint = t.unique[0].name
	}
	if c.Update && g.chance(30) {
		for _, column := range g.some(t, 1) {
			c.Set = append(c.Set, g.assignment(column))
		}
	} else if c.Update && g.chance(20) {
		c.SetObject = g.object(g.some(t, 1))
	}
	return c
}

// chooses says which rows an update or delete is about.
func (g *generator) chooses(t *table, s *sdk.Statement) {
	switch n := g.IntN(10); {
	case n < 3 && t.keyed:
		s.Key = g.keyOf(t)
	case n == 3:
		s.AllowAll = true
	default:
		s.Filter = g.filter(t, 3, nil)
		s.AllowAll = !compares(s.Filter)
	}
	if t.keyed && g.chance(25) {
		s.Order = g.total(t, nil)
		s.Limit = ptr(int64(g.IntN(4)))
		if g.chance(30) {
			s.Offset = ptr(int64(g.IntN(3)))
		}
	}
	g.returns(t, s)
}

// returns says what a write answers with. Relations that may lead to the written table
// itself are left out: databases differ in whether they see it before or after the write.
func (g *generator) returns(t *table, s *sdk.Statement) {
	if !g.capabilities.Returning || g.chance(40) || s.Limit != nil && !g.flavor.returning {
		return
	}
	if g.chance(25) && t.keyed {
		s.Returning = sdk.ReturnKeys
		return
	}
	s.Returning = sdk.ReturnSelection
	s.Selection.Items = g.columns(t, false)
	if !g.flavor.returning {
		return
	}
	for _, link := range g.references(t) {
		if link.target != t && (link.through == nil || link.through.table != t) && g.chance(25) {
			s.Selection.Items = append(s.Selection.Items, g.relation(link, 1, false))
		}
	}
	if t.keyed && len(s.Order) == 0 && g.chance(30) {
		s.Order = g.total(t, nil)
	}
}

// spoil makes a statement fail.
func (g *generator) spoil(s *sdk.Statement) {
	missing := sdk.Column{Name: "no_such_column"}
	switch n := g.IntN(7); {
	case n == 0:
		s.Table.Name = "no_such_table"
	case n == 1 && s.Verb != sdk.Insert:
		s.Filter = &sdk.Filter{Column: missing, Operator: sdk.Eq, Values: []sdk.Value{{Text: "1"}}}
	case n == 2 && (s.Verb == sdk.Update || s.Verb == sdk.Delete):
		s.Filter, s.Key, s.AllowAll = nil, nil, false
	case n == 3 && s.Verb == sdk.Update:
		s.Set, s.SetObject = []sdk.SetItem{{Column: missing.Name, Value: sdk.Value{Text: "1"}}}, nil
	case n >= 4 && s.Verb == sdk.Select && g.capabilities.Relations:
		relation := &sdk.Relation{Target: "no_such_relation"}
		if links := g.probe.links(g.probe.tables[s.Table.Name]); len(links) > 0 && g.chance(50) {
			relation.Target = pick(g.random, links).target.name // which may be ambiguous
		}
		relation.Selection.None = true
		s.Selection = sdk.Selection{Items: []sdk.Item{{Kind: sdk.ItemStar}, {Kind: sdk.ItemRelation, Relation: relation}}}
		s.Order, s.Filter, s.Limit, s.Offset = nil, nil, nil, nil
	case s.Verb == sdk.Select:
		s.Selection = sdk.Selection{Items: []sdk.Item{{Column: missing}}}
		s.Order, s.Filter = nil, nil
	case s.Verb == sdk.Insert:
		s.Rows.Columns = append(slices.Clone(s.Rows.Columns), missing.Name)
	default:
		s.Key = []sdk.Value{{Text: "1"}, {Text: "2"}, {Text: "3"}, {Text: "4"}, {Text: "5"}}
	}
}
