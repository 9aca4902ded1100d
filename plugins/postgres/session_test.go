package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// sessionSetup has a role that may see its own rows only, and a login that may do nothing
// but become it. Roles are the server's: their names are the test's own.
const sessionSetup = `
do $$ begin
  create role athena_test_visitor nologin; exception when duplicate_object then null; end $$;
do $$ begin
  create role athena_test_login login noinherit; exception when duplicate_object then null; end $$;
grant athena_test_visitor to athena_test_login;
create schema api; grant usage on schema api to athena_test_visitor;
create table api.notes (id int primary key, owner text not null default current_setting('request.user', true), body text);
insert into api.notes values (1, 'ada', 'a'), (2, 'grace', 'b');
alter table api.notes enable row level security;
create policy own on api.notes using (owner = current_setting('request.user', true));
grant select, insert, update, delete on api.notes to athena_test_visitor;
create schema hidden; create table hidden.secrets (s text); insert into hidden.secrets values ('s');
grant select on hidden.secrets to athena_test_visitor;
create schema more; create table more.notes (note text); insert into more.notes values ('of more');
create table public.notes (note text); insert into public.notes values ('of public')`

// runCall executes a call and returns the answer of each of its statements.
func runCall(ctx context.Context, db *database, call *sdk.Call) ([]answer, error) {
	answers := make([]answer, len(call.Statements))
	rows := sdk.NewRows(call.Result, func(c *sdk.Chunk) error {
		a := &answers[c.Statement]
		if c.Head != nil {
			a.head = *c.Head
		}
		if c.Tail != nil {
			a.tail = *c.Tail
		}
		a.body += string(c.Body)
		sdk.FreeBody(c.Body)
		return nil
	})
	err := db.Execute(ctx, call, rows)
	if err == nil {
		err = rows.Release()
	}
	if err == nil {
		err = rows.NextStatement() // ends the answer
	}
	return answers, err
}

func mustCall(t testing.TB, db *database, call *sdk.Call) []answer {
	t.Helper()
	answers, err := runCall(t.Context(), db, call)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func failsCall(t testing.TB, db *database, call *sdk.Call, kind sdk.Kind, reason string) *sdk.Error {
	t.Helper()
	answers, err := runCall(t.Context(), db, call)
	return wantError(t, answers[0], err, kind, reason)
}

// clean fails the test unless the connections of db are as new: none in a transaction,
// none with a setting of a call.
func clean(t testing.TB, db *database) {
	t.Helper()
	eventually(t, 10*time.Second, "no connection is in use", func() bool { // the pool closes broken ones in the background
		return db.pool.Stat().AcquiredConns() == 0 && len(db.slots) == 0
	})
	const state = "select current_user = session_user as u, current_setting('request.user', true) as r, current_setting('search_path') as p, " +
		"current_setting('TimeZone') = (select reset_val from pg_show_all_settings() where name = 'TimeZone') as z, current_setting('statement_timeout') as s, current_setting('transaction_read_only') as ro from pg_sleep(0.05)"
	var all sync.WaitGroup // at once: each has another connection
	for range cap(db.slots) {
		all.Go(func() {
			a, err := execute(t.Context(), db, sqlText(state))
			want := `[{"u":true,"r":%s,"p":"\"$user\", public","z":true,"s":"0","ro":"off"}]`
			if err != nil || a.body != fmt.Sprintf(want, "null") && a.body != fmt.Sprintf(want, `""`) {
				t.Errorf("the connection is left as %s: %v", a.body, err)
			}
		})
	}
	all.Wait()
}

func TestSession(t *testing.T) {
	uri := testenv.Database(t, sessionSetup)
	notes := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Schema: "api", Name: "notes"}, Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "body"}}}}}
	user := func(name string) sdk.Session {
		return sdk.Session{Role: "athena_test_visitor", Settings: []sdk.Pair{{Name: "request.user", Value: name}}}
	}
	for _, cache := range []string{"prepare", "off"} {
		t.Run(cache, func(t *testing.T) {
			db := openURI(t, loginAs(t, uri, "athena_test_login"), map[string]any{"max_connections": 1, "statement_cache": cache})
			db.catalogues.current.Store(openURI(t, uri, nil).catalogues.current.Load()) // whatever the login may see
			for range 3 {                                                               // prepared, and from the cache
				for name, want := range map[string]string{"ada": `[{"body":"a"}]`, "grace": `[{"body":"b"}]`, `o'"b`: `[]`} {
					if got := mustCall(t, db, &sdk.Call{Session: user(name), Statements: []sdk.Statement{notes}})[0].body; got != want {
						t.Errorf("%s: %s", name, got)
					}
				}
				clean(t, db)
			}
			e := fails(t, db, notes, sdk.Forbidden, "insufficient_privilege") // the login itself
			if e.Executed != sdk.ExecutedNo {
				t.Errorf("%+v", e)
			}
			for role, reason := range map[string]string{"athena_no_such_role": "invalid_parameter_value", "postgres": "insufficient_privilege"} {
				kind := sdk.Invalid
				if role == "postgres" {
					kind = sdk.Forbidden
				}
				failsCall(t, db, &sdk.Call{Session: sdk.Session{Role: role}, Statements: []sdk.Statement{notes}}, kind, reason)
			}
			failsCall(t, db, &sdk.Call{Session: sdk.Session{Settings: []sdk.Pair{{Name: "work_mem", Value: "lots"}}}, Statements: []sdk.Statement{sqlText("select 1")}}, sdk.Invalid, "invalid_parameter_value")
			failsCall(t, db, &sdk.Call{Session: sdk.Session{TimeZone: "Mars/Base"}, Statements: []sdk.Statement{sqlText("select 1")}}, sdk.Invalid, "invalid_parameter_value")
			clean(t, db)
		})
	}
}

// TestSessionRights: what one role has prepared is not a way in for another.
func TestSessionRights(t *testing.T) {
	uri := testenv.Database(t, sessionSetup)
	db := openURI(t, uri, map[string]any{"max_connections": 1})
	secrets := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Schema: "hidden", Name: "secrets"}}
	visitor := &sdk.Call{Session: sdk.Session{Role: "athena_test_visitor"}, Statements: []sdk.Statement{secrets}}
	must(t, db, secrets)
	for range 2 {
		failsCall(t, db, visitor, sdk.Forbidden, "insufficient_privilege") // no right to use the schema
	}
	clean(t, db)
}

func loginAs(t testing.TB, uri, user string) string {
	t.Helper()
	return withParam(t, uri, "user", user)
}

func TestSearchPath(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, sessionSetup)
	text := sqlText("select note from notes where $1::int = 1", sdk.Value{Text: "1"})
	in := func(schema string) *sdk.Call {
		return &sdk.Call{Session: sdk.Session{SearchPath: []string{schema, "public"}}, Statements: []sdk.Statement{text}}
	}
	for range 3 {
		if got := mustCall(t, db, in("more"))[0].body; got != `[{"note":"of more"}]` {
			t.Error(got)
		}
		if got := mustCall(t, db, in(`no "such"`))[0].body; got != `[{"note":"of public"}]` {
			t.Error(got)
		}
		if got := must(t, db, text).body; got != `[{"note":"of public"}]` {
			t.Error(got)
		}
		clean(t, db)
	}
	// Each text of a transaction has its own.
	here, there, plain := sqlText("select note from notes"), sqlText("select note from notes"), sqlText("show search_path")
	there.SQL.Schema = "more"
	answers := mustCall(t, db, &sdk.Call{Tx: sdk.Tx{Single: true}, Statements: []sdk.Statement{here, there, plain}})
	if got := answers[0].body + answers[1].body + answers[2].body; got != `[{"note":"of public"}][{"note":"of more"}][{"search_path":"\"$user\", public"}]` {
		t.Error(got)
	}
	clean(t, db)
}

func TestTimeZone(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table times (at timestamptz); insert into times values ('2024-07-01 12:00:00+00')")
	at := sdk.Statement{Verb: sdk.Select, Table: table("times")}
	for range 2 {
		for zone, want := range map[string]string{"Asia/Kathmandu": "17:45:00+05:45", "UTC": "12:00:00+00:00", "utc": "12:00:00+00:00", "": ""} {
			call := &sdk.Call{Session: sdk.Session{TimeZone: zone}, Statements: []sdk.Statement{at}}
			if zone == "" {
				call.Session, want = sdk.Session{Settings: []sdk.Pair{{Name: "TimeZone", Value: "America/St_Johns"}}}, "09:30:00-02:30"
			}
			if got := mustCall(t, db, call)[0].body; got != `[{"at":"2024-07-01T`+want+`"}]` {
				t.Errorf("%s: %s", zone, got)
			}
		}
		clean(t, db)
	}
}

// TestConstants: constants in a text mean what they do in its session, and when it runs.
func TestConstants(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create schema more; create table more.things (a int); insert into more.things values (7)")
	query := func(session sdk.Session, query string) string {
		t.Helper()
		return mustCall(t, db, &sdk.Call{Session: session, Statements: []sdk.Statement{sqlText(query, text("1"))}})[0].body
	}
	set := func(name, value string) sdk.Session {
		return sdk.Session{Settings: []sdk.Pair{{Name: name, Value: value}}}
	}
	for range 2 {
		for zone, offset := range map[string]string{"UTC": "+00:00", "America/New_York": "-04:00", "Asia/Tokyo": "+09:00"} {
			for _, session := range []sdk.Session{{TimeZone: zone}, set("TimeZone", zone)} {
				if got := query(session, "select '2024-06-01'::timestamptz as t where $1 = '1'"); got != `[{"t":"2024-06-01T00:00:00`+offset+`"}]` {
					t.Errorf("%+v: %s", session, got)
				}
			}
		}
		for style, want := range map[string]string{"ISO, MDY": "2024-01-02", "ISO, DMY": "2024-02-01"} {
			if got := query(set("DateStyle", style), "select '01/02/2024'::date as d where $1 = '1'"); got != `[{"d":"`+want+`"}]` {
				t.Errorf("%s: %s", style, got)
			}
		}
		if got := query(set("search_path", "more"), "select a from things where $1 = '1'"); got != `[{"a":7}]` {
			t.Error(got)
		}
		for _, now := range []string{"'now'::timestamptz", "timestamptz ' NOW '", "E'now'::timestamptz", "$$now$$::timestamptz"} {
			if got := query(sdk.Session{}, "select now() = "+now+" as same where $1 = '1'"); got != `[{"same":true}]` {
				t.Errorf("%s: %s", now, got)
			}
		}
	}
	query(set("request.user", "ada"), "select 'known' as kept where $1 = '1'") // it is worth preparing
	if got := must(t, db, sqlText("select string_agg(statement, '; ') as s from pg_prepared_statements where statement like '%where $1%'")).body; got != `[{"s":"select 'known' as kept where $1 = '1'"}]` {
		t.Errorf("prepared: %s", got)
	}
}

// TestSessionTimeout: the server ends a statement too, not only the call's context.
func TestSessionTimeout(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1})
	call := &sdk.Call{
		Session:    sdk.Session{StatementTimeout: 50 * time.Millisecond, Settings: []sdk.Pair{{Name: "a.b", Value: "c"}}},
		Statements: []sdk.Statement{sqlText("select current_setting('statement_timeout') as t")},
	}
	if got := mustCall(t, db, call)[0].body; got != `[{"t":"50ms"}]` {
		t.Error(got)
	}
	call.Statements[0] = sqlText("select pg_sleep(60)")
	answers, err := runCall(t.Context(), db, call)
	var e *sdk.Error
	if e = sdk.AsError(err); err == nil || e.Kind != sdk.Timeout || e.Executed != sdk.ExecutedNo {
		t.Errorf("%v, %+v", answers, e)
	}
	clean(t, db)
}

// TestHoistedTimeout: the timeout of a function is not that of the statements after it.
func TestHoistedTimeout(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create function quick() returns int language sql stable set statement_timeout = '50ms' as 'select 1'")
	for want, session := range map[string]sdk.Session{"0": {}, "10s": {StatementTimeout: 10 * time.Second, TimeZone: "UTC"}, "7s": {Settings: []sdk.Pair{{Name: "Statement_Timeout", Value: "7s"}}}} {
		call := &sdk.Call{Session: session, Tx: sdk.Tx{Single: true}, Statements: []sdk.Statement{callOf("quick", "{}"), sqlText("select current_setting('statement_timeout') as t from pg_sleep(0.1)")}}
		if got := mustCall(t, db, call)[1].body; got != `[{"t":"`+want+`"}]` {
			t.Errorf("%s, want %s", got, want)
		}
	}
	clean(t, db)
}

// TestTransactionControl: a text cannot leave the transaction in which its role is set.
func TestTransactionControl(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, sessionSetup)
	for _, text := range []string{"commit", "commit; select * from hidden.secrets", "/* */ rollback", "prepare transaction 'x'", "END"} {
		failsCall(t, db, &sdk.Call{Session: sdk.Session{Role: "athena_test_visitor"}, Statements: []sdk.Statement{sqlText(text)}}, sdk.Invalid, "transaction_control")
	}
	e := failsCall(t, db, &sdk.Call{Session: sdk.Session{Role: "athena_test_visitor"}, Statements: []sdk.Statement{sqlText("do $$ begin commit; end $$")}}, sdk.Invalid, "invalid_transaction_termination")
	if e.Code != "2D000" {
		t.Errorf("%+v", e)
	}
	clean(t, db)
}

// TestTransactionLeftOpen: a text that begins a transaction and does not end it is an error,
// because nobody ends it.
func TestTransactionLeftOpen(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table log (n int)")
	for _, text := range []string{"begin", "begin; insert into log values (1)", "insert into log values (2); begin; insert into log values (3)",
		"begin; insert into log values (4); commit; begin; insert into log values (5)"} {
		if e := failsCall(t, db, &sdk.Call{Statements: []sdk.Statement{sqlText(text)}}, sdk.Invalid, "transaction_control"); e.Hint == "" {
			t.Errorf("%s: %+v", text, e)
		}
		clean(t, db)
	}
	must(t, db, sqlText("begin; insert into log values (6); commit"))
	if got := must(t, db, sqlText("select n from log order by n")).body; got != `[{"n":4},{"n":6}]` {
		t.Errorf("got %s", got)
	}
}

// TestSessionScripts: several statements in one text run with the session's settings.
func TestSessionScripts(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, sessionSetup)
	call := &sdk.Call{
		Session:    sdk.Session{Role: "athena_test_visitor", Settings: []sdk.Pair{{Name: "request.user", Value: "ada"}}, SearchPath: []string{"api"}},
		Statements: []sdk.Statement{sqlText("insert into notes (id, body) values (3, 'c'); select id, body from notes order by id")},
	}
	a := mustCall(t, db, call)[0]
	if a.body != `[{"id":1,"body":"a"},{"id":3,"body":"c"}]` || a.tail.Statements != 2 || *a.tail.Affected != 1 {
		t.Errorf("%+v", a)
	}
	clean(t, db)
	call.Statements[0] = sqlText("insert into notes (id, body) values (4, 'd'); select nonsense")
	failsCall(t, db, call, sdk.Invalid, "undefined_column")
	clean(t, db)
	if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Schema: "api", Name: "notes"}}).body; got != "3" {
		t.Error(got)
	}
}

// BenchmarkSession compares a statement by itself with the same in a session of a role and
// three settings.
func BenchmarkSession(b *testing.B) {
	uri := testenv.Database(b, benchSetup, sessionSetup, "grant select on bench to athena_test_visitor")
	for name, session := range map[string]sdk.Session{
		"bare": {},
		"session": {Role: "athena_test_visitor", Settings: []sdk.Pair{
			{Name: "request.method", Value: "GET"}, {Name: "request.path", Value: "/bench"}, {Name: "request.jwt.claims", Value: `{"sub":"1"}`},
		}},
	} {
		b.Run(name, func(b *testing.B) {
			db := openURI(b, uri, map[string]any{"max_connections": 1})
			call := &sdk.Call{Session: session, Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("bench"), Key: []sdk.Value{{Hint: sdk.Number, Text: "500"}}}}}
			rows := sdk.NewRows(call.Result, drop)
			b.ReportAllocs()
			for b.Loop() {
				if err := db.Execute(b.Context(), call, rows); err != nil {
					b.Fatal(err)
				}
				if err := rows.NextStatement(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
