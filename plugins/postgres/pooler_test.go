package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// TestPooler: behind PgBouncer, which shares its sessions from one transaction to the
// next, nothing is expected to last.
func TestPooler(t *testing.T) {
	uri := testenv.Database(t, sessionSetup, peopleSetup)
	pooled := testenv.PgBouncer(t, uri)
	for _, cache := range []string{"auto", "off"} {
		t.Run(cache, func(t *testing.T) {
			db := openURI(t, pooled, map[string]any{"statement_cache": cache, "max_connections": 6})
			if db.caching.Load() {
				t.Error("statements are kept")
			}
			errs := make(chan error, 6)
			var all sync.WaitGroup
			for i := range cap(errs) {
				all.Go(func() { errs <- useConcurrently(t, db, i) })
			}
			all.Wait()
			close(errs)
			for err := range errs {
				if err != nil {
					t.Error(err)
				}
			}
			clean(t, db)
		})
	}
	_, err := tryOpen(t, pooled, map[string]any{"statement_cache": "prepare"})
	if e := sdk.AsError(err); err == nil || e.Code != "08P01" {
		t.Errorf("%+v", e)
	}
}

// useConcurrently makes calls of all kinds and says what is wrong with an answer.
func useConcurrently(t *testing.T, db *database, i int) error {
	user := []string{"ada", "grace"}[i%2]
	visitor := sdk.Session{Role: "athena_test_visitor", Settings: []sdk.Pair{{Name: "request.user", Value: user}}, SearchPath: []string{"api"}}
	ids := sqlText("select $1::int[] as a", sdk.Value{Hint: sdk.JSON, Text: fmt.Sprintf("[%d]", i)})
	for range 20 {
		for _, test := range []struct {
			call *sdk.Call
			want string
		}{
			{&sdk.Call{Session: visitor, Statements: []sdk.Statement{sqlText("select owner from notes")}}, fmt.Sprintf(`[{"owner":"%s"}]`, user)},
			{&sdk.Call{Session: visitor, Statements: []sdk.Statement{ids}}, fmt.Sprintf(`[{"a":[%d]}]`, i)},
			{&sdk.Call{Statements: []sdk.Statement{ids}}, fmt.Sprintf(`[{"a":[%d]}]`, i)},
			{&sdk.Call{Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("adults"), Filter: eq("name", "Ada"), Count: sdk.CountExact}}}, `[{"id":1,"name":"Ada"}]`},
			{&sdk.Call{Tx: sdk.Tx{Rollback: true}, Statements: []sdk.Statement{insertPerson(fmt.Sprint("p", i))}}, fmt.Sprintf(`[{"name":"p%d"}]`, i)},
		} {
			answers, err := runCall(t.Context(), db, test.call)
			if err != nil {
				return err
			}
			if answers[0].body != test.want {
				return fmt.Errorf("got %s, want %s", answers[0].body, test.want)
			}
		}
	}
	return nil
}

// TestPoolerTexts: what a text does to its session, nobody else finds there.
func TestPoolerTexts(t *testing.T) {
	uri := testenv.Database(t, sessionSetup, `create table api.log (who text); create table api.deferred (a int); grant insert on api.log, api.deferred to athena_test_visitor;
create function api.tell() returns trigger language plpgsql as 'begin insert into api.log values (current_user); return null; end';
create constraint trigger tell after insert on api.deferred deferrable initially deferred for each row execute function api.tell()`)
	db := openURI(t, testenv.PgBouncer(t, uri), map[string]any{"statement_cache": "auto", "max_connections": 6})
	look := sqlText("select current_user = session_user as u, current_setting('work_mem') as w, to_regclass('pg_temp.leftover') as t, current_setting('DateStyle') as d, " +
		"(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as l, (select count(*) from pg_prepared_statements) as p, " +
		"(select count(*) from pg_cursors where name <> '') as c")
	clean := must(t, db, look).body
	visitor := sdk.Session{Role: "athena_test_visitor"}
	changes := []struct {
		statement sdk.Statement
		session   sdk.Session
		want      string // "": it fails
	}{
		{statement: sqlText("set work_mem = '3MB'"), want: "[]"},
		{statement: sqlText("set role pg_monitor; select current_user as u"), want: `[{"u":"pg_monitor"}]`},
		{statement: sqlText("set session authorization athena_test_visitor; select session_user as u"), want: `[{"u":"athena_test_visitor"}]`},
		{statement: sqlText("create temp table leftover (a int); insert into leftover values (1) returning a"), want: `[{"a":1}]`},
		{statement: sqlText("select set_config('work_mem', $1, false) as w", text("3MB")), want: `[{"w":"3MB"}]`},
		{statement: readText("select set_config('work_mem', '3MB', false) as w"), want: `[{"w":"3MB"}]`},
		{statement: sqlText("do $$ begin set datestyle = 'SQL'; end $$"), want: "[]"},
		{statement: sqlText("prepare x as select 1; declare c cursor with hold for select 1"), want: "[]"},
		{statement: sqlText("select pg_try_advisory_lock(1) is null as l"), want: `[{"l":false}]`},
		{statement: sqlText("select pg_try_advisory_lock(1); prepare x as select 1; select nonsense")},
		{statement: sqlText("set work_mem = '3MB'; select nonsense")},
		{statement: sqlText("set work_mem = '3MB'; select current_user as u"), session: visitor, want: `[{"u":"athena_test_visitor"}]`},
		{statement: sqlText("set work_mem = '3MB'; insert into api.deferred values (1)"), session: visitor, want: "[]"},
		{statement: sqlText("set local work_mem = '3MB'; select current_setting('work_mem') as w"), want: `[{"w":"3MB"}]`},
		{statement: sqlText("begin; update notes set note = note; commit"), want: "[]"},
		{statement: sqlText("begin; set work_mem = '3MB'; commit")},
		{statement: sqlText("vacuum notes"), want: "[]"},
	}
	var changing, looking sync.WaitGroup
	var done atomic.Bool
	for range 3 {
		changing.Go(func() {
			for i := range 10 * len(changes) {
				change := changes[i%len(changes)]
				answers, err := runCall(t.Context(), db, &sdk.Call{Statements: []sdk.Statement{change.statement}, Session: change.session})
				if (err != nil) != (change.want == "") || answers[0].body != change.want {
					t.Errorf("%s: %s, %v", change.statement.SQL.Text, answers[0].body, err)
				}
			}
		})
		looking.Go(func() {
			for !done.Load() {
				if a, err := execute(t.Context(), db, look); err != nil || a.body != clean {
					t.Errorf("%s, %v", a.body, err)
					return
				}
			}
		})
	}
	changing.Wait()
	done.Store(true)
	looking.Wait()
	if got := must(t, db, sqlText("select distinct who from api.log")).body; got != `[{"who":"athena_test_visitor"}]` {
		t.Errorf("deferred triggers ran as %s", got)
	}
	fails(t, db, sqlText("begin; set work_mem = '3MB'; commit"), sdk.Unsupported, "session_unsupported")
}

// TestPoolerLosesServer: what a pooler says then is no fault of the caller's.
func TestPoolerLosesServer(t *testing.T) {
	b := newFaultBed(t)
	for _, name := range []string{"read", "write", "transaction"} {
		t.Run(name, func(t *testing.T) {
			slow := slowCalls[name]
			b.db = openURI(t, testenv.PgBouncer(t, b.proxy.URI()), map[string]any{"statement_cache": "auto", "max_connections": 2})
			done := b.start(t.Context(), t, slow.call())
			b.proxy.CutAll()
			err := <-done
			b.ask(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'")
			b.settles(t)
			if e := faultError(t, err, sdk.Unavailable, "connection_lost", slow.readOnly, b.effect(t)); e.RetryAfter == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
	for message, executed := range map[string]sdk.Executed{
		"server conn crashed?": sdk.ExecutedUnknown, "query_wait_timeout": sdk.ExecutedNo,
		"server login has been failing, try again later (server_login_retry)": sdk.ExecutedNo,
	} {
		f := &failure{err: &pgconn.PgError{Code: "08P01", Severity: "FATAL", Message: message}, ctx: t.Context()}
		if e := wantError(t, answer{}, f.classify(), sdk.Unavailable, "connection_lost"); e.Executed != executed {
			t.Errorf("%s: executed %v", message, e.Executed)
		}
	}
}

// TestPoolerFoundLate: a pooler that takes all parameters shows when a statement that was
// prepared is not there. No statement is taken for another meanwhile.
func TestPoolerFoundLate(t *testing.T) {
	db := openTest(t, map[string]any{"statement_cache": "auto", "max_connections": 1}, peopleSetup)
	s := sdk.Statement{Verb: sdk.Select, Table: table("adults"), Filter: eq("name", "Ada")}
	must(t, db, s)
	for _, call := range []*sdk.Call{
		{Statements: []sdk.Statement{s}},
		{Statements: []sdk.Statement{s}, Session: sdk.Session{TimeZone: "UTC"}},
	} {
		db.caching.Store(true)
		mustCall(t, db, call)
		c, err := db.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.pg.Exec(t.Context(), "deallocate all").Close(); err != nil { // another session, as it looks
			t.Fatal(err)
		}
		c.release()
		if got := mustCall(t, db, call)[0].body; got != `[{"id":1,"name":"Ada"}]` || db.caching.Load() {
			t.Errorf("%s, caching %v", got, db.caching.Load())
		}
	}
	clean(t, db)
}

// TestWarmup: a server that is slow to take the first connection makes opening fail, in
// time and with a reason.
func TestWarmup(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	proxy.Freeze()
	began := time.Now()
	_, err := tryOpen(t, proxy.URI(), map[string]any{"warmup_timeout": int64(150 * time.Millisecond)})
	var e *sdk.Error
	if !errors.As(err, &e) || e.Kind != sdk.Unavailable || e.Reason != "connect_failed" || !strings.Contains(e.Message, "warmup_timeout") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	proxy.Thaw()
	db := openURI(t, proxy.URI(), map[string]any{"warmup_timeout": int64(2 * time.Second), "min_connections": 3})
	eventually(t, 5*time.Second, "the others are made in the background", func() bool { return db.pool.Stat().TotalConns() >= 3 })
}
