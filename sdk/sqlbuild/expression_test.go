package sqlbuild

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const (
	thingsSQL = `
create domain document as jsonb;
create domain searchable as tsvector;
create type mood as enum ('glad', 'sad');
create type pair as (a int, b text);
create schema other;
create table things (id int primary key, name text, data jsonb, raw json, doc document, tags text[], span int4range,
  search searchable, at timestamptz, day date, price numeric, pair pair, things text);
create function label(things) returns text language sql stable as 'select coalesce($1.name, ''none'') || ''!''';
create function other.facts(things) returns json language sql stable as 'select json_build_object(''id'', $1.id)';
insert into things (id, name, data, tags, span, at, day, price, pair) values
  (1, 'Alpha beta', '{"n": 5, "t": true, "a": {"b": [1, 2, {"c": "x"}]}, "it''s": "q", "back\\slash": "b", "d\"q": "dq", "$.a": "path", "": "empty", "z": null, "w": "2024-02-28 10:20:30"}',
   '{a,b}', '[1,5)', '2024-02-28 23:59:59+00', '2024-02-28', 1.5, '(1,x)'),
  (2, 'gamma', '{"n": 10, "t": false, "a": {"b": []}, "w": "2024-03-03 10:20:30"}', '{b,c}', '[5,9)', '2024-03-03 10:20:30+00', '2024-03-03', 2.5, '(2,y)'),
  (3, 'Alpha', '{"n": 10, "t": "true", "w": "2024-03-03 10:20:31"}', '{}', '[20,30)', '2024-03-04 10:21:30+00', '2024-03-04', 4, '(1,x)'),
  (4, null, null, null, null, null, null, null, null);
update things set raw = data, doc = data, search = to_tsvector('english', name);`

	thingsSQLite = `
create table things (id integer primary key, name text, data json, at text, day date, price numeric);
insert into things values
  (1, 'Alpha beta', '{"n": 5, "t": true, "a": {"b": [1, 2, {"c": "x"}]}, "it''s": "q", "back\\slash": "b", "d\"q": "dq", "$.a": "path", "": "empty", "z": null, "w": "2024-02-28 10:20:30"}', '2024-02-28 23:59:59', '2024-02-28', 1.5),
  (2, 'gamma', '{"n": 10, "t": false, "a": {"b": []}, "w": "2024-03-03 10:20:30"}', '2024-03-03 10:20:30', '2024-03-03', 2.5),
  (3, 'Alpha', '{"n": 10, "t": "true", "w": "2024-03-03 10:20:31"}', '2024-03-04 10:21:30', '2024-03-04', 4),
  (4, null, null, null, null, null);`
)

// things is the catalogue of thingsSQL, or of thingsSQLite.
func things(d *Dialect) *Catalogue {
	t := &Table{Schema: "public", Name: "things", Key: []string{"id"}, Columns: []Column{
		{Name: "id", Type: "integer", Class: ClassNumber}, {Name: "name", Type: "text", Class: ClassText},
		{Name: "data", Type: "jsonb", Class: ClassJSON}, {Name: "at", Type: "timestamp with time zone", Class: ClassTime},
		{Name: "day", Type: "date", Class: ClassTime}, {Name: "price", Type: "numeric", Class: ClassNumber}}}
	if d.sqlite {
		t.Schema = ""
		return catalogueOf(t)
	}
	t.Columns = append(t.Columns, Column{Name: "raw", Type: "json", Class: ClassJSON}, Column{Name: "doc", Type: "document", Class: ClassJSON},
		Column{Name: "tags", Type: "text[]", Class: ClassArray}, Column{Name: "span", Type: "int4range"},
		Column{Name: "search", Type: "searchable", Class: ClassTSVector}, Column{Name: "pair", Type: "pair", AsJSON: true},
		Column{Name: "things", Type: "text", Class: ClassText})
	t.Computed = []*Function{
		{Schema: "public", Name: "name", Returns: Returns{Value: Column{Name: "name", Type: "xml"}}}, // hidden by the column
		{Schema: "public", Name: "label", Returns: Returns{Value: Column{Name: "label", Type: "text", Class: ClassText}}},
		{Schema: "other", Name: "facts", Returns: Returns{Value: Column{Name: "facts", Type: "json", Class: ClassJSON}}},
		{Schema: "public", Name: "others", Returns: Returns{Set: true, Table: t}},
	}
	return catalogueOf(t)
}

// key and text are steps into JSON.
func key(k string) sdk.PathStep  { return sdk.PathStep{Key: k} }
func text(k string) sdk.PathStep { return sdk.PathStep{Key: k, Text: true} }
func at(i int64) sdk.PathStep    { return sdk.PathStep{Index: i, IsIndex: true} }

func ref(name string, path ...sdk.PathStep) sdk.Column { return sdk.Column{Name: name, Path: path} }

// expression is a Select of things on both databases.
type expression struct {
	name      string
	statement sdk.Statement
	// The rows as runPostgres and runSQLite have them, after the line of column names.
	// postgres "": the statement is refused as Unsupported; "=": sqlite's rows are the same.
	postgres, sqlite string
}

func selecting(s sdk.Statement, items ...sdk.Item) sdk.Statement {
	s.Verb, s.Selection.Items = sdk.Select, items
	return s
}

// idsWhere selects the ids for which f holds.
func idsWhere(f sdk.Filter) sdk.Statement {
	return selecting(sdk.Statement{Filter: &f, Order: []sdk.Order{{Column: ref("id")}}}, item("id"))
}

func first1(items ...sdk.Item) sdk.Statement {
	return selecting(sdk.Statement{Key: []sdk.Value{num("1")}}, items...)
}

func compare(column sdk.Column, op sdk.Operator, values ...sdk.Value) sdk.Filter {
	return sdk.Filter{Column: column, Operator: op, Values: values}
}

func loosely(f sdk.Filter) sdk.Filter {
	f.Compare = sdk.Lenient
	return f
}

func quantified(q sdk.Quantifier, f sdk.Filter) sdk.Filter {
	f.Quantifier = q
	return f
}

var expressions = []expression{
	{"JSON paths", first1(
		sdk.Item{Column: ref("data", key("n"))}, sdk.Item{Column: ref("data", text("n")), Alias: "text"},
		sdk.Item{Column: ref("data", key("a"), key("b"), at(-1), text("c"))}, sdk.Item{Column: ref("data", key("a"), key("b"), at(0))},
		sdk.Item{Column: ref("data", text("t"))}, sdk.Item{Column: ref("data", text("z"))}, sdk.Item{Column: ref("data", text("no"))}),
		"n|text|c|b|t|z|no\n5|5|x|1|true|~|~", "="},
	{"strange keys", first1(
		sdk.Item{Column: ref("data", text("it's"))}, sdk.Item{Column: ref("data", text(`back\slash`))}, sdk.Item{Column: ref("data", text(`d"q`))},
		sdk.Item{Column: ref("data", text("$.a"))}, sdk.Item{Column: ref("data", text("")), Alias: "e"}, sdk.Item{Column: ref("data", text(`\' or 1=1`)), Alias: "x"}),
		"it's|back\\slash|d\"q|$.a|e|x\nq|b|dq|path|empty|~", "="},
	{"paths into other types", first1(sdk.Item{Column: ref("tags", at(1))}, sdk.Item{Column: ref("pair", text("b"))}, sdk.Item{Column: ref("doc", text("n"))},
		sdk.Item{Column: ref("raw", key("a"), at(9))}), "tags|b|n|a\n\"b\"|x|5|~", ""},
	{"casts of paths", first1(sdk.Item{Column: ref("data", text("n")), Cast: "int"}, sdk.Item{Column: ref("data", key("n")), Cast: "text", CastAfter: "int", Alias: "both"}),
		"n|both\n5|5", "="},
	{"filter by text", idsWhere(compare(ref("data", text("n")), sdk.Eq, str("10"))), "id\n2\n3", "="},
	{"filter by text leniently", idsWhere(loosely(compare(ref("data", text("n")), sdk.Eq, num("10")))), "id\n2\n3", "="},
	{"filter by boolean text", idsWhere(loosely(compare(ref("data", text("t")), sdk.Eq, sdk.Value{Hint: sdk.Bool, Text: "true"}))), "id\n1\n3", "="},
	{"filter by JSON", idsWhere(compare(ref("data", key("n")), sdk.Eq, str("10"))), "id\n2\n3", "="},
	{"filter by JSON leniently", idsWhere(loosely(compare(ref("data", key("t")), sdk.Eq, str("true")))), "id\n1", "="},
	{"filter by a number in JSON", idsWhere(compare(ref("data", key("n")), sdk.Gt, num("9"))), "id\n2\n3", "="},
	{"filter by another spelling of it", idsWhere(compare(ref("data", key("n")), sdk.Eq, num("5.0"))), "id\n1", "="},
	{"filter by a list of numbers in JSON", idsWhere(compare(ref("data", key("n")), sdk.In, num("10.00"), num("7"))), "id\n2\n3", "="},
	{"is distinct from a number in JSON", idsWhere(compare(ref("data", key("n")), sdk.IsDistinct, num("1e1"))), "id\n1\n4", "="},
	{"booleans and texts beside numbers in JSON", idsWhere(compare(ref("data", key("t")), sdk.Gt, num("9"))), "id\n1\n2", "="},
	{"null below numbers in JSON", idsWhere(compare(ref("data", key("z")), sdk.Lte, num("9"))), "id\n1", "="},
	{"filter by a list", idsWhere(loosely(compare(ref("data", text("n")), sdk.In, num("5"), num("7")))), "id\n1", "="},
	{"filter by a JSON list", idsWhere(loosely(compare(ref("data", key("n")), sdk.In, num("5"), num("7")))), "id\n1", "="},
	{"filter by a cast path", idsWhere(sdk.Filter{Column: ref("data", text("n")), Operator: sdk.Gt, Values: []sdk.Value{num("6")}, ColumnCast: "int"}), "id\n2\n3", "="},
	{"filter by a pattern", idsWhere(compare(ref("data", text("it's")), sdk.Like, str("q%"))), "id\n1", "="},
	{"a path that is null", idsWhere(compare(ref("data", text("z")), sdk.Is, str("not_null"))), "id", "="},
	{"a path that is JSON null", idsWhere(compare(ref("data", key("z")), sdk.Is, str("not_null"))), "id\n1", "="},
	{"order by a path", selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("data", text("n")), Nulls: sdk.NullsFirst}, {Column: ref("id"), Descending: true}}}, item("id")),
		"id\n4\n3\n2\n1", "="},
	{"order by numbers in JSON", selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("data", key("n")), Descending: true, Nulls: sdk.NullsLast}, {Column: ref("id")}}}, item("id")),
		"id\n2\n3\n1\n4", "="},
	{"order distinct numbers in JSON", distinct(selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("data", key("n")), Nulls: sdk.NullsLast}}}, sdk.Item{Column: ref("data", key("n"))})),
		"n\n5\n10\n~", "="},
	{"order groups of numbers in JSON", selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("data", key("n")), Nulls: sdk.NullsLast}}}, sdk.Item{Column: ref("data", key("n"))}, sdk.Item{Aggregate: "count"}),
		"n|count\n5|1\n10|2\n~|1", "="},
	{"the most of numbers in JSON", selecting(sdk.Statement{}, sdk.Item{Column: ref("data", key("n")), Aggregate: "max"}, sdk.Item{Column: ref("data", key("n")), Aggregate: "sum"}),
		"ERROR 42883", "max|sum\n10|25"},
	{"order by JSON", selecting(sdk.Statement{Order: []sdk.Order{{Column: ref("raw", key("n")), Descending: true, Nulls: sdk.NullsLast}, {Column: ref("id")}}}, item("id")),
		"id\n2\n3\n1\n4", ""},

	{"computed columns", first1(sdk.Item{Column: ref("label")}, item("name"), sdk.Item{Column: ref("facts", text("id"))}, sdk.Item{Column: ref("facts"), Cast: "text", Alias: "f"}),
		"label|name|id|f\nAlpha beta!|Alpha beta|1|{\"id\" : 1}", ""},
	{"filter by a computed column", selecting(sdk.Statement{Filter: where("label", sdk.Neq, str("Alpha beta!")), Order: by("label", true)}, item("id")), "id\n4\n2\n3", ""},
	{"a column named as its table", selecting(sdk.Statement{Filter: where("label", sdk.Eq, str("gamma!"))}, item("things"), item("label")), "things|label\n~|gamma!", ""},

	{"any", idsWhere(quantified(sdk.Any, compare(ref("name"), sdk.Like, str("Alpha%"), str("gam%")))), "id\n1\n2\n3", "="},
	{"all", idsWhere(quantified(sdk.All, compare(ref("name"), sdk.Like, str("Alpha%"), str("%beta")))), "id\n1", "="},
	{"any with eq", idsWhere(quantified(sdk.Any, compare(ref("id"), sdk.Eq, num("1"), num("3")))), "id\n1\n3", "="},
	{"all with gt", idsWhere(quantified(sdk.All, compare(ref("id"), sdk.Gt, num("1"), num("3")))), "id\n4", "="},
	{"any with match", idsWhere(quantified(sdk.Any, compare(ref("name"), sdk.IMatch, str("^alpha$"), str("^g")))), "id\n2\n3", ""},
	{"overlap", idsWhere(compare(ref("tags"), sdk.Overlaps, str("{a,c}"))), "id\n1\n2", ""},
	{"overlap leniently", idsWhere(loosely(compare(ref("tags"), sdk.Overlaps, sdk.Value{Hint: sdk.JSON, Text: `["a"]`}))), "id\n1", ""},
	{"overlap of ranges", idsWhere(compare(ref("span"), sdk.Overlaps, str("[4,6)"))), "id\n1\n2", ""},
	{"contains", idsWhere(compare(ref("span"), sdk.Contains, str("[6,7)"))), "id\n2", ""},
	{"JSON contains", idsWhere(compare(ref("data", key("a")), sdk.Contains, str(`{"b": [2]}`))), "id\n1", ""},
	{"strictly left", idsWhere(compare(ref("span"), sdk.StrictLeft, str("[5,6)"))), "id\n1", ""},
	{"strictly right", idsWhere(compare(ref("span"), sdk.StrictRght, str("[5,9)"))), "id\n3", ""},
	{"not right", idsWhere(compare(ref("span"), sdk.NotRight, str("[1,9)"))), "id\n1\n2", ""},
	{"not left", idsWhere(compare(ref("span"), sdk.NotLeft, str("[5,9)"))), "id\n2\n3", ""},
	{"adjacent", idsWhere(compare(ref("span"), sdk.Adjacent, str("[9,20)"))), "id\n2\n3", ""},
	{"is unknown", idsWhere(sdk.Filter{Column: ref("data", text("none")), Operator: sdk.Is, Values: []sdk.Value{str("unknown")}, ColumnCast: "boolean"}), "id\n1\n2\n3\n4", "="},
	{"is distinct", idsWhere(compare(ref("name"), sdk.IsDistinct, str("gamma"))), "id\n1\n3\n4", "="},

	{"search", idsWhere(compare(ref("search"), sdk.FTS, str("alpha & beta"))), "id\n1", ""},
	{"search in a language", idsWhere(sdk.Filter{Column: ref("search"), Operator: sdk.PlainFTS, Values: []sdk.Value{str("alphas")}, Language: "english"}), "id\n1\n3", ""},
	{"search in text", idsWhere(sdk.Filter{Column: ref("name"), Operator: sdk.PhraseFTS, Values: []sdk.Value{str("alphas beta")}, Language: "english"}), "id\n1", ""},
	{"search in text simply", idsWhere(sdk.Filter{Column: ref("name"), Operator: sdk.WebFTS, Values: []sdk.Value{str("alphas or gamma")}, Language: "simple"}), "id\n2", ""},
	{"search in a path", idsWhere(compare(ref("data", key("a"), key("b")), sdk.FTS, str("x"))), "id\n1", ""},
	{"search in numbers leniently", idsWhere(loosely(compare(ref("id"), sdk.FTS, str("3")))), "id\n3", ""},

	{"cast to another type", first1(sdk.Item{Column: ref("price"), Cast: "numeric(5, 2)"}, sdk.Item{Column: ref("id"), Cast: "pg_catalog.int8", Alias: "big"},
		sdk.Item{Column: ref("name"), Cast: "character varying(5)", Alias: "short"}, sdk.Item{Column: ref("at"), Cast: "timestamp(0) without time zone", Alias: "local"},
		sdk.Item{Column: ref("name"), Cast: "char", Alias: "c"}, sdk.Item{Column: ref("tags"), Cast: "varchar(9)[]"}, sdk.Item{Column: ref("price"), Cast: "double precision", Alias: "float"}),
		"price|big|short|local|c|tags|float\n1.50|1|Alpha|2024-02-28 23:59:59|A|{a,b}|1.5", ""},
	{"cast values", idsWhere(sdk.Filter{Column: ref("name"), Operator: sdk.Eq, Values: []sdk.Value{str("sad")}, ColumnCast: "text", ValueCast: "mood[]"}), "ERROR 42883", ""},
	{"cast to what is not there", first1(sdk.Item{Column: ref("id"), Cast: "No_Such"}), "ERROR 42704", ""},
}

// thingsOnPostgres connects to a database of thingsSQL.
func thingsOnPostgres(t *testing.T) *pgconn.PgConn {
	conn, err := pgconn.Connect(context.Background(), testenv.Database(t, thingsSQL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if err := conn.Exec(context.Background(), "set timezone to utc").Close(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestExpressionsOnPostgres(t *testing.T) {
	conn := thingsOnPostgres(t)
	for _, c := range append(expressions, groupings...) {
		t.Run(c.name, func(t *testing.T) {
			c.statement.Table.Name = "things"
			q, err := Postgres.Build(things(Postgres), &c.statement, &sdk.ResultOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := runPostgres(conn, q)
			checkRows(t, q, got, err, c.postgres)
		})
	}
}

func TestExpressionsOnSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(thingsSQLite); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(expressions, groupings...) {
		t.Run(c.name, func(t *testing.T) {
			c.statement.Table.Name = "things"
			q, err := SQLite.Build(things(SQLite), &c.statement, &sdk.ResultOptions{})
			if c.sqlite == "" {
				if e := sdk.AsError(err); e == nil || e.Kind != sdk.Unsupported && e.Reason != "undefined_column" && e.Reason != "invalid_cast" {
					t.Fatalf("got %v and %v, want it to be refused", q, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := c.sqlite
			if want == "=" {
				want = c.postgres
			}
			got, err := runSQLite(db, q)
			checkRows(t, q, got, err, want)
		})
	}
}

// checkRows compares what a query answered with, or how it failed, with want.
func checkRows(t *testing.T, q *Query, got executed, err error, want string) {
	t.Helper()
	lines := strings.Join(append([]string{strings.Join(got.columns, "|")}, got.rows...), "\n")
	if err != nil {
		lines = "ERROR " + err.Error()
		if e, ok := err.(*pgconn.PgError); ok {
			lines = "ERROR " + e.Code
		}
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s %v\n%v", diff, q.Text, q.Args, err)
	}
}

// TestExpressionTexts checks the forms that indexes and cached plans depend on.
func TestExpressionTexts(t *testing.T) {
	path := ref("data", key(`it's`), at(-1), text(`a\b`))
	cases := []struct {
		filter           sdk.Filter
		postgres, sqlite string
	}{
		{compare(path, sdk.Eq, str("x")),
			`("things"."data"->'it''s'-> -1->>E'a\\b') = $1`,
			`(CASE json_type("things"."data",'$."it''s"[#-1]."a\\b"') WHEN 'text' THEN "things"."data"->>'$."it''s"[#-1]."a\\b"' WHEN 'null' THEN NULL ELSE "things"."data"->'$."it''s"[#-1]."a\\b"' END) = ?1`},
		{compare(ref("price", key("a")), sdk.In, str("1"), str("2")),
			`(to_jsonb("things"."price")->'a') = ANY($1)`,
			`CASE WHEN json_type("things"."price",'$."a"') IN ('integer','real') THEN ("things"."price"->>'$."a"') ELSE ("things"."price"->'$."a"') END IN (SELECT value FROM json_each(?1))`},
		{sdk.Filter{Column: ref("data", text("a")), Operator: sdk.Gt, Values: []sdk.Value{num("1")}, ColumnCast: "int8", ValueCast: "numeric(3)"},
			`("things"."data"->>'a')::"int8" > $1::"numeric"(3)`, ""},
		{compare(ref("label"), sdk.ILike, str("a%")), `"public"."label"("things".*) ILIKE $1`, ""},
		{sdk.Filter{Column: ref("name"), Operator: sdk.WebFTS, Values: []sdk.Value{str("a")}, Language: "german"},
			`to_tsvector($1::regconfig, "things"."name") @@ websearch_to_tsquery($1::regconfig, $2)`, ""},
		{sdk.Filter{Column: ref("search"), Operator: sdk.FTS, Values: []sdk.Value{str("a")}, Language: "german"},
			`"things"."search" @@ to_tsquery($1::regconfig, $2)`, ""},
		{sdk.Filter{Column: ref("name"), Operator: sdk.FTS, Values: []sdk.Value{str("a")}, ColumnCast: "tsvector"},
			`"things"."name"::"tsvector" @@ to_tsquery($1)`, ""},
		{quantified(sdk.All, compare(ref("id"), sdk.Lte, num("1"), null)), `"things"."id" <= ALL($1)`, `("things"."id" <= ?1 AND "things"."id" <= ?2)`},
	}
	for _, c := range cases {
		for d, want := range map[*Dialect]string{Postgres: c.postgres, SQLite: c.sqlite} {
			s := sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Name: "things"}, Filter: &c.filter}
			q, err := d.Build(things(d), &s, &sdk.ResultOptions{})
			if want == "" && err != nil {
				continue
			}
			if err != nil {
				t.Errorf("%s: %v, want %s", d.name, err, want)
			} else if _, got, _ := strings.Cut(q.Text, " WHERE "); got != want {
				t.Errorf("%s: got %s, want %s", d.name, got, want)
			}
		}
	}
}
