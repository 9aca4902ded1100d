package main

import (
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

const functionsSetup = `
create table calls (n int);
create function add(a int, b int default 1) returns int language sql stable as 'select a + b';
create function numbers(n int) returns setof int language sql immutable as 'select generate_series(1, n)';
create function adult(low int) returns people language sql stable as 'select * from people where age > low order by id limit 1';
create function grown(low int) returns setof people language sql stable as 'select * from people where age > low';
create type single as (x int);
create function no_single() returns single language sql stable as 'select null::single';
create function one_out(out a int) language sql stable as 'select 7';
create function note(n int) returns void language sql as 'insert into calls values (n)';
create function noted(n int) returns int language sql as 'insert into calls values (n) returning n';
create function lies(n int) returns int language plpgsql stable as 'begin return noted(n); end';
create function slow() returns int language sql stable set statement_timeout = '30ms' set default_transaction_isolation = 'serializable' as 'select 1 from pg_sleep(60)';
create function headers(status text) returns text language sql stable as $$ select set_config('response.status', status, true) $$`

func callOf(name, args string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, Args: []byte(args)}}
}

func TestFunctions(t *testing.T) {
	for _, cache := range []string{"prepare", "off"} {
		t.Run(cache, func(t *testing.T) { testFunctions(t, cache) })
	}
}

func testFunctions(t *testing.T, cache string) {
	db := openTest(t, map[string]any{"max_connections": 1, "statement_cache": cache}, peopleSetup, functionsSetup)
	limit := int64(2)
	paged := callOf("numbers", `{"n":5}`)
	paged.Limit, paged.Count = &limit, sdk.CountExact
	beyond, offset := paged, int64(10)
	beyond.Offset = &offset
	named := callOf("grown", `{"low":1}`)
	named.Selection = sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "name"}}}}
	named.Order = []sdk.Order{{Column: sdk.Column{Name: "id"}, Descending: true}}
	for name, test := range map[string]struct {
		s     sdk.Statement
		o     sdk.ResultOptions
		body  string
		shape sdk.Shape
		total int64
	}{
		"scalar":   {s: callOf("add", `{"a":41}`), body: `42`, shape: sdk.ShapeScalar},
		"set":      {s: callOf("numbers", `{"n":3}`), body: `[1,2,3]`},
		"paged":    {s: paged, body: `[1,2]`, total: 5},
		"beyond":   {s: beyond, body: `[]`, total: 5},
		"row":      {s: callOf("adult", `{"low":40}`), body: `{"id":2,"name":"Grace","age":85,"tags":[],"boss":null}`, shape: sdk.ShapeObject},
		"no row":   {s: callOf("adult", `{"low":400}`), body: `null`, shape: sdk.ShapeObject},
		"no field": {s: callOf("no_single", `{}`), body: `null`, shape: sdk.ShapeObject},
		"OUT":      {s: callOf("one_out", `{}`), body: `{"a":7}`, shape: sdk.ShapeObject},
		"rows":     {s: named, body: `[{"name":"Grace"},{"name":"Ada"}]`},
		"void":     {s: callOf("note", `{"n":1}`), body: ``, shape: sdk.ShapeVoid},
		"writes":   {s: callOf("noted", `{"n":2}`), body: `2`, shape: sdk.ShapeScalar},
		"not sent": {s: callOf("numbers", `{"n":3}`), o: sdk.ResultOptions{Format: sdk.FormatNone}, body: ``, shape: sdk.ShapeVoid},
		"as CSV":   {s: named, o: sdk.ResultOptions{Format: sdk.FormatCSV}, body: "name\nGrace\nAda\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				a := must(t, db, test.s, test.o)
				if a.body != test.body || a.head.Shape != test.shape {
					t.Errorf("got %s of shape %v, want %s of %v", a.body, a.head.Shape, test.body, test.shape)
				}
				if test.total > 0 && (a.head.Total == nil || *a.head.Total != test.total || *a.tail.Total != test.total) {
					t.Errorf("total %v", a.head.Total)
				}
			}
		})
	}
	if got := must(t, db, sqlText("select string_agg(n::text, ',' order by n) as n from calls")).body; got != `[{"n":"1,1,2,2"}]` {
		t.Error(got)
	}
	e := fails(t, db, callOf("lies", `{"n":1}`), sdk.Forbidden, "read_only_transaction")
	if e.Executed != sdk.ExecutedNo {
		t.Errorf("%+v", e)
	}
	get := callOf("note", `{"n":7}`)
	get.Function.ViaGet = true
	fails(t, db, get, sdk.Forbidden, "read_only_transaction")
	fails(t, db, callOf("slow", `{}`), sdk.Timeout, "statement_timeout")
	one := int64(1)
	_, err := runCall(t.Context(), db, &sdk.Call{Statements: []sdk.Statement{callOf("numbers", `{"n":3}`)}, Expect: sdk.Expect{MaxAffected: &one}})
	wantError(t, answer{}, err, sdk.Invalid, "max_affected_exceeded")
	undone := &sdk.Call{Statements: []sdk.Statement{callOf("noted", `{"n":9}`)}, Tx: sdk.Tx{Rollback: true}}
	if a := mustCall(t, db, undone)[0]; a.body != "9" {
		t.Error(a.body)
	}
	headers := &sdk.Call{Statements: []sdk.Statement{callOf("headers", `{"status":"202"}`)}, Result: sdk.ResultOptions{SQLHeaders: true}}
	if a := mustCall(t, db, headers)[0]; a.head.Status != 202 || a.body != `"202"` {
		t.Errorf("%+v", a)
	}
	if got := must(t, db, sqlText("select count(*) as n from calls")).body; got != `[{"n":4}]` {
		t.Error(got)
	}
	plan := callOf("noted", `{"n":10}`)
	plan.Explain = &sdk.Explain{Format: "json", Options: []string{"analyze"}}
	must(t, db, plan)
	if got := must(t, db, sqlText("select count(*) as n from calls")).body; got != `[{"n":4}]` {
		t.Error(got)
	}
	clean(t, db)
}

// TestNotRunTwice: an error like that of an outdated statement does not run what was
// committed before it once more.
func TestNotRunTwice(t *testing.T) {
	db := openTest(t, nil, "create table calls (n int)", `create procedure p(n int) language plpgsql as $$ begin
		insert into calls values (n); commit; raise exception 'own' using errcode = '0A000'; end $$`)
	for i := range 2 {
		_, err := execute(t.Context(), db, sqlText("call p($1)", text("1")))
		if e := wantError(t, answer{}, err, sdk.Unsupported, "feature_not_supported"); e.Executed != sdk.ExecutedUnknown {
			t.Errorf("%+v", e)
		}
		if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("calls")}).body; got != string(rune('1'+i)) {
			t.Errorf("%s rows after %d calls", got, i+1)
		}
	}
}
