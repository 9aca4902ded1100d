package publicroutes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// pinned is a route ready for use.
type pinned struct {
	*Route
	table   *sdk.Table   // nil: any
	shown   *level       // what the table shows; with a table
	filter  []sdk.Filter // all of them hold for every row
	held    []string     // the columns that the filter names
	given   []given      // what the filter gives to every inserted row
	limiter *rate.Limiter
}

// given is the value of a column that the filter fixes.
type given struct {
	column string
	value  json.RawMessage
}

// level is what a route shows of a table.
type level struct {
	all     bool       // every column, and no relation
	columns []string   // unless all
	items   []sdk.Item // the whole projection, relations included; none for all
}

// compile makes a route ready, or tells of each member what is wrong with it.
func compile(r *Route, g Grammar) (*pinned, map[string]string) {
	p, wrong := &pinned{Route: r}, map[string]string{}
	maps.Copy(wrong, r.unread)
	p.checkOps(wrong)
	if r.Table != nil {
		table, err := g.Table(*r.Table)
		if err != nil {
			wrong["table_name"] = message(err)
			return p, wrong
		}
		p.table = &table
	}
	p.checkQuery(wrong)
	if err := p.readColumns(g); err != nil {
		wrong["columns"] = message(err)
	}
	if err := p.readFilter(g); err != nil {
		wrong["filter"] = message(err)
	}
	if r.RateLimit != nil {
		p.limiter = r.RateLimit.limiter()
	}
	return p, wrong
}

// message is an error's text for a caller.
func message(err error) string {
	if e := sdk.AsError(err); e.Kind != sdk.Internal {
		return e.Message
	}
	return err.Error()
}

func (p *pinned) allows(op string) bool { return slices.Contains(p.Ops, op) }

func (p *pinned) checkOps(wrong map[string]string) {
	seen := map[string]bool{}
	for _, op := range p.Ops {
		switch {
		case !slices.Contains(operations, op):
			wrong["allowed_ops"] = fmt.Sprintf("there is no operation %q; want some of %s", op, strings.Join(operations, ", "))
			if near := sqlbuild.NearestName(op, operations); near != "" {
				wrong["allowed_ops"] += fmt.Sprintf("; did you mean %q?", near)
			}
		case seen[op]:
			wrong["allowed_ops"] = fmt.Sprintf("%s is there twice", op)
		}
		seen[op] = true
	}
	if len(p.Ops) == 0 {
		wrong["allowed_ops"] = "want at least one of " + strings.Join(operations, ", ")
	}
}

// checkQuery keeps SQL of callers away from routes that pin anything, and from open ones.
func (p *pinned) checkQuery(wrong map[string]string) {
	switch {
	case p.Query != nil && !p.allows(opQuery):
		wrong["query"] = "allowed_ops does not have query"
	case p.Query != nil:
		if strings.Trim(*p.Query, "; \t\r\n") == "" {
			wrong["query"] = "want SQL text"
		}
	case p.allows(opQuery) && p.Table != nil:
		wrong["query"] = "a route with a table_name needs the SQL that its operation query executes: a caller's own would go around the table"
	case p.allows(opQuery) && p.RequireKey != nil && !*p.RequireKey:
		wrong["require_key"] = "a route that executes its callers' SQL cannot be open to everybody: pin a query"
	}
}

func (p *pinned) readColumns(g Grammar) error {
	if p.Columns == nil {
		p.shown = &level{all: true}
		return nil
	}
	if p.table == nil {
		return fmt.Errorf("the route has no table_name to which they could belong")
	}
	items, err := g.Columns(p.Columns, *p.table)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return fmt.Errorf("name the columns, or leave columns out to show all")
	}
	p.shown, err = shownBy(items)
	return err
}

// shownBy makes the level of a list of columns and relations.
func shownBy(items []sdk.Item) (*level, error) {
	if len(items) == 0 {
		return &level{all: true}, nil
	}
	l := &level{items: items}
	for _, item := range items {
		switch item.Kind {
		case sdk.ItemStar:
			return nil, fmt.Errorf("* cannot stand beside other columns: name all that are to be seen")
		case sdk.ItemColumn:
			if item.Alias != "" {
				return nil, fmt.Errorf("%q: a route shows columns under their own names", item.Alias)
			}
			if slices.Contains(l.columns, item.Column.Name) {
				return nil, fmt.Errorf("%q is there twice", item.Column.Name)
			}
			l.columns = append(l.columns, item.Column.Name)
		case sdk.ItemRelation:
			if _, err := shownBy(item.Relation.Selection.Items); err != nil {
				return nil, err
			}
		}
	}
	if len(l.columns) == 0 {
		return nil, fmt.Errorf("relations alone are not enough: name a column too")
	}
	return l, nil
}

func (p *pinned) readFilter(g Grammar) error {
	if p.Filter == nil {
		return nil
	}
	if p.table == nil {
		return fmt.Errorf("the route has no table_name to which it could belong")
	}
	f, err := g.Conditions(p.Filter, *p.table)
	if err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("name conditions, or leave filter out for all rows")
	}
	p.filter = []sdk.Filter{*f}
	if f.Kind == sdk.FilterAnd {
		p.filter = f.Children
	}
	for i := range p.filter {
		p.hold(&p.filter[i])
	}
	if !p.allows(opInsert) {
		return nil
	}
	for i := range p.filter {
		value, ok := fixed(&p.filter[i])
		column := p.filter[i].Column.Name
		if !ok || slices.ContainsFunc(p.given, func(g given) bool { return strings.EqualFold(g.column, column) }) {
			return fmt.Errorf("with the operation insert every condition must give one column one value, by eq without casts or by is null, true or false: inserted rows get these values")
		}
		p.given = append(p.given, given{column, value})
	}
	return nil
}

// hold notes the columns that a condition names.
func (p *pinned) hold(f *sdk.Filter) {
	if f.Kind == sdk.FilterCompare && !slices.Contains(p.held, f.Column.Name) {
		p.held = append(p.held, f.Column.Name)
	}
	for i := range f.Children {
		p.hold(&f.Children[i])
	}
}

// fixed is the one value that a condition leaves to its column.
func fixed(f *sdk.Filter) (json.RawMessage, bool) {
	if f.Kind != sdk.FilterCompare || f.ColumnCast != "" || f.ValueCast != "" || len(f.Values) != 1 {
		return nil, false
	}
	v := f.Values[0]
	switch {
	case f.Operator == sdk.Eq && v.Hint == sdk.String:
		text, err := json.Marshal(v.Text)
		return text, err == nil
	case f.Operator == sdk.Eq && (v.Hint == sdk.Number || v.Hint == sdk.Bool || v.Hint == sdk.JSON), f.Operator == sdk.Is && v.Hint == sdk.Bool:
		return json.RawMessage(v.Text), true
	case f.Operator == sdk.Is && v.Hint == sdk.Null:
		return json.RawMessage("null"), true
	}
	return nil, false
}
