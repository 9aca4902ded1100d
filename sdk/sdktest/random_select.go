package sdktest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// part is a random level of a select tree.
type part struct {
	selection     sdk.Selection
	filter        *sdk.Filter
	order         []sdk.Order
	limit, offset *int64
}

// alias is a name that no other item has.
func (g *generator) alias() string {
	g.aliases++
	return pick(g.random, []string{"k", "some_name", "a b", `q"`}) + fmt.Sprint(g.aliases)
}

// part makes a level with relations up to depth levels below. The items of one that is
// spread all have names of their own.
func (g *generator) part(t *table, depth int, spread bool) part {
	var p part
	switch n := g.IntN(100); {
	case n < 14 && g.capabilities.Aggregates:
		g.grouped(t, &p, spread)
	case n < 20:
		p.selection.Distinct = true
		for _, c := range g.sortable(t) {
			p.selection.Items = append(p.selection.Items, sdk.Item{Column: sdk.Column{Name: c}, Alias: g.aliasIf(spread)})
			p.order = append(p.order, g.sorted(c))
		}
		if len(p.selection.Items) == 0 {
			p.selection.Distinct = false
		}
	default:
		p.selection.Items = g.columns(t, spread)
		g.relations(t, &p, depth, spread)
		if t.keyed && g.chance(70) {
			p.order = g.total(t, p.selection.Items)
		}
	}
	if g.chance(55) {
		p.filter = g.filter(t, 4, p.selection.Items)
	}
	if len(p.order) > 0 {
		g.page(&p)
	}
	return p
}

func (g *generator) aliasIf(needed bool) string {
	if !needed {
		return ""
	}
	return g.alias()
}

func (g *generator) page(p *part) {
	if g.chance(35) {
		p.limit = ptr(int64(g.IntN(6)))
	}
	if g.chance(20) {
		p.offset = ptr(int64(g.IntN(4)))
	}
}

// columns are items of columns: all, or some with paths, casts and aliases.
func (g *generator) columns(t *table, spread bool) []sdk.Item {
	if !spread && g.chance(25) {
		return []sdk.Item{{Kind: sdk.ItemStar}}
	}
	var items []sdk.Item
	for _, c := range t.columns {
		if g.chance(50) || len(items) == 0 {
			items = append(items, sdk.Item{Column: sdk.Column{Name: c.name}, Alias: g.aliasIf(spread)})
		}
		if c.kind == kindJSON && g.capabilities.JSONPaths && g.chance(60) {
			items = append(items, sdk.Item{Column: g.path(c.name), Alias: g.alias()})
		}
		if types := map[kind][]string{kindInt: {"text", "numeric", "bigint"}, kindText: {"text"}, kindNumber: {"numeric"}}; g.flavor.strict {
			types[kindBool], types[kindNumber] = []string{"text"}, []string{"text", "numeric"}
			types[kindJSON], types[kindInts], types[kindTime] = []string{"text"}, []string{"text"}, []string{"text"}
			if list := types[c.kind]; list != nil && g.chance(15) {
				items = append(items, sdk.Item{Column: sdk.Column{Name: c.name}, Cast: pick(g.random, list), Alias: g.alias()})
			}
		}
	}
	g.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items
}

// path is a place in a document.
func (g *generator) path(name string) sdk.Column {
	key := func(name string) sdk.PathStep { return sdk.PathStep{Key: name} }
	index := func(i int64) sdk.PathStep { return sdk.PathStep{Index: i, IsIndex: true} }
	paths := [][]sdk.PathStep{{key("s")}, {key("n")}, {key("b")}, {key("o")}, {key("o"), key("x")}, {key("l"), index(1)}, {key("l"), index(2), key("k")},
		{key("none")}, {key("o"), key("y"), index(0)}, {key("l")}, {key("o"), key("y"), index(-1)}, {key(`q"u'o\te`)}}
	c := sdk.Column{Name: name, Path: slices.Clone(pick(g.random, paths))}
	if g.chance(50) {
		last := &c.Path[len(c.Path)-1]
		last.Text = g.flavor.texts || last.Key == "s"
	}
	return c
}

// sortable are names of some columns that have an order and an equality everywhere.
func (g *generator) sortable(t *table) []string {
	var list []string
	for _, c := range t.columns {
		if c.kind != kindJSON && c.kind.element() == "" && g.chance(50) {
			list = append(list, c.name)
		}
	}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), 3)]
}

func (g *generator) sorted(column string) sdk.Order {
	return sdk.Order{Column: sdk.Column{Name: column}, Descending: g.chance(40), Nulls: g.nulls()}
}

// nulls says where nulls sort: always, since databases have defaults of their own.
func (g *generator) nulls() sdk.Nulls {
	if g.flavor.strict && g.chance(40) {
		return sdk.NullsDefault
	}
	return pick(g.random, []sdk.Nulls{sdk.NullsFirst, sdk.NullsLast})
}

// total is an order that ends with the primary key. items may hold relations to sort by.
func (g *generator) total(t *table, items []sdk.Item) []sdk.Order {
	var order []sdk.Order
	for _, c := range g.sortable(t) {
		order = append(order, g.sorted(c))
	}
	for _, c := range t.columns {
		if c.kind == kindJSON && g.capabilities.JSONPaths && g.chance(35) {
			step := pick(g.random, []sdk.PathStep{{Key: "s", Text: true}, {Key: "n"}})
			path := sdk.Column{Name: c.name, Path: []sdk.PathStep{step}}
			order = slices.Insert(order, 0, sdk.Order{Column: path, Descending: g.chance(50), Nulls: g.nulls()})
		}
	}
	for i := range items {
		if r := items[i].Relation; r != nil && g.chance(25) {
			if links := g.meant(t, r); len(links) == 1 && !links[0].many {
				o := g.sorted(pick(g.random, append(g.sortable(links[0].target), links[0].target.columns[0].name)))
				o.Relation = items[i].Alias
				order = append(order, o)
			}
		}
	}
	for _, i := range t.keys() {
		order = append(order, g.sorted(t.columns[i].name))
	}
	return order
}

// grouped makes aggregates over groups by some columns or a bucket.
func (g *generator) grouped(t *table, p *part, spread bool) {
	for _, c := range t.columns {
		if c.kind == kindTime && g.chance(50) && !spread {
			p.selection.Bucket = &sdk.Bucket{Column: sdk.Column{Name: c.name}, Granularity: pick(g.random, []string{"minute", "hour", "day", "week", "month", "quarter", "year"})}
			p.order = append(p.order, g.sorted(c.name))
			break
		}
	}
	by := g.sortable(t)
	for _, c := range by[:min(len(by), 2)] {
		if p.selection.Bucket == nil || p.selection.Bucket.Column.Name != c {
			p.selection.Items = append(p.selection.Items, sdk.Item{Column: sdk.Column{Name: c}, Alias: g.aliasIf(spread)})
			p.order = append(p.order, g.sorted(c))
		}
	}
	for range 1 + g.IntN(3) {
		c := pick(g.random, t.columns)
		names := []string{"count"}
		switch c.kind {
		case kindInt, kindNumber:
			names = append(names, "sum", "avg", "min", "max")
		case kindText, kindTime:
			names = append(names, "min", "max")
		}
		item := sdk.Item{Column: sdk.Column{Name: c.name}, Aggregate: pick(g.random, names), Alias: g.alias()}
		if g.flavor.strict && item.Aggregate != "count" && c.kind == kindInt && g.chance(20) {
			item.Cast = "numeric"
		}
		if g.flavor.strict && g.chance(15) {
			item.CastAfter = "text"
		}
		if g.chance(20) {
			item = sdk.Item{Aggregate: "count", Alias: g.alias()}
		}
		p.selection.Items = append(p.selection.Items, item)
	}
	if g.flavor.strict && !spread && g.chance(30) {
		g.groupedByRelation(t, p)
	}
}

// groupedByRelation adds a to-one relation to groups: embedded, or spread with a column
// and an aggregate. Their order is not total any more.
func (g *generator) groupedByRelation(t *table, p *part) {
	for _, ref := range g.references(t) {
		if ref.many || g.chance(50) {
			continue
		}
		r := &sdk.Relation{Target: ref.name, Hint: ref.hint, Spread: g.chance(60)}
		r.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: ref.target.columns[0].name}, Alias: g.alias()}}
		if c := pick(g.random, ref.target.columns); r.Spread {
			r.Selection.Items = append(r.Selection.Items, sdk.Item{Column: sdk.Column{Name: c.name}, Aggregate: "count", Alias: g.alias()})
		}
		p.selection.Items = append(p.selection.Items, sdk.Item{Kind: sdk.ItemRelation, Relation: r, Alias: g.alias()})
		p.order = nil
		return
	}
}

// relationRef is a link with a target and a hint that mean no other.
type relationRef struct {
	*link
	name, hint string
}

// references are ways to say each link of a table that can be said.
func (g *generator) references(t *table) []relationRef {
	if !g.capabilities.Relations {
		return nil
	}
	var found []relationRef
	for _, l := range g.probe.links(t) {
		says := []relationRef{{l, l.target.name, ""}}
		if l.through != nil {
			says = append(says, relationRef{l, l.target.name, l.through.table.name})
		} else {
			if g.flavor.constraints {
				says = append(says, relationRef{l, l.target.name, l.key.name})
			}
			if l.own && g.flavor.constraints {
				says = append(says, relationRef{l, l.key.name, ""})
			}
			if len(l.key.columns) == 1 && l.own {
				column := t.columns[l.from[0]].name
				says = append(says, relationRef{l, column, ""}, relationRef{l, l.target.name, column})
			} else if len(l.key.columns) == 1 {
				says = append(says, relationRef{l, l.target.name, l.target.columns[l.to[0]].name})
			}
		}
		g.Shuffle(len(says), func(i, j int) { says[i], says[j] = says[j], says[i] })
		for _, say := range says {
			if meant := g.meant(t, &sdk.Relation{Target: say.name, Hint: say.hint}); len(meant) == 1 && sameLink(meant[0], l) {
				found = append(found, say)
				break
			}
		}
	}
	return found
}

func sameLink(a, b *link) bool {
	if a.through != nil && b.through != nil {
		return *a.through == *b.through
	}
	return a.key == b.key && a.own == b.own && (a.through == nil) == (b.through == nil)
}

// meant are the links that a relation can mean.
func (g *generator) meant(t *table, r *sdk.Relation) []*link {
	return slices.DeleteFunc(g.probe.links(t), func(l *link) bool { return !l.matches(t, r.Target, r.Hint) })
}

func (g *generator) relations(t *table, p *part, depth int, spread bool) {
	if depth == 0 {
		return
	}
	for _, ref := range g.references(t) {
		if g.chance(30) {
			p.selection.Items = append(p.selection.Items, g.relation(ref, depth, spread))
		}
	}
}

// relation makes an item of a related table.
func (g *generator) relation(ref relationRef, depth int, spread bool) sdk.Item {
	r := &sdk.Relation{Target: ref.name, Hint: ref.hint, Inner: g.chance(20), Spread: g.chance(20)}
	item := sdk.Item{Kind: sdk.ItemRelation, Relation: r, Alias: g.alias()}
	nested := g.part(ref.target, depth-1, r.Spread || spread)
	r.Selection, r.Filter, r.Order, r.Limit, r.Offset = nested.selection, nested.filter, nested.order, nested.limit, nested.offset
	plain := func() {
		r.Selection = sdk.Selection{Items: slices.DeleteFunc(g.columns(ref.target, true), func(i sdk.Item) bool { return i.Kind == sdk.ItemStar })}
		r.Filter, r.Order = nil, nil
	}
	aggregated := slices.ContainsFunc(r.Selection.Items, func(i sdk.Item) bool { return i.Aggregate != "" }) || r.Selection.Bucket != nil
	switch {
	case ref.many && (len(r.Order) == 0 || r.Spread && (aggregated || r.Selection.Distinct)):
		// The rows of an answer's arrays are in an order, and so of one that no two share.
		if r.Spread && (aggregated || r.Selection.Distinct) {
			plain()
		}
		if !aggregated && !r.Selection.Distinct || r.Spread {
			r.Order = g.total(ref.target, nil)
		}
		if len(r.Order) == 0 {
			r.Selection, r.Spread = sdk.Selection{Items: []sdk.Item{{Aggregate: "count"}}}, false
			if !g.capabilities.Aggregates {
				r.Selection = sdk.Selection{None: true}
				r.Inner = true
			}
			r.Limit, r.Offset, r.Filter = nil, nil, nil
		}
	case !ref.many:
		r.Limit, r.Offset = nil, nil
		if aggregated || r.Selection.Distinct {
			plain()
		}
		r.Order = nil
	}
	if g.chance(6) && !r.Spread {
		r.Selection = sdk.Selection{None: true}
		r.Order, r.Limit, r.Offset = nil, nil, nil
		r.Filter = nil
	}
	return item
}

// filter makes a tree up to depth deep. items may hold relations to test.
func (g *generator) filter(t *table, depth int, items []sdk.Item) *sdk.Filter {
	if depth > 1 && g.chance(45) {
		f := &sdk.Filter{Kind: pick(g.random, []sdk.FilterKind{sdk.FilterAnd, sdk.FilterOr, sdk.FilterNot})}
		for range g.IntN(4) {
			f.Children = append(f.Children, *g.filter(t, depth-1, items))
		}
		return f
	}
	for i := range items {
		if items[i].Relation != nil && g.chance(25) {
			return &sdk.Filter{Relation: items[i].Alias, Operator: sdk.Is, Values: []sdk.Value{{Text: pick(g.random, []string{"null", "not_null"})}}}
		}
	}
	return g.comparison(pick(g.random, t.columns))
}

// comparison compares a column.
func (g *generator) comparison(c column) *sdk.Filter {
	f := &sdk.Filter{Column: sdk.Column{Name: c.name}, Compare: pick(g.random, []sdk.Compare{sdk.Strict, sdk.Lenient})}
	if g.chance(10) {
		f.Operator, f.Values = sdk.Is, []sdk.Value{{Text: pick(g.random, []string{"null", "not_null"})}}
		if c.kind == kindBool {
			f.Values[0].Text = pick(g.random, []string{"true", "false", "unknown"})
		}
		return f
	}
	equality := []sdk.Operator{sdk.Eq, sdk.Neq, sdk.In, sdk.IsDistinct}
	operators := append(equality, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte)
	switch {
	case c.kind == kindJSON:
		return g.inDocument(f)
	case c.kind == kindBool:
		operators = equality
	case c.kind == kindText:
		operators = append(operators, sdk.Like, sdk.ILike)
	case c.kind.element() != "":
		operators = append(operators, sdk.Contains, sdk.Contained, sdk.Overlaps, sdk.Contains)
	case f.Compare == sdk.Lenient && g.chance(8): // what the type cannot read
		f.Operator = pick(g.random, []sdk.Operator{sdk.Eq, sdk.Neq, sdk.In})
		f.Values = []sdk.Value{{Hint: sdk.String, Text: pick(g.random, []string{"abc", "five"})}}
		return f
	case f.Compare == sdk.Strict && g.flavor.strict && g.chance(1):
		f.Operator, f.Values = sdk.Eq, []sdk.Value{{Text: "abc"}}
		return f
	}
	operators = slices.DeleteFunc(slices.Clone(operators), func(o sdk.Operator) bool { return !slices.Contains(g.capabilities.Operators, o) })
	f.Operator = pick(g.random, operators)
	values := func(n int) {
		for range n {
			f.Values = append(f.Values, g.operand(f, c.kind))
		}
	}
	switch {
	case f.Operator == sdk.In:
		values(g.IntN(4))
	case g.chance(12) && !slices.Contains([]sdk.Operator{sdk.IsDistinct, sdk.Contains, sdk.Contained, sdk.Overlaps, sdk.Neq}, f.Operator) && c.kind.element() == "":
		f.Quantifier = pick(g.random, []sdk.Quantifier{sdk.Any, sdk.All})
		values(g.IntN(3))
	default:
		values(1)
	}
	return f
}

// operand is a value to compare with.
func (g *generator) operand(f *sdk.Filter, k kind) sdk.Value {
	v := g.value(k)
	switch {
	case f.Operator == sdk.Like || f.Operator == sdk.ILike:
		v.Text = pick(g.random, []string{"a%", "%b%", "_", "A_c", `\_x`, "%", "", "%'%", "NA%"})
	case g.chance(4):
		return sdk.Value{Hint: sdk.Null}
	case f.Compare == sdk.Lenient && k == kindInt && g.chance(10):
		v.Text = "2.5"
	case k.element() == "" && g.chance(40):
		v.Hint = sdk.Untyped
	}
	return v
}

// inDocument compares a place in a document.
func (g *generator) inDocument(f *sdk.Filter) *sdk.Filter {
	f.Operator, f.Values = sdk.Is, []sdk.Value{{Text: pick(g.random, []string{"null", "not_null"})}}
	if !g.capabilities.JSONPaths {
		return f
	}
	key := func(name string, text bool) []sdk.PathStep { return []sdk.PathStep{{Key: name, Text: text}} }
	switch g.IntN(4) {
	case 0:
		f.Column = g.path(f.Column.Name)
	case 1:
		f.Column.Path, f.Operator = key("s", true), pick(g.random, []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Like, sdk.In, sdk.Gt})
		f.Values = []sdk.Value{{Hint: sdk.String, Text: strings.ReplaceAll(pick(g.random, textPool), `\`, "")}}
	case 2:
		f.Column.Path, f.Operator = key("n", false), pick(g.random, []sdk.Operator{sdk.Eq, sdk.Neq, sdk.IsDistinct, sdk.In, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte})
		f.Values = []sdk.Value{{Hint: sdk.Number, Text: pick(g.random, documentNumbers) + pick(g.random, []string{"", "", ".0", ".5", "e0"})}}
	default:
		f.Column.Path, f.Operator = key("n", true), pick(g.random, []sdk.Operator{sdk.Eq, sdk.Gt, sdk.Lte, sdk.In})
		f.ColumnCast = "integer"
		f.Values = []sdk.Value{{Hint: sdk.Number, Text: pick(g.random, documentNumbers)}}
	}
	return f
}
