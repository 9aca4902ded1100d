package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestServerErrors(t *testing.T) {
	db := openTest(t, nil, peopleSetup, `
		create table strict (id int primary key, ref bigint references people, n int not null, p int check (p > 0), r int4range, exclude using gist (r with &&));
		insert into strict values (1, 1, 1, 1, '[1,5)')`)
	insert := func(values string) sdk.Statement { return sqlText("insert into strict values " + values) }
	for _, test := range []struct {
		s      sdk.Statement
		kind   sdk.Kind
		reason string
		check  func(e *sdk.Error) bool
	}{
		{insert("(1, 1, 1, 1)"), sdk.Conflict, "unique_violation", func(e *sdk.Error) bool {
			return e.Constraint == "strict_pkey" && e.Table == "strict" && e.Schema == "public" && strings.Contains(e.Detail, "(id)=(1)")
		}},
		{insert("(2, 99, 1, 1)"), sdk.Conflict, "foreign_key_violation", func(e *sdk.Error) bool { return e.Constraint == "strict_ref_fkey" }},
		{insert("(2, 1, null, 1)"), sdk.Conflict, "not_null_violation", func(e *sdk.Error) bool { return e.Column == "n" }},
		{insert("(2, 1, 1, 0)"), sdk.Conflict, "check_violation", func(e *sdk.Error) bool { return e.Constraint == "strict_p_check" }},
		{insert("(2, 1, 1, 1, '[2,3)')"), sdk.Conflict, "exclusion_violation", nil},
		{sqlText("select * from nowhere"), sdk.NotFound, "undefined_table", func(e *sdk.Error) bool { return e.Position == 15 && e.Code == "42P01" }},
		{sqlText("select nothing from strict"), sdk.Invalid, "undefined_column", func(e *sdk.Error) bool { return e.Position == 8 }},
		{sqlText("select nothing(1)"), sdk.Invalid, "undefined_function", func(e *sdk.Error) bool { return e.Hint != "" }},
		{sqlText("selec 1"), sdk.Invalid, "syntax_error", func(e *sdk.Error) bool { return e.Position == 1 }},
		{sqlText("select 1; selec 1"), sdk.Invalid, "syntax_error", func(e *sdk.Error) bool { return e.Position == 11 }},
		{sqlText("select $1::int", text("x")), sdk.Invalid, "invalid_text_representation", nil},
		{sqlText("select 1/0"), sdk.Invalid, "division_by_zero", nil},
		{sqlText("select '2024-13-45'::date"), sdk.Invalid, "datetime_field_overflow", nil},
		{sqlText("select 99999::int2"), sdk.Invalid, "numeric_value_out_of_range", nil},
		{sqlText("do $$ begin raise exception 'own' using hint = 'a hint', detail = 'a detail'; end $$"), sdk.Invalid, "raise_exception", func(e *sdk.Error) bool {
			return e.Message == "own" && e.Hint == "a hint" && e.Detail == "a detail"
		}},
		{sqlText("do $$ begin raise exception 'own' using errcode = '40001'; end $$"), sdk.Conflict, "serialization_failure", nil},
		{sqlText("set role pg_monitor; select * from strict"), sdk.Forbidden, "insufficient_privilege", nil},
		{sqlText("create table strict (a int)"), sdk.Conflict, "duplicate_table", nil},
		{sqlText("select $1, $2", text("x")), sdk.Invalid, "wrong_arguments", nil},
		{sdk.Statement{Verb: sdk.Select, Table: table("strict"), Filter: eq("id", "x")}, sdk.Invalid, "invalid_text_representation", func(e *sdk.Error) bool { return e.Position == 0 }},
	} {
		e := fails(t, db, test.s, test.kind, test.reason)
		if e.Source != sdk.FromDownstream && e.Reason != "wrong_arguments" || test.check != nil && !test.check(e) {
			t.Errorf("%s: %+v", test.s.SQL.Text, e)
		}
		if undone := !strings.HasPrefix(test.s.SQL.Text, "do"); undone && e.Executed != sdk.ExecutedNo {
			t.Errorf("%s: executed %v", test.s.SQL.Text, e.Executed)
		}
	}
}

// TestOpenErrors: a wrong URI says what to check, and shows no secret.
func TestOpenErrors(t *testing.T) {
	server, err := url.Parse(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	address := server.Host
	for name, test := range map[string]struct{ uri, reason, hint string }{
		"refused":  {"postgres://u:sEcReT@" + closed.Addr().String() + "/db?sslmode=disable", "connect_failed", "check that PostgreSQL runs there"},
		"silent":   {"postgres://u:sEcReT@" + silent.Addr().String() + "/db?sslmode=disable", "connect_failed", "did not answer"},
		"host":     {"postgres://u:sEcReT@no-such-host.invalid/db", "connect_failed", "check the host name"},
		"database": {"postgres://" + server.User.String() + "@" + address + "/no_such_db?sslmode=disable", "undefined_database", "database name"},
		"role":     {"postgres://no_such_role:sEcReT@" + address + "/postgres?sslmode=disable", "authentication_failed", "check user and password"},
		"tls":      {"postgres://u:sEcReT@" + address + "/postgres?sslmode=require", "connect_failed", "sslmode"},
		"no uri":   {"mysql://u:sEcReT@host:33x06/db", "invalid_uri", "postgres://"},
		"option":   {"postgres://u:sEcReT@host/db?sslmode=maybe", "invalid_uri", "sslmode"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tryOpen(t, test.uri, map[string]any{"connect_timeout": 300 * time.Millisecond})
			kind := sdk.Unavailable
			if test.reason == "invalid_uri" {
				kind = sdk.Invalid
			}
			e := wantError(t, answer{}, err, kind, test.reason)
			if said := e.Message + " " + e.Hint; !strings.Contains(said, test.hint) || e.Executed != sdk.ExecutedNo {
				t.Errorf("%q, executed %v", said, e.Executed)
			}
			if shown := fmt.Sprintf("%+v", *e) + e.Error(); strings.Contains(shown, "sEcReT") || strings.Contains(shown, test.uri) {
				t.Errorf("shows the uri: %s", shown)
			}
		})
	}
}

// TestPassword: a wrong password is told apart.
func TestPassword(t *testing.T) {
	for _, code := range []string{"28P01", "28000"} {
		err := connectError(&pgconn.PgError{Code: code, Message: "password authentication failed for user \"u\""}, &pgconn.Config{Host: "h", Port: 5432, Password: "sEcReT"})
		e := wantError(t, answer{}, err, sdk.Unavailable, "authentication_failed")
		if e.Code != code || e.Hint == "" || strings.Contains(e.Error(), "sEcReT") {
			t.Errorf("%+v", e)
		}
	}
}

// eventually waits until f holds.
func eventually(t testing.TB, within time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// running counts the statements that hold a marker and are under way.
func runningStatements(t *testing.T, admin *database, marker string) string {
	t.Helper()
	return must(t, admin, sqlText("select count(*) as n from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and query like '%"+marker+"%'")).body
}

// TestCancel: the statement stops on the server and the connection is used again.
func TestCancel(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	admin := openURI(t, uri, nil)
	slow := "select pg_sleep(60) as marker_cancel"
	for name, test := range map[string]struct {
		s      sdk.Statement
		end    func(ctx context.Context) (context.Context, context.CancelFunc)
		kind   sdk.Kind
		reason string
	}{
		"canceled": {sqlText(slow), context.WithCancel, sdk.Canceled, "canceled"},
		"deadline": {sqlText(slow), func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}, sdk.Timeout, "deadline_exceeded"},
		"prepared": {sqlText(slow+" where $1::int = 1", text("1")), context.WithCancel, sdk.Canceled, "canceled"},
		"script":   {sqlText("select 1; " + slow), context.WithCancel, sdk.Canceled, "canceled"},
		"read":     {sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: slow, Intent: sdk.IntentRead}}, context.WithCancel, sdk.Canceled, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			db := openURI(t, uri, map[string]any{"max_connections": 1})
			pid := must(t, db, sqlText("select pg_backend_pid() as pid")).body
			ctx, cancel := test.end(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := execute(ctx, db, test.s)
				done <- err
			}()
			if name != "deadline" {
				eventually(t, 5*time.Second, "it runs", func() bool { return runningStatements(t, admin, "marker_cancel") == `[{"n":1}]` })
				cancel()
			}
			err := <-done
			e := wantError(t, answer{}, err, test.kind, test.reason)
			if e.Code != "57014" || e.Executed != sdk.ExecutedNo {
				t.Errorf("%+v", e)
			}
			eventually(t, time.Second, "it has ended on the server", func() bool { return runningStatements(t, admin, "marker_cancel") == `[{"n":0}]` })
			if now := must(t, db, sqlText("select pg_backend_pid() as pid")).body; now != pid {
				t.Errorf("another connection: %s, was %s", now, pid)
			}
		})
	}
}

// TestCancelStorm: a cancel never reaches the next statement of the connection.
func TestCancelStorm(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	pid := must(t, db, sqlText("select pg_backend_pid() as pid")).body
	for i := range 150 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		_, err := execute(ctx, db, sqlText("select pg_sleep(0.001)"))
		cancel()
		if err != nil {
			wantError(t, answer{}, err, sdk.Timeout, "deadline_exceeded")
		}
		must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("people")})
	}
	if now := must(t, db, sqlText("select pg_backend_pid() as pid")).body; now != pid {
		t.Errorf("another connection: %s, was %s", now, pid)
	}
}

// TestStopEarly: a reader that goes away, or has enough, ends the statement.
func TestStopEarly(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	admin := openURI(t, uri, nil)
	db := openURI(t, uri, map[string]any{"max_connections": 1})
	pid := must(t, db, sqlText("select pg_backend_pid() as pid")).body
	endless := sqlText("select 'marker_stop' as a, generate_series(1, 1000000000) as n where $1::int = 1", text("1"))
	read := endless
	read.SQL.Intent = sdk.IntentRead

	gone := fmt.Errorf("the reader is gone")
	rows := sdk.NewRows(sdk.ResultOptions{}, func(*sdk.Chunk) error { return gone })
	if err := db.Execute(t.Context(), &sdk.Call{Statements: []sdk.Statement{endless}}, rows); err != gone {
		t.Errorf("got %v", err)
	}
	if a := must(t, db, read, sdk.ResultOptions{MaxRows: 1, CapRows: true}); a.body != `[{"a":"marker_stop","n":1}]` {
		t.Error(a.body)
	}
	_, err := execute(t.Context(), db, endless, sdk.ResultOptions{MaxRows: 1})
	wantError(t, answer{}, err, sdk.Invalid, "max_rows_exceeded")
	eventually(t, time.Second, "it has ended on the server", func() bool { return runningStatements(t, admin, "marker_stop") == `[{"n":0}]` })
	if now := must(t, db, sqlText("select pg_backend_pid() as pid")).body; now != pid {
		t.Errorf("another connection: %s, was %s", now, pid)
	}
}

// TestKilledConnection: the server ends a connection in the middle of an answer, and of a
// write.
func TestKilledConnection(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	admin := openURI(t, uri, nil)
	db := openURI(t, uri, map[string]any{"max_connections": 2})
	for _, test := range []struct {
		marker   string
		s        sdk.Statement
		executed sdk.Executed
	}{
		{"marker_read", sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: "select pg_sleep(0.01) as marker_read, generate_series(1, 100000)", Intent: sdk.IntentRead}}, sdk.ExecutedNo},
		{"marker_write", sqlText("update people set age = 1 where pg_sleep(10) is not null and 'marker_write' = 'marker_write'"), sdk.ExecutedUnknown},
	} {
		done := make(chan error, 1)
		go func() {
			_, err := execute(t.Context(), db, test.s)
			done <- err
		}()
		eventually(t, 5*time.Second, "it runs", func() bool { return runningStatements(t, admin, test.marker) == `[{"n":1}]` })
		must(t, admin, sqlText("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like '%"+test.marker+"%' and pid <> pg_backend_pid()"))
		e := wantError(t, answer{}, <-done, sdk.Unavailable, "admin_shutdown")
		if e.Executed != test.executed || e.RetryAfter == 0 {
			t.Errorf("%+v", e)
		}
	}
	must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("people")})
}

// TestServerGone: when all connections are dead, one call finds out for all.
func TestServerGone(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	admin := openURI(t, uri, nil)
	db := openURI(t, uri, map[string]any{"max_connections": 4})
	var held []*conn
	for range 4 {
		c, err := db.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.release()
	}
	must(t, admin, sqlText("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"))
	s := sdk.Statement{Verb: sdk.Select, Table: table("people")}
	failed := 0
	for range 8 {
		if a, err := execute(t.Context(), db, s); err != nil {
			failed++
			if e := wantError(t, a, err, sdk.Unavailable, "admin_shutdown"); e.Executed != sdk.ExecutedNo {
				t.Errorf("%+v", e)
			}
		}
	}
	if failed > 1 { // 0 if the pool has looked for itself
		t.Errorf("%d calls failed", failed)
	}
}

// TestFrozenServer: a connection whose server does not react to a cancel is closed.
func TestFrozenServer(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	proxy := testenv.StartProxy(t, uri)
	db := openURI(t, proxy.URI(), map[string]any{"max_connections": 1})
	must(t, db, sqlText("select 1"))
	proxy.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := execute(ctx, db, sqlText("update people set age = 1"))
	e := wantError(t, answer{}, err, sdk.Timeout, "deadline_exceeded")
	if took := time.Since(begin); took > patience+2*time.Second {
		t.Errorf("it took %v", took)
	}
	if e.Executed != sdk.ExecutedUnknown {
		t.Errorf("executed %v", e.Executed)
	}
	proxy.Thaw()
	must(t, db, sqlText("select 1"))
}

func TestPoolExhausted(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	admin := openURI(t, uri, nil)
	db := openURI(t, uri, map[string]any{"max_connections": 1, "acquire_timeout": 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := execute(ctx, db, sqlText("select pg_sleep(60) as marker_pool"))
		done <- err
	}()
	eventually(t, 5*time.Second, "it runs", func() bool { return runningStatements(t, admin, "marker_pool") == `[{"n":1}]` })
	e := fails(t, db, sqlText("select 1"), sdk.Unavailable, "pool_exhausted")
	if e.Executed != sdk.ExecutedNo || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
	told := map[string]float64{}
	for _, m := range db.Metrics() {
		for _, label := range m.Labels {
			m.Name += " " + label.Value
		}
		told[m.Name] = m.Value
	}
	for name, want := range map[string]float64{"pool_connections primary used": 1, "pool_connections primary idle": 0, "pool_connections_max primary": 1,
		"pool_connects_total primary": 1, "pool_waits_total primary": 1, "pool_timeouts_total primary": 1, "catalogue_tables": 5} {
		if got, ok := told[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	early, stop := context.WithCancel(t.Context())
	stop()
	_, err := execute(early, db, sqlText("select 1"))
	if e := wantError(t, answer{}, err, sdk.Canceled, "canceled"); e.Executed != sdk.ExecutedNo {
		t.Errorf("%+v", e)
	}
	cancel()
	<-done
	must(t, db, sqlText("select 1"))
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStatementTimeout(t *testing.T) {
	db := openTest(t, nil)
	_, err := execute(t.Context(), db, sqlText("set statement_timeout = 20; select pg_sleep(60)"))
	wantError(t, answer{}, err, sdk.Timeout, "statement_timeout")
}
