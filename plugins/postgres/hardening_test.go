package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// TestSessionLeftovers: whatever a text does to its session, the next call has a new one.
func TestSessionLeftovers(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table t (id int)")
	const state = `select current_setting('application_name') as a, (select count(*) from pg_class where relpersistence = 't') as t`
	want := must(t, db, sqlText(state)).body
	for _, text := range []string{
		`update pg_settings set setting = 'x' where name = 'application_name'`,
		`update pg_catalog.pg_settings set setting = 'x' where name = 'application_name'`,
		`update "pg_settings" set setting = 'x' where name = 'application_name'`,
		`select U&"\0073et_config"('application_name', 'x', false)`,
		`select u&"!0073et_config" uescape '!' ('application_name', 'x', false)`,
		`select query_to_xml('select set_config(''application_name'', ''x'', false)', true, false, '')`,
		`select ts_stat('select to_tsvector(set_config(''application_name'', ''x'', false))')`,
		`select ts_rewrite('a'::tsquery, 'select set_config(''application_name'', ''x'', false)::tsquery, ''b''::tsquery')`,
		`explain analyze create temp table x as select 1`,
		`explain (analyze) create temporary table x as select 1`,
	} {
		must(t, db, sqlText(text))
		if got := must(t, db, sqlText(state)).body; got != want {
			t.Errorf("%s leaves %s", text, got)
			must(t, db, sqlText("discard all"))
		}
	}
}

// TestParameterTypeChanged: a cached statement whose parameter has another type now.
func TestParameterTypeChanged(t *testing.T) {
	uri := testenv.Database(t, "create table t (id int primary key); insert into t values (1)")
	db := openURI(t, uri, map[string]any{"max_connections": 1})
	outside := outside(t, db)
	for _, s := range []sdk.Statement{
		{Verb: sdk.Select, Table: table("t"), Filter: eq("id", "1")},
		{Verb: sdk.Select, Table: table("t"), Key: []sdk.Value{text("1")}},
		{Verb: sdk.Select, Table: table("t"), Filter: eq("id", "1"), Count: sdk.CountExact},
		sqlText("select * from t where id = $1", text("1")),
		sqlText("select 1 as id from t where id = $1", text("1")),
	} {
		for _, kind := range []string{"int", "text", "int"} {
			outside("alter table t alter id type " + kind + " using id::" + kind)
			a, err := execute(t.Context(), db, s)
			if err != nil || (a.body != `[{"id":1}]` && a.body != `[{"id":"1"}]`) {
				t.Errorf("%s: %v %s", kind, err, a.body)
			}
		}
	}
	s := sqlText("select 1 as id from t where id = $1", text("abc"))
	outside("alter table t alter id type int using id::int")
	_, _ = execute(t.Context(), db, s)
	outside("alter table t alter id type text using id::text")
	if err := db.catalogues.reload(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if a, err := execute(t.Context(), db, s); err != nil {
		t.Error(a.body, err)
	}
}

// TestOutdatedAfterCount: the statements of a call that run once more answer once.
func TestOutdatedAfterCount(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table t (id int); insert into t values (1); create table u as select * from t")
	call := &sdk.Call{Tx: sdk.Tx{Single: true}, Statements: []sdk.Statement{{Verb: sdk.Count, Table: table("u")}, {Verb: sdk.Select, Table: table("t")}}}
	mustCall(t, db, call)
	outside(t, db)("alter table t add v int")
	a, err := runCall(t.Context(), db, call)
	if err != nil || a[0].body != "1" {
		t.Errorf("%s, %v", a[0].body, err)
	}
}

// TestTooManyRowsOfText: what an error says of a text that wrote before its rows were too many.
func TestTooManyRowsOfText(t *testing.T) {
	db := openTest(t, nil, `create table log (v int);
create function logged() returns setof int language sql volatile as 'insert into log values (1); select generate_series(1, 100)'`)
	for _, text := range []string{
		"select logged()",
		"insert into log values (1); select generate_series(1, 100)",
		"insert into log values (1); commit; select generate_series(1, 100)",
		"create table if not exists xx (a int); select logged()",
	} {
		for _, o := range []sdk.ResultOptions{{MaxRows: 2}, {MaxBytes: 10}} {
			must(t, db, sqlText("delete from log"))
			_, err := execute(t.Context(), db, sqlText(text), o)
			n := must(t, db, sqlText("select count(*) as n from log")).body
			var e *sdk.Error
			if err == nil && o.MaxRows == 0 { // streamed
				continue
			}
			if !errors.As(err, &e) {
				t.Errorf("%s %+v: %v", text, o, err)
				continue
			}
			if e.Executed == sdk.ExecutedNo && n != `[{"n":0}]` || e.Executed == sdk.ExecutedYes && n == `[{"n":0}]` {
				t.Errorf("%s %+v: %v, executed %v, but the log has %s", text, o, e, e.Executed, n)
			}
		}
	}
}

// TestLongText: a connection does not keep what takes much memory here and in the server.
func TestLongText(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table t (id int, tags text[])")
	array := sdk.Value{Hint: sdk.JSON, Text: `["a"]`}
	long := sqlText("select $1::text[] as a, '"+strings.Repeat("x", 100_000)+"' = '' as b", array)
	for _, session := range []sdk.Session{{}, {TimeZone: "UTC"}} {
		call := &sdk.Call{Statements: []sdk.Statement{long}, Session: session}
		if got := mustCall(t, db, call)[0].body; got != `[{"a":["a"],"b":false}]` {
			t.Error(got)
		}
	}
	if got := must(t, db, sqlText("select count(*) as n from pg_prepared_statements where length(statement) > 100000")).body; got != `[{"n":0}]` {
		t.Errorf("kept %s", got)
	}
}

// TestIndexConcurrently: an index that could not be built is there nevertheless.
func TestIndexConcurrently(t *testing.T) {
	db := openTest(t, nil, "create table t (id int); insert into t values (1), (1)")
	if e := fails(t, db, sqlText("create unique index concurrently i on t (id)"), sdk.Conflict, "unique_violation"); e.Executed != sdk.ExecutedUnknown {
		t.Errorf("executed %v, and there is %s", e.Executed, must(t, db, sqlText("select relname from pg_class where relname = 'i'")).body)
	}
}

// TestDeallocate: a text that drops prepared statements is no sign of a pooler.
func TestDeallocate(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1, "statement_cache": "auto"}, "create table t (id int)")
	for _, call := range []*sdk.Call{
		{Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("t")}}, Session: sdk.Session{TimeZone: "UTC"}},
		{Statements: []sdk.Statement{sqlText("deallocate all")}, Session: sdk.Session{TimeZone: "UTC"}},
		{Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("t")}}, Session: sdk.Session{TimeZone: "UTC"}},
		{Statements: []sdk.Statement{sqlText("deallocate all")}},
		{Statements: []sdk.Statement{sqlText("deallocate all")}, Session: sdk.Session{TimeZone: "UTC"}},
		{Statements: []sdk.Statement{sqlText("deallocate all; select 1")}, Session: sdk.Session{TimeZone: "UTC"}},
	} {
		must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("t")})
		if _, err := runCall(t.Context(), db, call); err != nil {
			t.Error(err)
		}
		_, _ = runCall(t.Context(), db, &sdk.Call{Statements: []sdk.Statement{sqlText("execute missing")}, Session: call.Session})
		if !db.caching.Load() {
			t.Error("statements are not cached any more")
			db.caching.Store(true)
		}
	}
}

// TestHiddenCommit: no text ends the transaction of its call.
func TestHiddenCommit(t *testing.T) {
	db := openTest(t, nil, "create table log (v int); create procedure p() language plpgsql as $$ begin insert into log values (1); commit; end $$")
	for _, text := range []string{
		"select 1; create function f(begin int) returns int language sql as 'select 1'; insert into log values (1); commit; select 1",
		"select 1; create function begin.atomic() returns int language sql as 'select 1'; insert into log values (1); commit; select 1",
		"do $$ begin insert into log values (1); commit; end $$",
		"call p()",
		"select 1; call p()",
	} {
		_, err := runCall(t.Context(), db, &sdk.Call{Tx: sdk.Tx{Rollback: true}, Statements: []sdk.Statement{sqlText(text)}})
		n := must(t, db, sqlText("with l as (delete from log returning 1) select count(*) as n from l")).body
		var e *sdk.Error
		if !errors.As(err, &e) || n != `[{"n":0}]` && (e.Executed == sdk.ExecutedNo || e.Reason != "transaction_control") {
			t.Errorf("%s: %v, and the log has %s", text, err, n)
		}
	}
	call := &sdk.Call{Tx: sdk.Tx{Single: true, Rollback: true}, Statements: []sdk.Statement{
		sqlText("set standard_conforming_strings = off"),
		sqlText(`select '\' as a; select '; insert into log values (1); commit; --'`)}}
	_, err := runCall(t.Context(), db, call)
	n := must(t, db, sqlText("select count(*) as n from log")).body
	if e := wantError(t, answer{}, err, sdk.Invalid, "transaction_control"); e.Executed != sdk.ExecutedUnknown {
		t.Errorf("executed %v, and the log has %s", e.Executed, n)
	}
}

// TestCleanupOfFrozen: giving a connection back does not wait for a server that is silent.
func TestCleanupOfFrozen(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	db := openURI(t, proxy.URI(), map[string]any{"max_connections": 1})
	for name, prepare := range map[string]func(c *conn){
		"discard":  func(c *conn) { c.touched = true },
		"rollback": func(c *conn) { _ = c.pg.Exec(t.Context(), "begin").Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := db.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			prepare(c)
			proxy.Freeze()
			done := make(chan struct{})
			go func() { c.release(); close(done) }()
			select {
			case <-done:
			case <-time.After(patience + 2*time.Second):
				t.Error("it waits for the server")
			}
			proxy.Thaw()
			<-done
			must(t, db, sqlText("select 1"))
		})
	}
}

// TestPasswordRotation: all calls that meet an outdated password go on with the new one,
// and so does what runs in the background.
func TestPasswordRotation(t *testing.T) {
	server := testenv.Server(t, testenv.ServerOptions{HBA: []string{"host all secretive all scram-sha-256"}})
	file := filepath.Join(t.TempDir(), "password")
	rotate := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		server.Exec(t, "postgres", "alter role secretive password '"+password+"'")
	}
	server.Exec(t, "postgres", "create role secretive login")
	rotate("first")
	db := openURI(t, withParam(t, server.URI("postgres"), "user", "secretive"), map[string]any{"password_file": file, "max_connections": 8})
	rotate("second")
	db.pool.Reset()
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if _, err := execute(t.Context(), db, sqlText("select pg_sleep(0.1)")); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	rotate("third")
	if err := db.catalogues.reload(t.Context(), true); err != nil {
		t.Error(err)
	}
}

// TestFrozenReplica: a replica that hangs costs one read.
func TestFrozenReplica(t *testing.T) {
	uri := testenv.Database(t, "create table t (id int)")
	proxy := testenv.StartProxy(t, uri)
	db := openURI(t, uri, map[string]any{"replicas": []string{proxy.URI()}})
	read := sdk.Statement{Verb: sdk.Select, Table: table("t")}
	must(t, db, read)
	proxy.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := execute(ctx, db, read)
	wantError(t, answer{}, err, sdk.Timeout, "deadline_exceeded")
	began := time.Now()
	must(t, db, read)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the next read took %v", took)
	}
	proxy.Thaw()
	db.replicas[0].shunned.Store(0)
	must(t, db, read)
	proxy.Freeze()
	for _, limit := range []time.Duration{5 * time.Second, 500 * time.Millisecond} { // the second does not ask it
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if _, err := runCall(ctx, db, &sdk.Call{Statements: []sdk.Statement{read}, MinPosition: "0/1"}); err != nil {
			t.Errorf("a read of a position, within %v: %v", limit, err)
		}
	}
	proxy.Thaw()
}

// TestPositionLost: whatever becomes of the question for its position, what is said of a
// write is true.
func TestPositionLost(t *testing.T) {
	for name, call := range map[string]*sdk.Call{
		"alone":   faultCall(sqlText("do $$ begin insert into lines (note, marker) values ('', '" + faultMarker + "'); end $$")),
		"session": withSettings(faultCall(faultInsert())),
		"text":    withSettings(faultCall(sqlText("set local work_mem = '1MB'; insert into lines (note, marker) values ('', '" + faultMarker + "')"))),
	} {
		t.Run(name, func(t *testing.T) {
			b := newFaultBed(t)
			b.db.replicas = append(b.db.replicas, &replica{server: b.db.server})
			defer func() { b.db.replicas = nil }()
			cut := b.proxy.CutBeforeClient('P', "pg_current_wal_insert_lsn")
			err := b.call(t.Context(), call)
			wasCut(t, cut, err)
			b.settles(t)
			if err != nil {
				faultError(t, err, sdk.Unavailable, "connection_lost", false, b.effect(t))
			} else if !b.effect(t) {
				t.Error("it has had no effect")
			}
		})
	}
}

// TestLostPreparing: a write whose preparing fails has not been executed.
func TestLostPreparing(t *testing.T) {
	b := newFaultBed(t)
	for name, call := range map[string]*sdk.Call{
		"plain":   faultCall(faultInsert()),
		"session": withSettings(faultCall(faultInsert())),
	} {
		t.Run(name, func(t *testing.T) {
			b.empty(t)
			cut := b.proxy.CutAnswer('P', "lines")
			err := b.call(t.Context(), call)
			wasCut(t, cut, err)
			if e := wantError(t, answer{}, err, sdk.Unavailable, "connection_lost"); e.Executed != sdk.ExecutedNo {
				t.Errorf("executed %v", e.Executed)
			}
			b.settles(t)
		})
	}
}

// TestHeadersLeftOver: a status that a function has set for the whole session is not that
// of the next answer.
func TestHeadersLeftOver(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, `create function denies() returns int language plpgsql as $$ begin
  perform set_config('response.status', '403', false); perform set_config('response.headers', '[{"X-A": "b"}]', false); return 1; end $$`)
	call := &sdk.Call{Result: sdk.ResultOptions{SQLHeaders: true}, Statements: []sdk.Statement{sqlText("select denies()")}}
	if head := mustCall(t, db, call)[0].head; head.Status != 403 || len(head.Headers) != 1 {
		t.Errorf("%+v", head)
	}
	call.Statements[0] = sqlText("select 1")
	if head := mustCall(t, db, call)[0].head; head.Status != 0 || len(head.Headers) != 0 {
		t.Errorf("%+v", head)
	}
}
