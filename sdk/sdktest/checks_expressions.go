package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

var expressionChecks = []Check{
	{Name: "expressions/json_paths", Doc: "places inside JSON are selected, compared and sorted by, as JSON and as text", Needs: all(jsonPaths, verbs(sdk.Insert, sdk.Select)), Run: with(jsonPathsCheck)},
	{Name: "expressions/casts", Doc: "columns and values are cast to the types asked for", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(castsCheck)},
	{Name: "expressions/aggregates", Doc: "aggregates are of all rows, or of those with the same other columns", Needs: aggregates, Run: withItems(aggregatesCheck)},
	{Name: "expressions/bucket", Doc: "times are grouped by the start of their minute, hour, day, week, month, quarter or year", Needs: all(aggregates, hasValues), Run: with(bucketCheck)},
	{Name: "expressions/distinct", Doc: "Distinct answers equal rows once", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(distinctCheck)},
	{Name: "expressions/null_values", Doc: "a value's hint tells null, booleans, numbers, texts and JSON apart", Needs: verbs(sdk.Insert, sdk.Update, sdk.Select), Run: withItems(hintsCheck)},
	{Name: "operators/arrays", Doc: "arrays contain, are contained in and overlap others", Needs: all(hasValues, operator(sdk.Contains)), Run: with(arraysCheck)},
	{Name: "operators/ranges", Doc: "ranges lie left and right of others and next to them", Needs: all(hasValues, operator(sdk.Adjacent)), Run: with(rangesCheck)},
	{Name: "operators/full_text", Doc: "texts are searched for words, in the language asked for", Needs: all(operator(sdk.FTS), verbs(sdk.Insert, sdk.Select)), Run: withItems(fullTextCheck)},
}

var jsonPaths = declares("JSON paths", func(c *sdk.Capabilities) bool { return c.JSONPaths })

func aggregates(t *Target, c sdk.Capabilities) string {
	if !c.Aggregates {
		return "aggregates"
	}
	return verbs(sdk.Insert, sdk.Select)(t, c)
}

func hasValues(t *Target, c sdk.Capabilities) string {
	return all(made("Values", func(d *Dialect) []sdk.Statement { return d.Values }), verbs(sdk.Insert, sdk.Select))(t, c)
}

func operator(op sdk.Operator) func(*Target, sdk.Capabilities) string {
	return declares("the operator "+string(op), func(c *sdk.Capabilities) bool { return slices.Contains(c.Operators, op) })
}

// path is a place inside the column doc: keys, indexes such as -1, and at last >key for a
// text.
func path(steps ...string) sdk.Column {
	column := sdk.Column{Name: "doc"}
	for _, step := range steps {
		key, isText := strings.CutPrefix(step, ">")
		made := sdk.PathStep{Key: key, Text: isText}
		if n := strings.TrimPrefix(key, "-"); n != "" && strings.Trim(n, "0123456789") == "" {
			made.Key, made.IsIndex = "", true
			_, _ = fmt.Sscan(key, &made.Index)
		}
		column.Path = append(column.Path, made)
	}
	return column
}

func jsonPathsCheck(ctx context.Context, c *client) error {
	if _, err := c.do(ctx, insert(`[{"id":1,"name":"n","doc":{"a":{"b":"x","n":5},"l":[10,20,30]}},
		{"id":2,"name":"n","doc":{"a":{"b":"y","n":40},"l":[7]}},{"id":3,"name":"n","doc":null}]`)); err != nil {
		return err
	}
	selected := func(column sdk.Column, alias string) sdk.Statement {
		return orderBy(sdk.Statement{Verb: sdk.Select, Table: itemsTable, Selection: sdk.Selection{Items: []sdk.Item{{Column: column, Alias: alias}}}}, by("id"))
	}
	castText := selected(path("a", "n"), "n")
	castText.Selection.Items[0].Cast = "text"
	chosen := func(column sdk.Column, op sdk.Operator, value sdk.Value, cast string) sdk.Statement {
		return where(selectItems("id"), sdk.Filter{Column: column, Operator: op, Values: []sdk.Value{value}, ColumnCast: cast})
	}
	descending := sdk.Order{Column: path("a", "b"), Descending: true, Nulls: sdk.NullsLast}
	return errors.Join(
		c.bodies(ctx, []bodyCase{
			{"text", selected(path("a", ">b"), ""), `[{"b":"x"},{"b":"y"},{"b":null}]`},
			{"number", selected(path("a", "n"), ""), `[{"n":5},{"n":40},{"n":null}]`},
			{"number as text", selected(path("a", ">n"), "t"), `[{"t":"5"},{"t":"40"},{"t":null}]`},
			{"cast to text", castText, `[{"n":"5"},{"n":"40"},{"n":null}]`},
			{"object", byID(selected(path("a"), ""), 1), `[{"a":{"b":"x","n":5}}]`},
			{"index", selected(path("l", "0"), "first"), `[{"first":10},{"first":7},{"first":null}]`},
			{"index from the end", selected(path("l", ">-1"), ""), `[{"l":"30"},{"l":"7"},{"l":null}]`},
		}),
		c.wantIDs(ctx, chosen(path("a", ">b"), sdk.Eq, str("y"), ""), 2),
		c.wantIDs(ctx, chosen(path("a", ">n"), sdk.Gt, number("9"), "int"), 2),
		c.wantIDs(ctx, chosen(path("a", ">n"), sdk.Gt, str("9"), "")),
		c.wantIDs(ctx, chosen(path("l", "-1"), sdk.Eq, number("30"), ""), 1),
		c.wantIDs(ctx, orderBy(selectItems("id"), descending), 2, 1, 3))
}

func castsCheck(ctx context.Context, c *client) error {
	s := byID(selectItems("qty"), 1)
	s.Selection.Items[0].Cast = "text"
	asText := compare("qty", sdk.Gt, str("3"))
	asText.ColumnCast = "text"
	asNumber := compare("id", sdk.Gt, str("4.5"))
	asNumber.ValueCast = "numeric"
	bad := selectItems("id")
	bad.Selection.Items[0].Cast = "athena none"
	_, err := c.do(ctx, bad)
	return errors.Join(
		c.bodies(ctx, []bodyCase{{"selected", s, `[{"qty":"10"}]`}}),
		c.wantIDs(ctx, where(selectItems("id"), asText), 5),
		c.wantIDs(ctx, where(selectItems("id"), asNumber), 5, 6),
		wantAny(err, "", sdk.Invalid, sdk.Unsupported))
}

func aggregatesCheck(ctx context.Context, c *client) error {
	of := func(name, column string) sdk.Item {
		return sdk.Item{Column: sdk.Column{Name: column}, Aggregate: name}
	}
	aggregate := func(items ...sdk.Item) sdk.Statement {
		return where(sdk.Statement{Verb: sdk.Select, Table: itemsTable, Selection: sdk.Selection{Items: items}}, compare("id", sdk.Lte, number("4")))
	}
	before, after := of("min", "qty"), of("sum", "qty")
	before.Cast, after.CastAfter, after.Alias = "text", "text", "total"
	grouped := aggregate(item("active"), of("count", ""))
	grouped.Filter, grouped.Order, grouped.Count = nil, []sdk.Order{nullsLast("active")}, sdk.CountExact
	a, err := c.do(ctx, grouped)
	if err != nil {
		return err
	}
	if total, err := a.total(); err != nil || total != 3 {
		return errors.Join(err, fmt.Errorf("%d groups are counted, want 3", total))
	}
	return c.bodies(ctx, []bodyCase{
		{"count", aggregate(of("count", "")), `[{"count":4}]`},
		{"count of a column", aggregate(of("count", "qty")), `[{"count":3}]`},
		{"sum", aggregate(of("sum", "qty")), `[{"sum":25}]`},
		{"min and max", aggregate(of("min", "qty"), of("max", "name")), `[{"min":-5,"max":"ada lovelace"}]`},
		{"casts", aggregate(before, after), `[{"min":"-5","total":"25"}]`},
		{"avg", where(aggregate(sdk.Item{Column: sdk.Column{Name: "qty"}, Aggregate: "avg", CastAfter: "int"}), compare("id", sdk.Lte, number("2"))), `[{"avg":15}]`},
		{"groups", grouped, `[{"active":false,"count":2},{"active":true,"count":3},{"active":null,"count":1}]`},
	})
}

// withValues makes the table of Values and fills the columns that the backend can compare.
func (c *client) withValues(ctx context.Context, columns ...string) error {
	if err := c.each(ctx, c.Dialect.Values); err != nil {
		return err
	}
	_, err := c.do(ctx, insertInto("athena_values", `[{"id":1,"tags":["a","b"],"at":"2024-02-29T12:34:56","span":"[1,5)"},
		{"id":2,"tags":["b","c"],"at":"2024-02-29T12:34:01","span":"[5,10)"},{"id":3,"tags":[],"at":"2024-03-01T00:00:00","span":"[20,30)"}]`, append(columns, "id")...))
	return err
}

func bucketCheck(ctx context.Context, c *client) error {
	if err := c.withValues(ctx, "at"); err != nil {
		return err
	}
	var cases []bodyCase
	for _, b := range []struct{ granularity, first, second string }{
		{"minute", "2024-02-29T12:34:00", "2024-03-01T00:00:00"},
		{"hour", "2024-02-29T12:00:00", "2024-03-01T00:00:00"},
		{"day", "2024-02-29T00:00:00", "2024-03-01T00:00:00"},
		{"month", "2024-02-01T00:00:00", "2024-03-01T00:00:00"},
	} {
		cases = append(cases, bodyCase{b.granularity, bucket(b.granularity), `[{"at":"` + b.first + `","count":2},{"at":"` + b.second + `","count":1}]`})
	}
	_, err := c.do(ctx, bucket("athena_none"))
	return errors.Join(
		c.bodies(ctx, append(cases, bodyCase{"week", bucket("week"), `[{"at":"2024-02-26T00:00:00","count":3}]`},
			bodyCase{"quarter", bucket("quarter"), `[{"at":"2024-01-01T00:00:00","count":3}]`},
			bodyCase{"year", bucket("year"), `[{"at":"2024-01-01T00:00:00","count":3}]`})),
		wantError(err, sdk.Invalid, ""))
}

func bucket(granularity string) sdk.Statement {
	return orderBy(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_values"}, Selection: sdk.Selection{
		Bucket: &sdk.Bucket{Column: sdk.Column{Name: "at"}, Granularity: granularity}, Items: []sdk.Item{{Aggregate: "count"}}}}, by("at"))
}

func distinctCheck(ctx context.Context, c *client) error {
	s := orderBy(selectItems("active"), nullsLast("active"))
	s.Selection.Distinct, s.Count = true, sdk.CountExact
	a, err := c.do(ctx, s)
	if err != nil {
		return err
	}
	total, err := a.total()
	if err != nil || total != 3 || !sameJSON(a.body, []byte(`[{"active":false},{"active":true},{"active":null}]`)) {
		return errors.Join(err, fmt.Errorf("answered %s of %d rows", a.body, total))
	}
	return nil
}

func hintsCheck(ctx context.Context, c *client) error {
	s := byID(sdk.Statement{Verb: sdk.Update, Table: itemsTable}, 1)
	s.Set = []sdk.SetItem{
		{Column: "qty", Value: number("7")},
		{Column: "active", Value: sdk.Value{Hint: sdk.Bool, Text: "false"}},
		{Column: "code", Value: sdk.Value{Hint: sdk.Null}},
		{Column: "name", Value: str("null")},
		{Column: "doc", Value: sdk.Value{Hint: sdk.JSON, Text: `{"a":[1,"2"]}`}},
	}
	if _, err := c.do(ctx, s); err != nil {
		return err
	}
	return c.bodies(ctx, []bodyCase{{"updated", byID(selectItems("qty", "active", "code", "name", "doc"), 1),
		`[{"qty":7,"active":false,"code":null,"name":"null","doc":{"a":[1,"2"]}}]`}})
}

func arraysCheck(ctx context.Context, c *client) error {
	if err := c.withValues(ctx, "tags"); err != nil {
		return err
	}
	var errs []error
	for _, o := range []struct {
		op    sdk.Operator
		value string
		want  []int
	}{
		{sdk.Contains, `["b"]`, []int{1, 2}},
		{sdk.Contains, `["b","c"]`, []int{2}},
		{sdk.Contained, `["a","b","z"]`, []int{1, 3}},
		{sdk.Overlaps, `["a","z"]`, []int{1}},
	} {
		f := compare("tags", o.op, sdk.Value{Hint: sdk.JSON, Text: o.value})
		f.Compare = sdk.Lenient
		if err := c.wantIDs(ctx, where(from("athena_values", item("id")), f), o.want...); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", o.op, o.value, err))
		}
	}
	return errors.Join(errs...)
}

func rangesCheck(ctx context.Context, c *client) error {
	if err := c.withValues(ctx, "span"); err != nil {
		return err
	}
	var errs []error
	for _, o := range []struct {
		op    sdk.Operator
		value string
		want  []int
	}{
		{sdk.StrictLeft, "[6,7)", []int{1}},
		{sdk.StrictRght, "[4,5)", []int{2, 3}},
		{sdk.NotRight, "[2,10)", []int{1, 2}},
		{sdk.NotLeft, "[5,8)", []int{2, 3}},
		{sdk.Adjacent, "[10,20)", []int{2, 3}},
		{sdk.Contains, "[2,3)", []int{1}},
		{sdk.Overlaps, "[4,6)", []int{1, 2}},
	} {
		if err := c.wantIDs(ctx, where(from("athena_values", item("id")), compare("span", o.op, untyped(o.value))), o.want...); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", o.op, o.value, err))
		}
	}
	return errors.Join(errs...)
}

func fullTextCheck(ctx context.Context, c *client) error {
	in := func(language string, op sdk.Operator, words string) sdk.Filter {
		f := compare("name", op, str(words))
		f.Language = language
		return f
	}
	return c.filters(ctx, []filterCase{
		{"fts", in("", sdk.FTS, "ada & !lovelace"), []int{1}},
		{"fts in English", in("english", sdk.FTS, "lovelaces"), []int{4}},
		{"fts in no language", in("simple", sdk.FTS, "lovelaces"), nil},
		{"plfts", in("simple", sdk.PlainFTS, "lovelace ada"), []int{4}},
		{"phfts", in("simple", sdk.PhraseFTS, "ada lovelace"), []int{4}},
		{"phfts in another order", in("simple", sdk.PhraseFTS, "lovelace ada"), nil},
		{"wfts", in("simple", sdk.WebFTS, "ada -lovelace"), []int{1}},
	})
}
