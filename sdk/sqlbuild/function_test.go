package sqlbuild

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const functionsSQL = librarySQL + `;
create type point2 as (x int, y int);
create type single as (x int);
create table lone (id int);
create table calls (n int);
create function add(a int, b int default 10) returns int language sql immutable as 'select a + b';
create function nothing() returns int language sql immutable as 'select null::int';
create function touch(n int) returns void language sql volatile as 'insert into calls values (n)';
create function bump(n int) returns int language sql volatile as 'insert into calls values (n) returning n';
create function evens(top int) returns setof int language sql immutable as 'select g from generate_series(0, top, 2) g';
create function pair() returns point2 language sql stable as 'select row(1, null)::point2';
create function no_pair() returns point2 language sql stable as 'select null::point2';
create function null_pair() returns point2 language sql stable as 'select row(null, null)::point2';
create function no_single() returns single language sql stable as 'select null::single';
create function null_single() returns single language sql stable as 'select row(null)::single';
create function no_lone() returns lone language sql stable as 'select null::lone';
create function outs(out a int, out b text) language plpgsql as 'begin insert into calls values (1); a := 1; b := ''x''; end';
create function one_out(out a int) language sql stable as 'select 7';
create function grid(n int) returns table (x int, y int) language sql stable as 'select a, b from generate_series(1, n) a, generate_series(1, n) b';
create function author_of(title text) returns authors language sql stable as 'select a.* from authors a join books b on b.author_id = a.id where b.title = $1';
create function all_authors() returns setof authors language plpgsql volatile as 'begin insert into calls values (1); return query select * from authors; end';
create function anything() returns setof record language sql stable as 'select 1 as a, ''x''::text as b union all select 2, ''y''';
create function one_thing() returns record language sql stable as 'select 1 as a';
create function document(json) returns json language sql immutable as 'select $1';
create function plain(text) returns text language sql immutable as 'select upper($1)';
create function bytes(bytea) returns int language sql immutable as 'select length($1)';
create function total(start int, variadic rest int[]) returns bigint language sql immutable as 'select start + coalesce((select sum(r) from unnest(rest) r), 0)';
create function typed(i bigint default null, t text default null, j json default null, jb jsonb default null, ts text[] default null, nn numeric[][] default null, d date default null, b boolean default null)
  returns text language sql stable as 'select concat_ws(''/'', i, t, j, jb, ts, nn, d, b)';
create function composite(p point2) returns int language sql immutable as 'select p.x * p.y';
create function composites(ps point2[]) returns bigint language sql immutable as 'select sum((p).x) from unnest(ps) p';
create function over(a int) returns text language sql immutable as 'select ''int''';
create function over(a text) returns text language sql immutable as 'select ''text''';
create function over(a int, b int) returns text language sql immutable as 'select ''two''';
create function over() returns text language sql immutable as 'select ''none''';
create function mixed(a int) returns text language sql immutable as 'select ''named''';
create function mixed(jsonb) returns text language sql immutable as 'select ''body ''::text || $1::text';
create function "odd ""name"(" arg" int) returns int language sql immutable as 'select $1'`

// functions is the catalogue of functionsSQL.
func functions() *Catalogue {
	c := library()
	c.Functions = map[sdk.Table][]*Function{}
	number := func(name string) Column { return Column{Name: name, Type: "integer", Class: ClassNumber} }
	text := func(name string) Column { return Column{Name: name, Type: "text", Class: ClassText} }
	param := func(name, typ string) Param { return Param{Name: name, Type: typ} }
	optional := func(name, typ string, class Class) Param {
		return Param{Name: name, Type: typ, Class: class, Optional: true}
	}
	add := func(name string, returns Returns, params ...Param) *Function {
		f := &Function{Schema: "public", Name: name, Params: params, Returns: returns}
		if f.Returns.Columns == nil && f.Returns.Value.Name == "" && f.Returns.Table == nil {
			f.Returns.Value = Column{Name: name, Type: "integer", Class: ClassNumber}
		}
		key := sdk.Table{Schema: "public", Name: name}
		c.Functions[key] = append(c.Functions[key], f)
		return f
	}
	point := []Column{number("x"), number("y")}
	authors := c.Tables[sdk.Table{Schema: "public", Name: "authors"}]
	add("add", Returns{}, param("a", "integer"), optional("b", "integer", ClassNumber)).Settings = []sdk.Pair{{Name: "statement_timeout", Value: "5s"}}
	add("nothing", Returns{})
	add("touch", Returns{Void: true}, param("n", "integer")).Volatile = true
	add("bump", Returns{}, param("n", "integer")).Volatile = true
	add("evens", Returns{Set: true}, param("top", "integer"))
	add("pair", Returns{Columns: point})
	add("no_pair", Returns{Columns: point})
	add("null_pair", Returns{Columns: point})
	add("outs", Returns{Columns: []Column{number("a"), text("b")}}).Volatile = true
	add("one_out", Returns{Columns: []Column{number("a")}, OneOut: true})
	add("no_single", Returns{Columns: []Column{number("x")}})
	add("null_single", Returns{Columns: []Column{number("x")}})
	lone := &Table{Schema: "public", Name: "lone", Columns: []Column{number("id")}}
	add("no_lone", Returns{Table: lone, Columns: lone.Columns})
	add("grid", Returns{Set: true, Columns: point}, param("n", "integer"))
	add("author_of", Returns{Table: authors, Columns: authors.Columns}, param("title", "text"))
	add("all_authors", Returns{Set: true, Table: authors, Columns: authors.Columns}).Volatile = true
	add("anything", Returns{Set: true, Unknown: true})
	add("one_thing", Returns{Unknown: true})
	add("document", Returns{Value: Column{Name: "document", Type: "json", Class: ClassJSON}}, Param{Type: "json", Class: ClassJSON})
	add("plain", Returns{Value: text("plain")}, Param{Type: "text", Class: ClassText})
	add("bytes", Returns{}, Param{Type: "bytea", Class: ClassBytes})
	add("total", Returns{}, param("start", "integer"), Param{Name: "rest", Type: "integer[]", Class: ClassArray, Variadic: true})
	add("typed", Returns{Value: text("typed")}, optional("i", "bigint", ClassNumber), optional("t", "text", ClassText), optional("j", "json", ClassJSON),
		optional("jb", "jsonb", ClassJSON), optional("ts", "text[]", ClassArray), optional("nn", "numeric[]", ClassArray), optional("d", "date", ClassTime), optional("b", "boolean", ClassBool))
	add("composite", Returns{}, Param{Name: "p", Type: "point2", Record: true})
	add("composites", Returns{}, Param{Name: "ps", Type: "point2[]", Class: ClassArray, Record: true})
	add("over", Returns{Value: text("over")}, param("a", "integer"))
	add("over", Returns{Value: text("over")}, param("a", "text"))
	add("over", Returns{Value: text("over")}, param("a", "integer"), param("b", "integer"))
	add("over", Returns{Value: text("over")})
	add("mixed", Returns{Value: text("mixed")}, param("a", "integer"))
	add("mixed", Returns{Value: text("mixed")}, Param{Type: "jsonb", Class: ClassJSON})
	add(`odd "name`, Returns{}, param(" arg", "integer"))
	return c
}

func jsonCall(name, args string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, Args: []byte(args)}}
}

func pairCall(name string, pairs ...string) sdk.Statement {
	call := sdk.FunctionCall{Name: name, ViaGet: true}
	for i := 0; i < len(pairs); i += 2 {
		call.ArgPairs = append(call.ArgPairs, sdk.Pair{Name: pairs[i], Value: pairs[i+1]})
	}
	return sdk.Statement{Verb: sdk.Function, Function: call}
}

func bodyCall(name, mediaType, body string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, Body: []byte(body), BodyType: mediaType}}
}

func with(s sdk.Statement, shape func(s *sdk.Statement)) sdk.Statement {
	shape(&s)
	return s
}

func TestFunctionsOnPostgres(t *testing.T) {
	conn, err := pgconn.Connect(context.Background(), testenv.Database(t, functionsSQL))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	type asked struct {
		shape  sdk.Shape
		bare   bool
		hidden Hidden
	}
	scalar, values, object, set, totals := asked{shape: sdk.ShapeScalar, bare: true}, asked{bare: true}, asked{shape: sdk.ShapeObject}, asked{}, asked{hidden: HiddenTotals}
	for _, c := range []struct {
		name      string
		statement sdk.Statement
		as        asked
		columns   string
		rows      string
	}{
		{"named arguments", jsonCall("add", `{"b":2,"a":"1"}`), scalar, "add", "3"},
		{"a default", jsonCall("add", `{"a":1}`), scalar, "add", "11"},
		{"null argument", jsonCall("add", `{"a":null}`), scalar, "add", "~"},
		{"a name twice", jsonCall("add", `{"a":5,"a":1}`), scalar, "add", "11"},
		{"texts", pairCall("add", "a", "9", "a", "1", "b", "2"), scalar, "add", "3"},
		{"another schema's", with(jsonCall("add", `{"a":1}`), func(s *sdk.Statement) { s.Function.Schema = "public" }), scalar, "add", "11"},
		{"null", jsonCall("nothing", ""), scalar, "nothing", "~"},
		{"void", jsonCall("touch", `{"n":1}`), asked{shape: sdk.ShapeVoid}, "touch", "~"},
		{"values", jsonCall("evens", `{"top":6}`), values, "evens", "0 2 4 6"},
		{"values, shaped", with(jsonCall("evens", `{"top":6}`), func(s *sdk.Statement) {
			s.Filter, s.Order, s.Limit = where("evens", sdk.Gt, num("0")), by("evens", true), n(2)
		}), values, "evens", "6 4"},
		{"values, counted", with(jsonCall("evens", `{"top":6}`), func(s *sdk.Statement) { s.Count, s.Limit = sdk.CountExact, n(1) }),
			asked{bare: true, hidden: HiddenTotals}, "count|int8|?column?|evens", "4|~|t|0"},
		{"composite", jsonCall("pair", `{}`), object, "x|y", "1|~"},
		{"null composite", jsonCall("no_pair", `{}`), object, "x|y", ""},
		{"composite of nulls", jsonCall("null_pair", `{}`), object, "x|y", "~|~"},
		{"null composite of one column", jsonCall("no_single", `{}`), object, "x", ""},
		{"composite of one null", jsonCall("null_single", `{}`), object, "x", "~"},
		{"null row of a table of one column", jsonCall("no_lone", `{}`), object, "id", ""},
		{"composite, a column", with(jsonCall("pair", `{}`), func(s *sdk.Statement) { s.Selection = columns("x") }), object, "x", "1"},
		{"OUT parameters", jsonCall("outs", `{}`), object, "a|b", "1|x"},
		{"one OUT parameter", jsonCall("one_out", `{}`), object, "a", "7"},
		{"table", jsonCall("grid", `{"n":2}`), set, "x|y", "1|1 1|2 2|1 2|2"},
		{"table, shaped", with(jsonCall("grid", `{"n":3}`), func(s *sdk.Statement) {
			s.Selection, s.Filter, s.Order, s.Limit, s.Offset = columns("y"), where("x", sdk.Eq, num("2")), by("y", true), n(1), n(1)
		}), set, "y", "2"},
		{"table, counted", with(jsonCall("grid", `{"n":3}`), func(s *sdk.Statement) {
			s.Filter, s.Limit, s.Offset, s.Count, s.Order = where("x", sdk.Eq, num("2")), n(1), n(1), sdk.CountExact, by("y", true)
		}), totals, "count|int8|?column?|x|y", "3|~|t|2|2"},
		{"table, counted beyond its end", with(jsonCall("grid", `{"n":2}`), func(s *sdk.Statement) { s.Limit, s.Offset, s.Count = n(1), n(9), sdk.CountExact }),
			totals, "count|int8|?column?|x|y", "4|~|f|~|~"},
		{"a table's row", jsonCall("author_of", `{"title":"Three"}`), object, "id|name|mood|born", "2|Bob|sad|~"},
		{"a table's row that is not there", jsonCall("author_of", `{"title":"Four"}`), object, "id|name|mood|born", ""},
		{"a table's row, computed and related", with(jsonCall("author_of", `{"title":"Three"}`), func(s *sdk.Statement) {
			s.Selection = withItems(columns("shout"), relation("books", "title"))
		}), object, "shout|books", `BOB!|[{"title":"Three"}]`},
		{"a table's rows, computed and related", with(jsonCall("all_authors", `{}`), func(s *sdk.Statement) {
			s.Selection, s.Filter = withItems(columns("shout"), relation("books", "id")), where("id", sdk.Eq, num("1"))
		}), set, "shout|books", `ANN!|[{"id":1},{"id":2}]`},
		{"a table's rows, counted, computed and related", with(jsonCall("all_authors", `{}`), func(s *sdk.Statement) {
			s.Selection, s.Limit, s.Count, s.Order = withItems(columns("shout"), relation("books", "id")), n(1), sdk.CountExact, by("shout", true)
		}), totals, "count|int8|?column?|shout|books", `2|~|t|BOB!|[{"id":3}]`},
		{"inner relation of a counted call", with(jsonCall("all_authors", `{}`), func(s *sdk.Statement) {
			r := relation("books", "id")
			r.Relation.Inner, r.Relation.Filter = true, where("id", sdk.Eq, num("3"))
			s.Selection, s.Count = withItems(columns("id"), r), sdk.CountPlanned
		}), totals, "count|int8|?column?|id|books", `1|~|t|2|[{"id":3}]`},
		{"records", jsonCall("anything", `{}`), values, "anything", `{"a":1,"b":"x"} {"a":2,"b":"y"}`},
		{"records, a page", with(jsonCall("anything", `{}`), func(s *sdk.Statement) { s.Limit, s.Offset = n(1), n(1) }), values, "anything", `{"a":2,"b":"y"}`},
		{"record", jsonCall("one_thing", `{}`), scalar, "one_thing", `{"a":1}`},
		{"a body of JSON", bodyCall("document", "application/json; charset=utf-8", `[1, {"a":2}]`), scalar, "document", `[1, {"a":2}]`},
		{"an object as the body", jsonCall("document", `{"x": 1}`), scalar, "document", `{"x": 1}`},
		{"a body of text", bodyCall("plain", "text/plain", `a "b"`), scalar, "plain", `A "B"`},
		{"an empty body of text", bodyCall("plain", "text/plain", ``), scalar, "plain", ``},
		{"a body of bytes", bodyCall("bytes", "application/octet-stream", "\x00\\x\xff"), scalar, "bytes", "4"},
		{"variadic", jsonCall("total", `{"start":1,"rest":[2,3]}`), scalar, "total", "6"},
		{"variadic of nothing", jsonCall("total", `{"start":1}`), scalar, "total", "1"},
		{"variadic by repeated names", pairCall("total", "rest", "2", "start", "1", "rest", "3"), scalar, "total", "6"},
		{"types", jsonCall("typed", `{"i":9007199254740993,"t":"a\"b","j":"text","jb":{"a": [1]},"ts":["x,y",null,"NULL"],"nn":[[1.5,2],[3,4]],"d":"2024-02-29","b":true}`), scalar, "typed",
			`9007199254740993/a"b/"text"/{"a": [1]}/{"x,y",NULL,"NULL"}/{{1.5,2},{3,4}}/2024-02-29/t`},
		{"types in the place of texts", jsonCall("typed", `{"i":"7","t":{"a":1},"j":null,"ts":"{a,b}","b":"false"}`), scalar, "typed", `7/{"a":1}/{a,b}/f`},
		{"types as texts", pairCall("typed", "j", `{"a":1}`, "ts", "{a,b}", "b", "yes"), scalar, "typed", `{"a":1}/{a,b}/t`},
		{"composite argument", jsonCall("composite", `{"p":{"y":3,"x":"2"}}`), scalar, "composite", "6"},
		{"composite argument as a literal", jsonCall("composite", `{"p":"(2,4)"}`), scalar, "composite", "8"},
		{"null composite argument", jsonCall("composite", `{"p":null}`), scalar, "composite", "~"},
		{"array of composites", jsonCall("composites", `{"ps":[{"x":1},{"x":2},null]}`), scalar, "composites", "3"},
		{"overload of two", jsonCall("over", `{"a":1,"b":2}`), scalar, "over", "two"},
		{"overload of none", jsonCall("over", `{}`), scalar, "over", "none"},
		{"named before unnamed", jsonCall("mixed", `{"a":1}`), scalar, "mixed", "named"},
		{"unnamed after named", bodyCall("mixed", "application/json", `{"c":1}`), scalar, "mixed", `body {"c": 1}`},
		{"names that need quotes", jsonCall(`odd "name`, `{" arg":5}`), scalar, `odd "name`, "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := Postgres.Build(functions(), &c.statement, &sdk.ResultOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := runPostgres(conn, q)
			if err != nil {
				t.Fatalf("%v: %s", err, q.Text)
			}
			if rows := strings.Join(got.rows, " "); rows != c.rows {
				t.Errorf("got the rows %s, want %s: %s", rows, c.rows, q.Text)
			}
			if names := strings.Join(got.columns, "|"); names != c.columns {
				t.Errorf("got the columns %s, want %s", names, c.columns)
			}
			if diff := cmp.Diff(c.as, asked{q.Shape, q.Bare, q.Hidden}, cmp.AllowUnexported(asked{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestOneCall holds that a function is called once for any number of rows and columns, counted
// or not.
func TestOneCall(t *testing.T) {
	conn, err := pgconn.Connect(context.Background(), testenv.Database(t, functionsSQL))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	counted := with(jsonCall("all_authors", `{}`), func(s *sdk.Statement) { s.Count, s.Filter = sdk.CountExact, where("id", sdk.Gt, num("0")) })
	for i, s := range []sdk.Statement{jsonCall("touch", `{"n":1}`), jsonCall("bump", `{"n":1}`), jsonCall("outs", `{}`), jsonCall("all_authors", `{}`), counted} {
		q, err := Postgres.Build(functions(), &s, &sdk.ResultOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runPostgres(conn, q); err != nil {
			t.Fatal(err)
		}
		calls, err := runPostgres(conn, &Query{Text: "select count(*) from calls"})
		if want := []string{strconv.Itoa(i + 1)}; err != nil || !cmp.Equal(calls.rows, want) {
			t.Errorf("%s: %s calls, want %s (%v)", s.Function.Name, calls.rows, want, err)
		}
		if q.ReadOnly || !cmp.Equal(q.Written, []string{"*"}) || !cmp.Equal(q.Read, []string{"*"}) || !q.Rows {
			t.Errorf("%s: %+v", s.Function.Name, q)
		}
	}
	get := pairCall("bump", "n", "1")
	if q, err := Postgres.Build(functions(), &get, &sdk.ResultOptions{}); err != nil || !q.ReadOnly || q.Written != nil {
		t.Errorf("via GET: %+v, %v", q, err)
	}
	stable := jsonCall("add", `{"a":1}`)
	want := []sdk.Pair{{Name: "statement_timeout", Value: "5s"}}
	if q, err := Postgres.Build(functions(), &stable, &sdk.ResultOptions{}); err != nil || !q.ReadOnly || !cmp.Equal(q.Settings, want) {
		t.Errorf("stable: %+v, %v", q, err)
	}
}

func TestRefusedCalls(t *testing.T) {
	for _, c := range []struct {
		name      string
		statement sdk.Statement
		kind      sdk.Kind
		reason    string
		hint      string
		details   string
	}{
		{"no function", jsonCall("ad", `{"a":1}`), sdk.NotFound, "undefined_function", `did you mean "add"?`,
			`{"schema":"","function":"ad","arguments":["a"],"overloads":[]}`},
		{"no overload", jsonCall("add", `{"aa":1}`), sdk.NotFound, "undefined_function", `call it as public.add(a => integer, b => integer)`,
			`{"schema":"","function":"add","arguments":["aa"],"overloads":["public.add(a => integer, b => integer)"]}`},
		{"nearest overload", jsonCall("over", `{"a":1,"bb":1}`), sdk.NotFound, "undefined_function", `call it as public.over(a => integer, b => integer)`, ""},
		{"an argument missing", jsonCall("add", `{}`), sdk.NotFound, "undefined_function", `call it as public.add(a => integer, b => integer)`, ""},
		{"another schema", with(jsonCall("add", `{"a":1}`), func(s *sdk.Statement) { s.Function.Schema = "x" }), sdk.NotFound, "undefined_function", "", ""},
		{"ambiguous", jsonCall("over", `{"a":1}`), sdk.Invalid, "ambiguous_function", "give the functions parameters of different names, or rename one of them",
			`{"function":"over","candidates":["public.over(a => integer)","public.over(a => text)"]}`},
		{"unnamed by GET", pairCall("document", "x", "1"), sdk.NotFound, "undefined_function", "call it as public.document(json)", ""},
		{"unnamed by GET with JSON", with(jsonCall("document", `{"x":1}`), func(s *sdk.Statement) { s.Function.ViaGet = true }), sdk.NotFound, "undefined_function", "call it as public.document(json)", ""},
		{"a body of another type", bodyCall("document", "text/plain", "x"), sdk.NotFound, "undefined_function", "call it as public.document(json)", ""},
		{"a body for no parameter", bodyCall("nothing", "text/plain", ""), sdk.NotFound, "undefined_function", "call it as public.nothing()", ""},
		{"arguments that are no object", jsonCall("add", `[1]`), sdk.Invalid, "invalid_json", "", ""},
		{"items of values", with(jsonCall("evens", `{"top":1}`), func(s *sdk.Statement) { s.Selection = columns("evens") }), sdk.Invalid, "invalid_selection", "", ""},
		{"items of records", with(jsonCall("anything", ``), func(s *sdk.Statement) { s.Selection = columns("a") }), sdk.Invalid, "invalid_selection", "", ""},
		{"a filter of records", with(jsonCall("anything", ``), func(s *sdk.Statement) { s.Filter = where("a", sdk.Eq, num("1")) }), sdk.Invalid, "unknown_columns", "", ""},
		{"no such column", with(jsonCall("grid", `{"n":1}`), func(s *sdk.Statement) { s.Selection = columns("z") }), sdk.Invalid, "undefined_column", "", ""},
		{"a deep array", jsonCall("typed", `{"ts":[[[[[[["x"]]]]]]]}`), sdk.Invalid, "invalid_array", "", ""},
		{"page token", with(jsonCall("grid", `{"n":1}`), func(s *sdk.Statement) { s.PageToken = "x" }), sdk.Unsupported, "unsupported_page_token", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Postgres.Build(functions(), &c.statement, &sdk.ResultOptions{})
			var e *sdk.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Reason != c.reason || e.Executed != sdk.ExecutedNo || e.Message == "" {
				t.Fatalf("got %v, want %s (%s)", err, c.kind, c.reason)
			}
			if c.hint != "" && e.Hint != c.hint {
				t.Errorf("got the hint %q, want %q", e.Hint, c.hint)
			}
			if details := strings.ReplaceAll(string(e.Details), `\u003e`, ">"); c.details != "" && details != c.details {
				t.Errorf("got the details %s, want %s", details, c.details)
			}
		})
	}
	s := jsonCall("add", `{"a":1}`)
	if _, err := SQLite.Build(functions(), &s, &sdk.ResultOptions{}); sdk.AsError(err).Reason != "unsupported_function" {
		t.Errorf("got %v", err)
	}
}

// FuzzWrittenText holds that names of functions, arguments and CSV columns stand in quotes
// only, and that values never stand in the text.
func FuzzWrittenText(f *testing.F) {
	for _, s := range []string{`x`, `"; DROP TABLE t; --`, `'); DELETE FROM t; --`, `\"`, "$1", "/*", "名", "a,b", "a\nb", "NULL", ""} {
		f.Add(s, "b", s)
		f.Add("a", s, "1")
	}
	f.Fuzz(func(t *testing.T, a, b, text string) {
		if a == b || a == "" || b == "" {
			return
		}
		known := map[string]bool{a: true, b: true, "s": true}
		field := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		texts := func(a, b, text string) (texts []string) {
			table := fuzzTable("s", b, a, "second"+a, ClassText, "text")
			function := &Function{Schema: "s", Name: b, Params: []Param{{Name: a, Type: "text"}, {Name: "second" + a, Type: "text[]", Class: ClassArray, Variadic: true}},
				Returns: Returns{Set: true, Columns: []Column{{Name: a, Type: "text"}, {Name: b, Type: "text"}}}}
			c := catalogueOf(table)
			c.Functions = map[sdk.Table][]*Function{{Schema: "s", Name: b}: {function}}
			args, _ := json.Marshal(map[string]string{a: text})
			for _, s := range []sdk.Statement{
				{Verb: sdk.Insert, Table: sdk.Table{Name: b}, Rows: csvRows(field(a) + "\n" + field(text) + "\n"), Conflict: upsert, Returning: sdk.ReturnSelection, Order: by(a, false)},
				{Verb: sdk.Function, Function: sdk.FunctionCall{Name: b, Args: args}, Filter: where(b, sdk.Eq, str(text)), Count: sdk.CountExact},
				{Verb: sdk.Function, Function: sdk.FunctionCall{Name: b, ArgPairs: []sdk.Pair{{Name: a, Value: text}, {Name: "second" + a, Value: text}}}, Selection: columns(a)},
			} {
				q, err := Postgres.Build(c, &s, &sdk.ResultOptions{})
				if err != nil {
					return nil // refused names
				}
				texts = append(texts, q.Text)
			}
			return texts
		}
		known["second"+a] = true
		want := texts("a", "b", "1")
		for i, got := range texts(a, b, text) {
			compareShapes(t, got, want[i], known)
		}
	})
}
