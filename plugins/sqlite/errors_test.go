package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

func TestErrors(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE planets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INT CONSTRAINT positive CHECK (size > 0))`,
		`CREATE TABLE moons (id INTEGER PRIMARY KEY, planet INT NOT NULL REFERENCES planets, n INT) STRICT`, `INSERT INTO planets VALUES (1, 'Mars', 5)`)
	planets := func(payload string, columns ...string) sdk.Statement { return insert("planets", payload, columns...) }
	moons := insert("moons", `{"planet":1,"n":"x"}`, "planet", "n")
	orphan := insert("moons", `{"planet":99}`, "planet")
	selecting := func(table, column string) sdk.Statement {
		return sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: table}, Filter: where(column, sdk.Eq, num("1"))}
	}
	cases := []struct {
		statement sdk.Statement
		kind      sdk.Kind
		reason    string
		want      sdk.Error
	}{
		{planets(`{"name":"Mars"}`, "name"), sdk.Conflict, "unique_violation", sdk.Error{Code: "2067", Table: "planets", Column: "name", Message: "UNIQUE constraint failed: planets.name"}},
		{planets(`{"id":1,"name":"x"}`, "id", "name"), sdk.Conflict, "unique_violation", sdk.Error{Code: "1555", Table: "planets", Column: "id", Message: "UNIQUE constraint failed: planets.id"}},
		{planets(`{"name":null}`, "name"), sdk.Conflict, "not_null_violation", sdk.Error{Code: "1299", Table: "planets", Column: "name", Message: "NOT NULL constraint failed: planets.name"}},
		{planets(`{"name":"x","size":0}`, "name", "size"), sdk.Conflict, "check_violation", sdk.Error{Code: "275", Constraint: "positive", Message: "CHECK constraint failed: positive"}},
		{orphan, sdk.Conflict, "foreign_key_violation", sdk.Error{Code: "787", Message: "FOREIGN KEY constraint failed"}},
		{moons, sdk.Invalid, "datatype_mismatch", sdk.Error{Code: "3091", Message: "cannot store TEXT value in INT column moons.n"}},
		{selecting("planet", "id"), sdk.NotFound, "undefined_table", sdk.Error{Table: "planet", Message: `table "planet" does not exist`, Hint: `did you mean "planets"?`}},
		{selecting("planets", "nmae"), sdk.Invalid, "undefined_column", sdk.Error{Table: "planets", Schema: "main", Column: "nmae", Message: `column "nmae" of table "planets" does not exist`, Hint: `did you mean "name"?`}},
		{sqlText("SELECT * FROM main.planet"), sdk.NotFound, "undefined_table", sdk.Error{Code: "1", Table: "planet", Message: "no such table: main.planet", Hint: `did you mean "planets"?`}},
		{sqlText("SELECT p.nmae FROM planets p"), sdk.Invalid, "undefined_column", sdk.Error{Code: "1", Column: "nmae", Message: "no such column: p.nmae", Hint: `did you mean "name"?`}},
		{sqlText("INSERT INTO planets(nmae) VALUES (1)"), sdk.Invalid, "undefined_column", sdk.Error{Code: "1", Column: "nmae", Message: "table planets has no column named nmae", Hint: `did you mean "name"?`}},
		{sqlText("SELECT nowhere()"), sdk.Invalid, "undefined_function", sdk.Error{Code: "1", Message: "no such function: nowhere"}},
		{sqlText("SELEC 1"), sdk.Invalid, "syntax_error", sdk.Error{Message: `near "SELEC": syntax error`, Hint: "begin each statement with a word such as SELECT or INSERT"}},
		{sqlText("SELECT 'x"), sdk.Invalid, "syntax_error", sdk.Error{Code: "1", Message: `unrecognized token: "'x"`}},
		{sqlText("SELECT (1"), sdk.Invalid, "syntax_error", sdk.Error{Code: "1", Message: "incomplete input"}},
		{sqlText("ATTACH '/tmp/x.db' AS x"), sdk.Forbidden, "other_files", sdk.Error{Message: "ATTACH reaches files beside the database and is refused", Hint: "register the other file as a client of its own"}},
	}
	for _, k := range cases {
		e := c.fails(k.statement, k.kind, k.reason)
		got := sdk.Error{Code: e.Code, Table: e.Table, Column: e.Column, Constraint: e.Constraint, Message: e.Message, Hint: e.Hint, Schema: e.Schema}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", k.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", k.reason, got, k.want)
		}
		if k.want.Code != "" && e.Source != sdk.FromDownstream {
			t.Errorf("%s: the source is %d", k.reason, e.Source)
		}
	}
	c.want(sqlText("SELECT count(*) AS n FROM planets"), `[{"n":1}]`)
}

// other is a connection that is not the plugin's.
func other(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = db.Close()
	})
	return c
}

func run(t *testing.T, c *sql.Conn, text string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func TestLockedByAnother(t *testing.T) {
	c := openClient(t, map[string]any{"busy_timeout": "30ms"}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	lock := other(t, c.path)
	run(t, lock, "BEGIN IMMEDIATE")
	if e := c.fails(insert("t", `{"id":1}`, "id"), sdk.Unavailable, "database_locked"); e.Message != "database is locked" {
		t.Errorf("got %+v", e)
	}
	c.want(sqlText("SELECT * FROM t"), "[]") // reading goes on
	run(t, lock, "ROLLBACK")
	c.want(insert("t", `{"id":1}`, "id"), `[{"id":1}]`)
}

// TestWaitsForAnother holds that a write waits for another process's lock.
func TestWaitsForAnother(t *testing.T) {
	c := openClient(t, map[string]any{"busy_timeout": "30s"}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	lock := other(t, c.path)
	run(t, lock, "BEGIN IMMEDIATE")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.call(ctx, &sdk.Call{Statements: []sdk.Statement{insert("t", `{"id":1}`, "id")}})
	if e := sdk.AsError(err); e == nil || e.Kind != sdk.Timeout {
		t.Errorf("a wait longer than its deadline: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.do(insert("t", `{"id":2}`, "id"))
		done <- err
	}()
	run(t, lock, "ROLLBACK")
	if err := <-done; err != nil {
		t.Errorf("a wait for a lock that is given back: %v", err)
	}
	c.want(sqlText("SELECT * FROM t"), `[{"id":2}]`)
}

// TestSchemaChanges holds that the catalogue follows changes, by others too.
func TestSchemaChanges(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`, `INSERT INTO t VALUES (1)`)
	all := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Schema: "main", Name: "T"}}
	c.want(all, `[{"id":1}]`)
	ddl := other(t, c.path)
	run(t, ddl, `ALTER TABLE t ADD COLUMN on_day DATE DEFAULT '2024-01-01'`)
	c.want(all, `[{"id":1,"on_day":"2024-01-01"}]`)
	run(t, ddl, `ALTER TABLE t DROP COLUMN on_day`)
	c.want(all, `[{"id":1}]`)
	c.must(sqlText(`ALTER TABLE t RENAME COLUMN id TO key`))
	c.want(all, `[{"key":1}]`)
	run(t, ddl, `DROP TABLE t`)
	c.fails(all, sdk.NotFound, "undefined_table")
}

func TestCancel(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) `
	for name, text := range map[string]string{
		"before the first row": endless + `SELECT i FROM n WHERE i < 0`,
		"between rows":         endless + `SELECT i FROM n`,
		"after the first row":  endless + `SELECT i FROM n WHERE i = 1 OR i < 0`,
		"while writing":        `INSERT INTO t ` + endless + `SELECT i FROM n`,
	} {
		for _, after := range []time.Duration{0, 2 * time.Millisecond, 20 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_, err := c.call(ctx, &sdk.Call{Statements: []sdk.Statement{sqlText(text)}})
			if e := sdk.AsError(err); e == nil || e.Kind != sdk.Timeout && e.Kind != sdk.Canceled {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
	}
	c.want(sqlText("SELECT count(*) AS n FROM t"), `[{"n":0}]`)
	c.want(insert("t", `{"id":1}`, "id"), `[{"id":1}]`)
}

// TestCancelInProcess sees the error that the instance itself answers with: a statement
// between two rows is interrupted, and what a write did is undone.
func TestCancelInProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	db, err := open(t.Context(), Config{Path: path, Sample: true, BusyTimeout: time.Second, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 2 OR i < 0`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) UPDATE crew SET name = (SELECT max(i) FROM n)`,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(10*time.Millisecond, cancel)
		rows := sdk.NewRows(sdk.ResultOptions{}, func(*sdk.Chunk) error { return nil })
		err := db.Execute(ctx, &sdk.Call{Statements: []sdk.Statement{sqlText(text)}}, rows)
		timer.Stop()
		cancel()
		var e *sdk.Error
		if !errors.As(err, &e) || e.Kind != sdk.Canceled || e.Executed != sdk.ExecutedNo {
			t.Errorf("%s: %+v", text, err)
		}
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReadersAndWriters runs both at once: no call fails, every write counts once, and
// a reader sees whole transactions only.
func TestReadersAndWriters(t *testing.T) {
	c := openClient(t, map[string]any{"max_connections": 3}, `CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)`, `INSERT INTO t VALUES (1, 0), (2, 0)`)
	const workers, calls = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range calls {
				if w%2 == 0 {
					up := sqlText("UPDATE t SET n = n + 1 WHERE id = 1; UPDATE t SET n = n + 1 WHERE id = 2")
					if _, err := c.do(up); err != nil {
						t.Error(err)
					}
					continue
				}
				a, err := c.do(sqlText("SELECT (SELECT n FROM t WHERE id = 1) = (SELECT n FROM t WHERE id = 2) AS same"))
				if err != nil || a.body != `[{"same":1}]` {
					t.Errorf("%s %v", a.body, err)
				}
			}
		})
	}
	wg.Wait()
	c.want(sqlText("SELECT n FROM t"), fmt.Sprintf(`[{"n":%d},{"n":%[1]d}]`, workers/2*calls))
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openClient(t, map[string]any{})
	for name, k := range map[string]struct {
		config map[string]any
		kind   sdk.Kind
		reason string
	}{
		"missing":     {map[string]any{"path": filepath.Join(dir, "none.db")}, sdk.Unavailable, "database_missing"},
		"no database": {map[string]any{"path": text}, sdk.Unavailable, "corrupt_database"},
		"a folder":    {map[string]any{"path": dir}, sdk.Unavailable, "cannot_open"},
		"below file":  {map[string]any{"path": filepath.Join(text, "x", "s.db"), "sample": true}, sdk.Unavailable, ""},
		"memory":      {map[string]any{"path": ":memory:"}, sdk.Invalid, "invalid_config"},
		"no readers":  {map[string]any{"path": c.path, "max_connections": 0}, sdk.Invalid, "invalid_config"},
		"negative":    {map[string]any{"path": c.path, "busy_timeout": "-1s"}, sdk.Invalid, "invalid_config"},
	} {
		e := sdk.AsError(c.open(k.config))
		if e == nil || e.Kind != k.kind || k.reason != "" && e.Reason != k.reason || e.Message == "" {
			t.Errorf("%s: got %v, want %s (%s)", name, e, k.kind, k.reason)
		}
		if e != nil && k.kind == sdk.Unavailable && e.Hint == "" {
			t.Errorf("%s: %v says nothing of what to do", name, e)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening made the file: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	first := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	c := openClient(t, map[string]any{"path": first.path, "read_only": true})
	c.want(sqlText("SELECT * FROM t"), "[]")
	c.fails(insert("t", `{"id":1}`, "id"), sdk.Forbidden, "read_only")
	c.fails(sqlText("DROP TABLE t"), sdk.Forbidden, "read_only")
	c.want(sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Name: "t"}}, "0")
}

// TestSample opens the same path many times at once: it is made once, complete.
func TestSample(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "fold er#1", "s?100%.db")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := open(t.Context(), Config{Path: path, Sample: true, BusyTimeout: 5 * time.Second, MaxConnections: 1})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	c := openClient(t, map[string]any{"path": path, "sample": true})
	a := c.must(sqlText(`SELECT count(*) AS n FROM moons`))
	if a.body != `[{"n":18}]` {
		t.Errorf("got %s", a.body)
	}
	c.want(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "planets"}, Key: []sdk.Value{str("7")}},
		`[{"id":7,"name":"Uranus","local_name":"Οὐρανός","kind":"ice giant","radius_km":25362,"mass_kg":8.68103e+25,"orbit_days":30688.5,"rings":true,"discovered":"1781-03-13","atmosphere":{"H2": 82.5, "He": 15.2, "CH4": 2.3}}]`)
	c.must(sdk.Statement{Verb: sdk.Delete, Table: sdk.Table{Name: "samples"}, AllowAll: true})
	again := openClient(t, map[string]any{"path": path, "sample": true})
	again.want(sqlText(`SELECT count(*) AS n FROM samples`), `[{"n":0}]`)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.Contains(entry.Name(), ".new-") {
			t.Errorf("%s is left behind", entry.Name())
		}
	}
}
