package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

func TestSplitSQL(t *testing.T) {
	cases := []struct {
		text string
		want []string
	}{
		{"", nil},
		{" ;; -- nothing\n /* ; */ ", nil},
		{"SELECT 1", []string{"SELECT 1"}},
		{"SELECT ';' AS \"a;b\", [;], `;` -- ;\n; /* ; */ DELETE FROM t;", []string{"SELECT ';' AS \"a;b\", [;], `;` -- ;\n", "DELETE FROM t"}},
		{"SELECT 'it''s; '; SELECT 'open ;", []string{"SELECT 'it''s; '", "SELECT 'open ;"}},
		{"create temp trigger x after insert on t begin select case when 1 then 2 end; delete from t; end; select 2",
			[]string{"create temp trigger x after insert on t begin select case when 1 then 2 end; delete from t; end", "select 2"}},
		{"EXPLAIN QUERY PLAN CREATE TRIGGER x BEGIN SELECT 1; END; SELECT 1", []string{"EXPLAIN QUERY PLAN CREATE TRIGGER x BEGIN SELECT 1; END", "SELECT 1"}},
	}
	for _, c := range cases {
		statements, err := splitSQL(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		var got []string
		for _, s := range statements {
			got = append(got, s.text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestWhatStatementsDo(t *testing.T) {
	const read, query, spoils, alone = 1, 2, 4, 8
	for text, want := range map[string]int{
		"select 1": read | query, "values (1)": read | query, "explain delete from t": read | query,
		"with x as (select 1) select * from x":                    read | query,
		"with x as (select 1) delete from t":                      0,
		"with x as (select 1) insert into t select 1 returning a": query,
		"insert into t values (1)":                                0,
		"update t set a = 1 returning *":                          query,
		"pragma table_info(t)":                                    read | query | alone,
		"pragma main.table_info(t)":                               read | query | alone,
		"pragma user_version":                                     read | query | alone,
		"pragma user_version(5)":                                  query | spoils | alone,
		"pragma query_only = 0":                                   query | spoils | alone,
		"pragma table_info = t":                                   query | spoils | alone,
		"pragma":                                                  query | spoils | alone,
		"vacuum":                                                  alone,
		"create temporary table x (a)":                            spoils,
		"create table x (a)":                                      0,
	} {
		s, err := splitSQL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := 0
		for bit, is := range map[int]bool{read: s[0].read, query: s[0].query, spoils: s[0].spoils, alone: s[0].alone} {
			if is {
				got |= bit
			}
		}
		if got != want {
			t.Errorf("%s: got %b, want %b", text, got, want)
		}
	}
	for text, reason := range map[string]string{"ATTACH 'x' AS y": "other_files", "vacuum into 'x'": "other_files", "detach y": "other_files",
		"(values (1))": "syntax_error", "selec 1": "syntax_error", "\ufeffattach 'x' AS y": "other_files", "select 1;\ufeff commit": "transaction_control",
		"commit": "transaction_control", "SELECT 1; begin": "transaction_control", "/**/rollback": "transaction_control"} {
		if _, err := splitSQL(text); sdk.AsError(err) == nil || sdk.AsError(err).Reason != reason {
			t.Errorf("%s: got %v, want %s", text, err, reason)
		}
	}
}

// FuzzSplitSQL holds that a text's statements are its pieces, in order, and that what
// lies between them is white space, comments and semicolons.
func FuzzSplitSQL(f *testing.F) {
	for _, s := range []string{"SELECT 1; SELECT ';'", "create trigger x begin select 1; end; select", "--\n;/*", "'", "\"a", "[;", "pragma", "pragma a.b(c)", "with\x00",
		"\ufeffATTACH 'x' AS y", "\ufeffCOMMIT; \ufeffATTACH 'x' AS y", "\ufeffPRAGMA query_only = 0", "create trigger x begin select 1;\ufeffEND; select 2", "a\ufeffb", "SELECT @x('); COMMIT; --'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		statements, err := splitSQL(text)
		if err != nil {
			return
		}
		rest := text
		for _, s := range statements {
			at := strings.Index(rest, s.text)
			if at < 0 || s.text == "" {
				t.Fatalf("%q is no piece of %q", s.text, rest)
			}
			onlySpace(t, rest[:at])
			rest = rest[at+len(s.text):]
		}
		onlySpace(t, rest)
	})
}

func onlySpace(t *testing.T, text string) {
	t.Helper()
	for i := 0; i < len(text); {
		next, kind := token(text, i)
		if kind != tokenSpace && text[i] != ';' {
			t.Fatalf("%q is left out", text)
		}
		i = next
	}
}

func TestSQL(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, on_day DATE)`,
		`INSERT INTO t VALUES (1, '2024-02-29T12:00:00Z', '2024-02-29'), (2, '2024-02-29', NULL)`)
	c.want(sqlText(`SELECT id, at, at AS "again""", on_day FROM t ORDER BY id DESC -- newest`),
		`[{"id":2,"at":"2024-02-29","again\"":"2024-02-29","on_day":null},{"id":1,"at":"2024-02-29T12:00:00Z","again\"":"2024-02-29T12:00:00Z","on_day":"2024-02-29"}]`)
	c.want(sqlText(`WITH _athena AS (SELECT at FROM t WHERE id = ?1) SELECT * FROM _athena`, num("1")), `[{"at":"2024-02-29T12:00:00Z"}]`)
	c.want(sqlText(`UPDATE t SET on_day = '2024-03-01' WHERE id = 1 RETURNING on_day`), `[{"on_day":"2024-03-01"}]`)
	a := c.want(sqlText(`INSERT INTO t(id) VALUES (3), (4); SELECT id FROM t WHERE at IS NULL; DELETE FROM t WHERE at IS NULL`), `[{"id":3},{"id":4}]`)
	if a.tail.Statements != 3 || *a.tail.Affected != 4 {
		t.Errorf("got %+v", a.tail)
	}
	a = c.want(sqlText(`CREATE TABLE other (a); CREATE TRIGGER tr AFTER INSERT ON other BEGIN DELETE FROM other WHERE a = 1; SELECT 1; END`), `[]`)
	if a.tail.Statements != 2 || *a.tail.Affected != 0 || a.tail.TablesWritten[0] != "*" {
		t.Errorf("got %+v", a.tail)
	}
	c.fails(sqlText(`INSERT INTO other VALUES (5); INSERT INTO t(id) VALUES (1)`), sdk.Conflict, "unique_violation")
	c.want(sqlText(`SELECT a FROM other`), `[]`)
	c.want(sqlText(`SELECT ?2 AS b, ?1 AS a`, num("1"), str("x")), `[{"b":"x","a":1}]`)
	c.fails(sqlText(`SELECT ?2`, num("1")), sdk.Invalid, "missing_argument")
	c.fails(sqlText(`SELECT :name`, num("1")), sdk.Invalid, "missing_argument")
	c.fails(sqlText(`SELECT 1; SELECT ?1`, num("1")), sdk.Invalid, "several_statements")
	c.fails(sqlText(` -- nothing`), sdk.Invalid, "syntax_error")
	c.fails(sqlText(`VACUUM; SELECT 1`), sdk.Invalid, "not_in_transaction")
	c.must(sqlText(`VACUUM`))
	c.want(sqlText(`PRAGMA user_version = 7`), `[]`)
	c.want(sqlText(`PRAGMA user_version`), `[{"user_version":7}]`)
	c.must(sqlText(`PRAGMA foreign_keys = off`))
	c.want(sqlText(`PRAGMA foreign_keys`), `[{"foreign_keys":1}]`) // the next call's connection is as ever
	c.must(sqlText(`CREATE TEMP TABLE mine (a)`))
	write := sqlText(`SELECT * FROM mine`)
	write.SQL.Intent = sdk.IntentWrite
	if e := c.fails(write, sdk.NotFound, "undefined_table"); e.Table != "mine" {
		t.Errorf("got %+v", e)
	}
}

func TestReadIntent(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	for _, text := range []string{"INSERT INTO t VALUES (1)", "DROP TABLE t", "PRAGMA query_only = 0; INSERT INTO t VALUES (1)", "PRAGMA user_version = 5",
		"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "CREATE TEMP TABLE x (a)", "SELECT 1; INSERT INTO t VALUES (1)"} {
		s := sqlText(text)
		s.SQL.Intent = sdk.IntentRead
		c.fails(s, sdk.Forbidden, "read_only")
	}
	c.want(sqlText("SELECT * FROM t"), "[]")
}
