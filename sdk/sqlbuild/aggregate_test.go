package sqlbuild

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

func aggregateOf(name, column string) sdk.Item { return sdk.Item{Aggregate: name, Column: ref(column)} }

func bucket(granularity string, column sdk.Column, order bool, items ...sdk.Item) sdk.Statement {
	s := selecting(sdk.Statement{Filter: where("id", sdk.Lt, num("4"))}, items...)
	s.Selection.Bucket = &sdk.Bucket{Column: column, Granularity: granularity}
	s.Order = []sdk.Order{{Column: column, Descending: order}}
	return s
}

var groupings = []expression{
	{"aggregates", selecting(sdk.Statement{}, aggregateOf("count", ""), sdk.Item{Aggregate: "count", Column: ref("name"), Alias: "names"}, aggregateOf("sum", "price"), aggregateOf("min", "price"), aggregateOf("max", "name"),
		sdk.Item{Aggregate: "avg", Column: ref("price"), CastAfter: "int"}),
		"count|names|sum|min|max|avg\n4|3|8.0|1.5|gamma|3", "count|names|sum|min|max|avg\n4|3|8|1.5|gamma|2"},
	{"groups", selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("data", text("n"))}}}, sdk.Item{Column: ref("data", text("n"))}, aggregateOf("count", ""),
		sdk.Item{Aggregate: "sum", Column: ref("price"), Alias: "total"}), "n|count|total\n10|2|6.5\n5|1|1.5\n~|1|~", "n|count|total\n~|1|~\n10|2|6.5\n5|1|1.5"},
	{"casts around", selecting(sdk.Statement{Filter: where("id", sdk.Lt, num("4"))}, sdk.Item{Column: ref("data", text("n")), Cast: "int", Aggregate: "sum", CastAfter: "text"}), "sum\n25", "="},
	{"groups by json", selecting(sdk.Statement{Filter: where("id", sdk.In, num("2"), num("3"))}, sdk.Item{Column: ref("raw", key("n"))}, aggregateOf("max", "label")),
		"n|max\n10|gamma!", ""},
	{"groups by json in order", selecting(sdk.Statement{Filter: where("id", sdk.Lt, num("4")), Order: []sdk.Order{{Column: ref("raw", key("n"))}}}, sdk.Item{Column: ref("raw", key("n"))}, aggregateOf("count", "")),
		"n|count\n5|1\n10|2", ""},
	{"groups by a composite", selecting(sdk.Statement{Filter: where("id", sdk.In, num("1"), num("3"))}, item("pair"), aggregateOf("count", "")), "pair|count\n{\"a\": 1, \"b\": \"x\"}|2", ""},
	{"groups by a composite in order", selecting(sdk.Statement{Filter: where("id", sdk.Lt, num("4")), Order: []sdk.Order{{Column: ref("pair"), Descending: true}}}, item("pair"), aggregateOf("count", "")),
		"pair|count\n{\"a\": 2, \"b\": \"y\"}|1\n{\"a\": 1, \"b\": \"x\"}|2", ""},
	{"distinct composites in order", selecting(sdk.Statement{Selection: sdk.Selection{Distinct: true}, Filter: where("id", sdk.Lt, num("4")), Order: []sdk.Order{{Column: ref("pair")}}}, item("pair")),
		"pair\n{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": \"y\"}", ""},
	{"groups of all columns", selecting(sdk.Statement{Key: []sdk.Value{num("4")}}, aggregateOf("count", "name"), sdk.Item{Kind: sdk.ItemStar}),
		"count|id|name|data|at|day|price|raw|doc|tags|span|search|pair|things\n0|4|~|~|~|~|~|~|~|~|~|~|~|~", "count|id|name|data|at|day|price\n0|4|~|~|~|~|~"},
	{"distinct", selecting(sdk.Statement{Selection: sdk.Selection{Distinct: true}, Filter: where("id", sdk.In, num("2"), num("3")), Order: []sdk.Order{{Column: ref("data", text("n"))}}}, sdk.Item{Column: ref("data", text("n"))}), "n\n10", "="},
	{"distinct JSON", selecting(sdk.Statement{Selection: sdk.Selection{Distinct: true}, Filter: where("id", sdk.In, num("2"), num("3"))}, sdk.Item{Column: ref("raw", key("n"))}), "n\n10", ""},
	{"sum of text", selecting(sdk.Statement{}, aggregateOf("sum", "label")), "ERROR 42883", ""},

	{"minutes", bucket("minute", ref("at"), true, aggregateOf("count", "")), "at|count\n2024-03-04 10:21:00+00|1\n2024-03-03 10:20:00+00|1\n2024-02-28 23:59:00+00|1",
		"at|count\n2024-03-04T10:21:00|1\n2024-03-03T10:20:00|1\n2024-02-28T23:59:00|1"},
	{"hours", bucket("hour", ref("at"), true, aggregateOf("count", "")), "at|count\n2024-03-04 10:00:00+00|1\n2024-03-03 10:00:00+00|1\n2024-02-28 23:00:00+00|1",
		"at|count\n2024-03-04T10:00:00|1\n2024-03-03T10:00:00|1\n2024-02-28T23:00:00|1"},
	{"days", bucket("day", ref("day"), false, aggregateOf("count", "")), "day|count\n2024-02-28 00:00:00|1\n2024-03-03 00:00:00|1\n2024-03-04 00:00:00|1",
		"day|count\n2024-02-28T00:00:00|1\n2024-03-03T00:00:00|1\n2024-03-04T00:00:00|1"},
	{"weeks", bucket("week", ref("day"), false, aggregateOf("count", "")), "day|count\n2024-02-26 00:00:00|2\n2024-03-04 00:00:00|1", "day|count\n2024-02-26T00:00:00|2\n2024-03-04T00:00:00|1"},
	{"months", bucket("month", ref("day"), false, aggregateOf("sum", "price"), sdk.Item{Column: ref("data", text("n"))}), "day|sum|n\n2024-02-01 00:00:00|1.5|5\n2024-03-01 00:00:00|6.5|10",
		"day|sum|n\n2024-02-01T00:00:00|1.5|5\n2024-03-01T00:00:00|6.5|10"},
	{"quarters", bucket("quarter", ref("at"), false, aggregateOf("count", "")), "at|count\n2024-01-01 00:00:00+00|3", "at|count\n2024-01-01T00:00:00|3"},
	{"years", bucket("year", ref("day"), false, aggregateOf("count", "")), "day|count\n2024-01-01 00:00:00|3", "day|count\n2024-01-01T00:00:00|3"},
	{"days of texts", bucket("day", ref("data", text("w")), false, aggregateOf("count", "")), "w|count\n2024-02-28 00:00:00+00|1\n2024-03-03 00:00:00+00|2", "w|count\n2024-02-28T00:00:00|1\n2024-03-03T00:00:00|2"},
}

// TestCounts checks the texts of all modes, and that they run: the exact and the
// estimated ones count, plans estimate.
func TestCounts(t *testing.T) {
	conn := thingsOnPostgres(t)
	const (
		plain   = `FROM "public"."things" WHERE "things"."id" > $1`
		grouped = `SELECT "things"."name" AS "n", count(*) AS "count" ` + plain + ` GROUP BY 1`
	)
	flat := selecting(sdk.Statement{Filter: where("id", sdk.Gt, num("1")), Limit: n(1), Offset: n(1), Order: by("id", false)}, item("id"))
	groups := selecting(flat, sdk.Item{Column: ref("name"), Alias: "n"}, aggregateOf("count", ""))
	capped := sdk.ResultOptions{MaxRows: 2, CapRows: true}
	cases := []struct {
		name       string
		statement  sdk.Statement
		verb       sdk.Verb
		mode       sdk.CountMode
		o          sdk.ResultOptions
		text, plan string
		bound      int64
		total      string
	}{
		{"exact", flat, sdk.Select, sdk.CountExact, capped, `SELECT count(*) ` + plain, "", 0, "3"},
		{"planned", flat, sdk.Select, sdk.CountPlanned, capped, "", `SELECT 1 ` + plain, 0, ""},
		{"estimated", flat, sdk.Select, sdk.CountEstimated, sdk.ResultOptions{MaxRows: 2}, `SELECT count(*) FROM (SELECT 1 ` + plain + ` LIMIT 1001) AS _`, `SELECT 1 ` + plain, 1000, "3"},
		{"estimated with a cap", flat, sdk.Select, sdk.CountEstimated, sdk.ResultOptions{MaxRows: 1, CapRows: true}, `SELECT count(*) FROM (SELECT 1 ` + plain + ` LIMIT 2) AS _`, `SELECT 1 ` + plain, 1, "2"},
		{"exact groups", groups, sdk.Select, sdk.CountExact, capped, `SELECT count(*) FROM (` + grouped + `) AS _`, "", 0, "3"},
		{"estimated groups", groups, sdk.Select, sdk.CountEstimated, capped, `SELECT count(*) FROM (` + grouped + ` LIMIT 3) AS _`, grouped, 2, "3"},
		{"planned count", flat, sdk.Count, sdk.CountPlanned, capped, "", `SELECT 1 ` + plain, 0, ""},
		{"estimated count", flat, sdk.Count, sdk.CountEstimated, capped, `SELECT count(*) FROM (SELECT 1 ` + plain + ` LIMIT 3) AS _`, `SELECT 1 ` + plain, 2, "3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.statement.Verb, c.statement.Count, c.statement.Table.Name = c.verb, c.mode, "things"
			if c.plan != "" {
				c.plan = "EXPLAIN (FORMAT JSON) " + c.plan
			}
			q, err := Postgres.Build(things(Postgres), &c.statement, &c.o)
			if err != nil {
				t.Fatal(err)
			}
			if q.Count.Text != c.text || q.Count.Plan != c.plan || q.Count.Bound != c.bound {
				t.Errorf("got %+v", q.Count)
			}
			if c.verb == sdk.Count && q.Text != `SELECT count(*) `+plain {
				t.Errorf("the exact count is %s", q.Text)
			}
			if c.text != "" {
				got, err := runPostgres(conn, &Query{Text: q.Count.Text, Args: q.Count.Args})
				checkRows(t, q, got, err, "count\n"+c.total)
			}
			if c.plan != "" {
				got, err := runPostgres(conn, &Query{Text: q.Count.Plan, Args: q.Count.PlanArgs})
				if err != nil || !strings.Contains(strings.Join(got.rows, ""), `"Plan Rows": `) {
					t.Errorf("the plan is %v, %v", got.rows, err)
				}
			}
			q, err = SQLite.Build(things(SQLite), &c.statement, &c.o)
			if err != nil {
				t.Fatal(err)
			}
			if c.verb == sdk.Count && q.Count != nil || c.verb == sdk.Select && (q.Count.Text == "" || q.Count.Plan != "" || q.Count.Bound != 0) {
				t.Errorf("SQLite has %+v", q.Count)
			}
		})
	}
}

// TestIndexedPath holds that an index on a JSON path serves a filter and an order by it.
func TestIndexedPath(t *testing.T) {
	conn := thingsOnPostgres(t)
	err := conn.Exec(context.Background(), `create index on things ((data->'a'->>'it''s')); set enable_seqscan = off; set enable_sort = off`).Close()
	if err != nil {
		t.Fatal(err)
	}
	path := ref("data", key("a"), text("it's"))
	filter := compare(path, sdk.Eq, str("x"))
	for name, s := range map[string]sdk.Statement{
		"filter": selecting(sdk.Statement{Filter: &filter}, item("id")),
		"order":  selecting(sdk.Statement{Order: []sdk.Order{{Column: path}}}, item("id")),
	} {
		s.Table.Name = "things"
		q, err := Postgres.Build(things(Postgres), &s, &sdk.ResultOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := runPostgres(conn, &Query{Text: "EXPLAIN " + q.Text, Args: q.Args})
		if plan := strings.Join(got.rows, "\n"); err != nil || !strings.Contains(plan, "things_expr_idx") {
			t.Errorf("%s: %v\n%s\n%s", name, err, q.Text, plan)
		}
	}
}

// TestTextFormats holds that composites keep their own text where no JSON is written.
func TestTextFormats(t *testing.T) {
	s := selecting(sdk.Statement{Table: sdk.Table{Name: "things"}}, item("pair"), sdk.Item{Aggregate: "max", Column: ref("pair")})
	for format, want := range map[sdk.Format]string{
		sdk.FormatRows: `SELECT to_jsonb("things"."pair") AS "pair", to_jsonb(max("things"."pair")) AS "max"`,
		sdk.FormatCSV:  `SELECT "things"."pair", max("things"."pair") AS "max"`,
		sdk.FormatRaw:  `SELECT "things"."pair", max("things"."pair") AS "max"`,
	} {
		q, err := Postgres.Build(things(Postgres), &s, &sdk.ResultOptions{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		if want += ` FROM "public"."things" GROUP BY 1`; q.Text != want {
			t.Errorf("got %s, want %s", q.Text, want)
		}
	}
}

// TestJSONColumns checks which columns are said to be JSON where SQLite does not know.
func TestJSONColumns(t *testing.T) {
	s := selecting(sdk.Statement{Table: sdk.Table{Name: "things"}}, item("data"), sdk.Item{Column: ref("data", key("a"))}, sdk.Item{Column: ref("data", text("a"))},
		sdk.Item{Column: ref("name"), Cast: "json"}, sdk.Item{Aggregate: "max", Column: ref("data", key("a"))}, sdk.Item{Aggregate: "count", Column: ref("data", key("a"))})
	q, err := SQLite.Build(things(SQLite), &s, &sdk.ResultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{1, 3}; !slices.Equal(q.JSON, want) {
		t.Errorf("got %v, want %v", q.JSON, want)
	}
	if q, err = Postgres.Build(things(Postgres), &s, &sdk.ResultOptions{}); err != nil || q.JSON != nil {
		t.Errorf("got %v, %v; want none", q, err)
	}
}

// TestTablesTouched checks which tables a statement is said to read and to write.
func TestTablesTouched(t *testing.T) {
	view, effects := things(Postgres), things(Postgres)
	view.Tables[sdk.Table{Schema: "public", Name: "things"}].Kind = View
	effects.Tables[sdk.Table{Schema: "public", Name: "things"}].Effects = true
	own := []string{"public.things"}
	cases := []struct {
		name          string
		catalogue     *Catalogue
		statement     sdk.Statement
		read, written []string
	}{
		{"select", things(Postgres), selecting(sdk.Statement{}, item("id")), own, nil},
		{"count", things(Postgres), sdk.Statement{Verb: sdk.Count}, own, nil},
		{"select from a view", view, selecting(sdk.Statement{}, item("id")), []string{"*"}, nil},
		{"computed column", things(Postgres), selecting(sdk.Statement{Filter: where("label", sdk.Eq, str("x"))}, item("id")), []string{"*", "public.things"}, nil},
		{"delete", things(Postgres), sdk.Statement{Verb: sdk.Delete, AllowAll: true}, nil, own},
		{"delete with effects", effects, sdk.Statement{Verb: sdk.Delete, AllowAll: true}, nil, []string{"*"}},
	}
	for _, c := range cases {
		c.statement.Table.Name = "things"
		q, err := Postgres.Build(c.catalogue, &c.statement, &sdk.ResultOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(q.Read, c.read) || !slices.Equal(q.Written, c.written) {
			t.Errorf("%s: reads %v and writes %v, want %v and %v", c.name, q.Read, q.Written, c.read, c.written)
		}
	}
}
