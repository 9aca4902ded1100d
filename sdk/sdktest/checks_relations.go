package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

var relationChecks = []Check{
	{Name: "relations/embed", Doc: "related rows are embedded as objects and arrays, by table, key, column and hint", Needs: relations, Run: withFamily(embedCheck)},
	{Name: "relations/nested", Doc: "a relation has its own selection, filter, order, limit and offset, and relations of its own", Needs: relations, Run: withFamily(nestedCheck)},
	{Name: "relations/inner", Doc: "inner relations and null tests leave out rows; a relation may do only that", Needs: relations, Run: withFamily(innerCheck)},
	{Name: "relations/spread", Doc: "the columns of a spread relation are the parent's", Needs: relations, Run: withFamily(spreadCheck)},
	{Name: "relations/order", Doc: "rows can be sorted by a column of a relation that has one row", Needs: relations, Run: withFamily(relationOrderCheck)},
	{Name: "relations/names", Doc: "naming and StripNulls reach into embedded rows", Needs: relations, Run: withFamily(relationNamesCheck)},
	{Name: "relations/aggregates", Doc: "related rows can be counted and grouped", Run: withFamily(relationAggregatesCheck),
		Needs: all(relations, declares("aggregates", func(c *sdk.Capabilities) bool { return c.Aggregates }))},
	{Name: "relations/returning", Doc: "a write answers with rows related to those it wrote", Needs: all(relations, returning), Run: withFamily(relationReturningCheck)},
	{Name: "relations/tables", Doc: "the tail names all tables that were read", Needs: relations, Run: withFamily(relationTablesCheck)},
	{Name: "relations/errors", Doc: "a relation that is not there, not selected, ambiguous or of many rows is refused with what there is", Needs: relations, Run: withFamily(relationErrorsCheck)},
}

func relations(t *Target, c sdk.Capabilities) string {
	return all(made("Family", func(d *Dialect) []sdk.Statement { return d.Family }), verbs(sdk.Insert, sdk.Select),
		declares("relations", func(c *sdk.Capabilities) bool { return c.Relations }))(t, c)
}

// family are the rows of Dialect.Family, in the order in which they can be inserted.
var family = []struct{ table, columns, payload string }{
	{"athena_parents", "id name boss", `[{"id":1,"name":"Ann","boss":null},{"id":2,"name":"Ben","boss":1},{"id":3,"name":"Cat","boss":1},{"id":4,"name":"Dan","boss":2}]`},
	{"athena_profiles", "parent bio", `[{"parent":1,"bio":"first"},{"parent":2,"bio":"second"}]`},
	{"athena_children", "id name age parent guardian", `[{"id":1,"name":"Kim","age":5,"parent":1,"guardian":2},{"id":2,"name":"Lou","age":7,"parent":1,"guardian":null},
		{"id":3,"name":"Max","age":9,"parent":2,"guardian":1},{"id":4,"name":"Nia","age":8,"parent":3,"guardian":1},{"id":5,"name":"Oz","age":3,"parent":null,"guardian":null}]`},
	{"athena_tags", "id label weight", `[{"id":1,"label":"red","weight":1},{"id":2,"label":"blue","weight":2}]`},
	{"athena_child_tags", "child tag", `[{"child":1,"tag":1},{"child":1,"tag":2},{"child":3,"tag":2}]`},
}

// withFamily is with over the rows of family.
func withFamily(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return with(func(ctx context.Context, c *client) error {
		if err := c.each(ctx, c.Dialect.Family); err != nil {
			return fmt.Errorf("make the family: %w", err)
		}
		for _, rows := range family {
			if _, err := c.do(ctx, insertInto(rows.table, rows.payload, strings.Fields(rows.columns)...)); err != nil {
				return fmt.Errorf("insert into %s: %w", rows.table, err)
			}
		}
		return f(ctx, c)
	})
}

func insertInto(table, payload string, columns ...string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: table}, Rows: sdk.Rowset{Payload: []byte(payload), Columns: columns}}
}

// from selects from a table in the order of its ids.
func from(table string, items ...sdk.Item) sdk.Statement {
	return orderBy(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: table}, Selection: sdk.Selection{Items: items}}, by("id"))
}

// related is an item of a relation; change makes it more than its columns.
func related(target, alias string, columns []string, change ...func(*sdk.Relation)) sdk.Item {
	r := &sdk.Relation{Target: target}
	for _, name := range columns {
		r.Selection.Items = append(r.Selection.Items, item(name))
	}
	for _, f := range change {
		f(r)
	}
	return sdk.Item{Kind: sdk.ItemRelation, Relation: r, Alias: alias}
}

func hinted(hint string) func(*sdk.Relation) { return func(r *sdk.Relation) { r.Hint = hint } }

func sorted(terms ...sdk.Order) func(*sdk.Relation) {
	return func(r *sdk.Relation) { r.Order = terms }
}

func inner(r *sdk.Relation)  { r.Inner = true }
func spread(r *sdk.Relation) { r.Spread = true }

// onlyFilters makes a relation one without columns.
func onlyFilters(r *sdk.Relation) { r.Selection = sdk.Selection{None: true} }

func filtered(f sdk.Filter) func(*sdk.Relation) { return func(r *sdk.Relation) { r.Filter = &f } }

func paged(limit, offset int64) func(*sdk.Relation) {
	return func(r *sdk.Relation) { r.Limit, r.Offset = &limit, &offset }
}

func embedding(items ...sdk.Item) func(*sdk.Relation) {
	return func(r *sdk.Relation) { r.Selection.Items = append(r.Selection.Items, items...) }
}

// nullTest tests a relation for null or not_null.
func nullTest(relation, word string) sdk.Filter {
	return sdk.Filter{Relation: relation, Operator: sdk.Is, Values: []sdk.Value{untyped(word)}}
}

var nameOnly = []string{"name"}

func embedCheck(ctx context.Context, c *client) error {
	const mothers = `[{"id":1,"p":{"name":"Ann"}},{"id":2,"p":{"name":"Ann"}},{"id":3,"p":{"name":"Ben"}},{"id":4,"p":{"name":"Cat"}},{"id":5,"p":null}]`
	child := func(target string, change ...func(*sdk.Relation)) sdk.Statement {
		return from("athena_children", item("id"), related(target, "p", nameOnly, change...))
	}
	parent := func(target string, columns []string, change ...func(*sdk.Relation)) sdk.Statement {
		return from("athena_parents", item("id"), related(target, "", columns, change...))
	}
	return c.bodies(ctx, []bodyCase{
		{"one row by the key's column", child("parent"), mothers},
		{"one row by the key", child("athena_children_parent_fkey"), mothers},
		{"one row by table and hint", child("athena_parents", hinted("parent")), mothers},
		{"one row by the other key", child("athena_parents", hinted("athena_children_guardian_fkey")),
			`[{"id":1,"p":{"name":"Ben"}},{"id":2,"p":null},{"id":3,"p":{"name":"Ann"}},{"id":4,"p":{"name":"Ann"}},{"id":5,"p":null}]`},
		{"many rows", parent("athena_children", nameOnly, hinted("parent"), sorted(by("id"))),
			`[{"id":1,"athena_children":[{"name":"Kim"},{"name":"Lou"}]},{"id":2,"athena_children":[{"name":"Max"}]},
			{"id":3,"athena_children":[{"name":"Nia"}]},{"id":4,"athena_children":[]}]`},
		{"one to one", parent("athena_profiles", []string{"bio"}),
			`[{"id":1,"athena_profiles":{"bio":"first"}},{"id":2,"athena_profiles":{"bio":"second"}},{"id":3,"athena_profiles":null},{"id":4,"athena_profiles":null}]`},
		{"many to many", from("athena_children", item("id"), related("athena_tags", "tags", []string{"label"}, hinted("athena_child_tags"), sorted(by("label")))),
			`[{"id":1,"tags":[{"label":"blue"},{"label":"red"}]},{"id":2,"tags":[]},{"id":3,"tags":[{"label":"blue"}]},{"id":4,"tags":[]},{"id":5,"tags":[]}]`},
		{"the same table, one row", parent("boss", nameOnly),
			`[{"id":1,"boss":null},{"id":2,"boss":{"name":"Ann"}},{"id":3,"boss":{"name":"Ann"}},{"id":4,"boss":{"name":"Ben"}}]`},
		{"the same table, many rows", parent("athena_parents", nameOnly, sorted(by("id"))),
			`[{"id":1,"athena_parents":[{"name":"Ben"},{"name":"Cat"}]},{"id":2,"athena_parents":[{"name":"Dan"}]},{"id":3,"athena_parents":[]},{"id":4,"athena_parents":[]}]`},
		{"all columns", byID(from("athena_parents", item("id"), related("athena_profiles", "", nil)), 1), `[{"id":1,"athena_profiles":{"parent":1,"bio":"first"}}]`},
	})
}

func nestedCheck(ctx context.Context, c *client) error {
	older := sdk.Order{Column: sdk.Column{Name: "age"}, Descending: true}
	tags := related("athena_tags", "tags", []string{"label"}, sorted(by("label")))
	s := from("athena_parents", item("id"), related("athena_children", "young", nameOnly, hinted("parent"),
		filtered(compare("age", sdk.Lt, number("9"))), embedding(tags), sorted(by("age"))))
	page := from("athena_parents", item("id"), related("athena_children", "second", nameOnly, hinted("parent"), sorted(older), paged(1, 1)))
	return c.bodies(ctx, []bodyCase{
		{"filter and nested relation", s, `[{"id":1,"young":[{"name":"Kim","tags":[{"label":"blue"},{"label":"red"}]},{"name":"Lou","tags":[]}]},
			{"id":2,"young":[]},{"id":3,"young":[{"name":"Nia","tags":[]}]},{"id":4,"young":[]}]`},
		{"order, limit and offset", page, `[{"id":1,"second":[{"name":"Kim"}]},{"id":2,"second":[]},{"id":3,"second":[]},{"id":4,"second":[]}]`},
		{"a row and its rows", byID(from("athena_children", item("id"), related("parent", "", nameOnly, embedding(related("athena_profiles", "", []string{"bio"})))), 3),
			`[{"id":3,"parent":{"name":"Ben","athena_profiles":{"bio":"second"}}}]`},
	})
}

func innerCheck(ctx context.Context, c *client) error {
	old := filtered(compare("age", sdk.Gt, number("7")))
	count := from("athena_parents", item("id"), related("athena_children", "", nil, hinted("parent"), old, inner, onlyFilters))
	count.Count, count.Limit = sdk.CountExact, ptr(int64(1))
	a, err := c.do(ctx, count)
	if err != nil {
		return err
	}
	if total, err := a.total(); err != nil || total != 2 || a.tail.Rows != 1 {
		return errors.Join(err, fmt.Errorf("%d of %d rows with an inner relation, want 1 of 2", a.tail.Rows, total))
	}
	profile := related("athena_profiles", "profile", nil, onlyFilters)
	return c.bodies(ctx, []bodyCase{
		{"inner", from("athena_parents", item("id"), related("athena_children", "old", nameOnly, hinted("parent"), old, inner)),
			`[{"id":2,"old":[{"name":"Max"}]},{"id":3,"old":[{"name":"Nia"}]}]`},
		{"inner without columns", from("athena_children", item("id"), related("parent", "", nil, inner, onlyFilters, filtered(compare("name", sdk.Eq, str("Ann"))))),
			`[{"id":1},{"id":2}]`},
		{"null", where(from("athena_parents", item("id"), profile), nullTest("profile", "null")), `[{"id":3},{"id":4}]`},
		{"not null", where(from("athena_parents", item("id"), profile), nullTest("athena_profiles", "not_null")), `[{"id":1},{"id":2}]`},
		{"null or", where(from("athena_parents", item("id"), profile), sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{
			nullTest("profile", "not_null"), compare("name", sdk.Eq, str("Dan"))}}), `[{"id":1},{"id":2},{"id":4}]`},
	})
}

func spreadCheck(ctx context.Context, c *client) error {
	one := related("parent", "", nil, spread, embedding(sdk.Item{Column: sdk.Column{Name: "name"}, Alias: "mother"}))
	inside := one
	inside.Relation = ptr(*one.Relation)
	inside.Relation.Inner = true
	return c.bodies(ctx, []bodyCase{
		{"one row", from("athena_children", item("id"), one), `[{"id":1,"mother":"Ann"},{"id":2,"mother":"Ann"},{"id":3,"mother":"Ben"},{"id":4,"mother":"Cat"},{"id":5,"mother":null}]`},
		{"one row, inner", from("athena_children", item("id"), inside), `[{"id":1,"mother":"Ann"},{"id":2,"mother":"Ann"},{"id":3,"mother":"Ben"},{"id":4,"mother":"Cat"}]`},
		{"many rows", from("athena_parents", item("id"), related("athena_children", "", []string{"age"}, hinted("parent"), spread, sorted(by("age")))),
			`[{"id":1,"age":[5,7]},{"id":2,"age":[9]},{"id":3,"age":[8]},{"id":4,"age":[]}]`},
	})
}

func relationOrderCheck(ctx context.Context, c *client) error {
	term := sdk.Order{Relation: "parent", Column: sdk.Column{Name: "name"}, Descending: true, Nulls: sdk.NullsLast}
	s := from("athena_children", item("id"), related("parent", "", nil, onlyFilters))
	s.Order = []sdk.Order{term, by("id")}
	return c.wantIDs(ctx, s, 4, 3, 1, 2, 5)
}

func relationNamesCheck(ctx context.Context, c *client) error {
	full := sdk.Item{Column: sdk.Column{Name: "name"}, Alias: "full_name"}
	s := where(from("athena_parents", item("id"), related("athena_children", "", []string{"guardian"}, hinted("parent"), sorted(by("id")), embedding(full))),
		compare("id", sdk.Eq, number("1")))
	return errors.Join(
		c.bodies(ctx, []bodyCase{{"camel", s, `[{"id":1,"athenaChildren":[{"guardian":2,"fullName":"Kim"},{"guardian":null,"fullName":"Lou"}]}]`}}, sdk.ResultOptions{Naming: sdk.NamesCamel}),
		c.bodies(ctx, []bodyCase{{"strip nulls", s, `[{"id":1,"athena_children":[{"guardian":2,"full_name":"Kim"},{"full_name":"Lou"}]}]`}}, sdk.ResultOptions{StripNulls: true}))
}

func relationAggregatesCheck(ctx context.Context, c *client) error {
	counted := embedding(sdk.Item{Aggregate: "count"}, sdk.Item{Column: sdk.Column{Name: "age"}, Aggregate: "max", Alias: "oldest"})
	return c.bodies(ctx, []bodyCase{
		{"of related rows", from("athena_parents", item("id"), related("athena_children", "children", nil, hinted("parent"), counted)),
			`[{"id":1,"children":[{"count":2,"oldest":7}]},{"id":2,"children":[{"count":1,"oldest":9}]},{"id":3,"children":[{"count":1,"oldest":8}]},{"id":4,"children":[{"count":0,"oldest":null}]}]`},
		{"by a spread column", orderBy(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_children"}, Selection: sdk.Selection{
			Items: []sdk.Item{{Aggregate: "count"}, related("parent", "", nameOnly, spread)}}}, sdk.Order{Relation: "parent", Column: sdk.Column{Name: "name"}, Nulls: sdk.NullsLast}),
			`[{"count":2,"name":"Ann"},{"count":1,"name":"Ben"},{"count":1,"name":"Cat"},{"count":1,"name":null}]`},
	})
}

func relationReturningCheck(ctx context.Context, c *client) error {
	mother := related("parent", "", nameOnly)
	returned := func(s sdk.Statement) sdk.Statement {
		s.Returning, s.Selection = sdk.ReturnSelection, sdk.Selection{Items: []sdk.Item{item("id"), mother}}
		return s
	}
	children := sdk.Table{Name: "athena_children"}
	update := sdk.Statement{Verb: sdk.Update, Table: children, Set: []sdk.SetItem{{Column: "parent", Value: number("4")}}}
	if err := c.bodies(ctx, []bodyCase{
		{"insert", returned(insertInto("athena_children", `{"id":7,"name":"Pia","parent":2}`, "id", "name", "parent")), `[{"id":7,"parent":{"name":"Ben"}}]`},
		{"update", returned(byID(update, 7)), `[{"id":7,"parent":{"name":"Dan"}}]`},
		{"delete", returned(byID(sdk.Statement{Verb: sdk.Delete, Table: children}, 7)), `[{"id":7,"parent":{"name":"Dan"}}]`},
	}); err != nil {
		return err
	}
	several := orderBy(returned(where(update, compare("parent", sdk.Eq, number("1")))), sdk.Order{Column: sdk.Column{Name: "id"}, Descending: true})
	a, err := c.do(ctx, several)
	if done, err := orUnsupported(err); !done || err != nil {
		return err
	}
	if want := `[{"id":2,"parent":{"name":"Dan"}},{"id":1,"parent":{"name":"Dan"}}]`; !sameJSON(a.body, []byte(want)) {
		return fmt.Errorf("sorted: returned %s, want %s", a.body, want)
	}
	return nil
}

// namesTables checks that a list of tables holds some, or says that it may be any.
func namesTables(list []string, tables ...string) error {
	for _, table := range tables {
		if !slices.Contains(list, "*") && !slices.ContainsFunc(list, func(name string) bool { return strings.HasSuffix(name, "."+table) }) {
			return fmt.Errorf("%q does not name the table %s", list, table)
		}
	}
	return nil
}

func relationTablesCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, from("athena_children", item("id"), related("athena_tags", "", []string{"label"})))
	if err != nil {
		return err
	}
	return namesTables(a.tail.TablesRead, "athena_children", "athena_tags", "athena_child_tags")
}

func relationErrorsCheck(ctx context.Context, c *client) error {
	many := related("athena_children", "", nil, hinted("parent"), onlyFilters)
	byMany := from("athena_parents", item("id"), many)
	byMany.Order = []sdk.Order{{Relation: "athena_children", Column: sdk.Column{Name: "name"}}}
	for reason, s := range map[string]sdk.Statement{
		"ambiguous_relation":      from("athena_parents", item("id"), related("athena_children", "", nameOnly)),
		"undefined_relation":      from("athena_parents", item("id"), related("athena_tags", "", nil)),
		"relation_not_selected":   where(from("athena_parents", item("id")), nullTest("athena_profiles", "null")),
		"order_by_to_many":        byMany,
		"invalid_relation_filter": where(from("athena_parents", item("id"), many), sdk.Filter{Relation: "athena_children", Operator: sdk.Eq, Values: []sdk.Value{number("1")}}),
	} {
		_, err := c.do(ctx, s)
		if err := wantError(err, sdk.Invalid, reason); err != nil {
			return err
		}
		if err := c.wantDetails(err, reason == "ambiguous_relation"); err != nil {
			return fmt.Errorf("%s: %w", reason, err)
		}
	}
	schema := related("parent", "", nameOnly, func(r *sdk.Relation) { r.Schema = "athena_none" })
	if c.Dialect.Elsewhere == nil {
		return nil // there are no schemas
	}
	_, err := c.do(ctx, from("athena_children", item("id"), schema))
	return wantError(err, sdk.Invalid, "undefined_relation")
}

// wantDetails checks that an error has a hint and, if the dialect has them, details with
// candidates if there are some.
func (c *client) wantDetails(err error, candidates bool) error {
	var e *sdk.Error
	if !errors.As(err, &e) || !c.Dialect.Details {
		return nil
	}
	var details struct{ Candidates []any }
	if json.Unmarshal(e.Details, &details) != nil || candidates != (len(details.Candidates) > 1) {
		return fmt.Errorf("the details are %q", e.Details)
	}
	return nil
}
