package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestReadScript(t *testing.T) {
	type want struct {
		n                            int
		text                         string
		reads, query, plain, returns bool
		commits, copies              bool
	}
	for text, w := range map[string]want{
		"":                           {0, "", true, true, true, false, false, false},
		" ;; -- nothing\n /* ; */ ;": {0, "", true, true, true, false, false, false},
		"select 1":                   {1, "select 1", true, true, true, false, false, false},
		"SELECT 1 ; ;\n-- end":       {1, "SELECT 1", true, true, true, false, false, false},
		"/* a /* b; */ c; */ (select ';') union values (2);":    {1, "/* a /* b; */ c; */ (select ';') union values (2)", true, true, true, false, false, false},
		"select 'it''s;' || E'\\';' || \"a;\"\"b\"":             {1, "select 'it''s;' || E'\\';' || \"a;\"\"b\"", true, true, true, false, false, false},
		"select E'a\\'b'\n  -- more\n'c\\';d'; select 2":        {2, "select E'a\\'b'\n  -- more\n'c\\';d'; select 2", true, true, true, false, false, false},
		"select 'a\\'; select 2":                                {2, "select 'a\\'; select 2", true, true, true, false, false, false},
		"select $1 || $$;$$ || $a$;$$;$a$, $2":                  {1, "select $1 || $$;$$ || $a$;$$;$a$, $2", true, true, true, false, false, false},
		"select a$b;c$d from t":                                 {2, "select a$b;c$d from t", false, false, false, false, false, false},
		"select 'open; ":                                        {1, "select 'open; ", true, true, true, false, false, false},
		"with x as (delete from t returning *) select * from x": {1, "with x as (delete from t returning *) select * from x", true, false, true, true, false, false},
		"insert into t values (1) returning id":                 {1, "insert into t values (1) returning id", false, false, true, true, false, false},
		"update t set a = 1":                                    {1, "update t set a = 1", false, false, true, false, false, false},
		"select a into b from c":                                {1, "select a into b from c", true, false, false, false, false, false},
		"select set_config('a.b', '1', false)":                  {1, "select set_config('a.b', '1', false)", true, true, false, false, false, false},
		"select \"set_config\"('a.b', '1', false)":              {1, "select \"set_config\"('a.b', '1', false)", true, true, false, false, false, false},
		"set role x":                    {1, "set role x", false, false, false, false, false, false},
		"begin; commit":                 {2, "begin; commit", false, false, false, false, true, false},
		"do $$ begin commit; end $$":    {1, "do $$ begin commit; end $$", false, false, false, false, true, false},
		"copy t from stdin":             {1, "copy t from stdin", false, false, false, false, false, true},
		"copy t to '/tmp/x'":            {1, "copy t to '/tmp/x'", false, false, false, false, false, false},
		"explain analyze delete from t": {1, "explain analyze delete from t", true, true, true, false, false, false},
		"create rule r as on insert to t do (select 1; select 2); select 3": {2, "create rule r as on insert to t do (select 1; select 2); select 3", false, false, false, false, false, false},
		"create or replace function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3": {2,
			"create or replace function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3", false, false, false, false, false, false},
	} {
		s := readScript(text)
		got := want{s.statements, s.text, s.reads, s.query, s.plain, s.returning, s.commits, s.copies}
		if got != w {
			t.Errorf("%s:\n got %+v\nwant %+v", text, got, w)
		}
	}
}

func FuzzReadScript(f *testing.F) {
	for _, seed := range []string{
		"select 1;", "select $$a$$, $1, $a$b$a$", "/* /* */", "e'\\", "E'a'\n'b\\'", "create function f() begin atomic select 1; end", "(;)", "\"", "a$b$c$", "--",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := readScript(text)
		if !strings.HasPrefix(text, s.text) {
			t.Fatalf("%q is not the beginning of %q", s.text, text)
		}
		again := readScript(s.text)
		if again != s {
			t.Fatalf("%+v, then %+v", s, again)
		}
		if strings.TrimSpace(strings.ReplaceAll(text, ";", "")) != "" && s.statements > strings.Count(text, ";")+1 {
			t.Fatalf("%d statements in %q", s.statements, text)
		}
	})
}

func TestSQL(t *testing.T) {
	for _, cache := range []string{"prepare", "off"} {
		t.Run(cache, func(t *testing.T) {
			db := openTest(t, map[string]any{"statement_cache": cache, "max_connections": 1}, peopleSetup)
			for _, test := range []struct {
				s    sdk.SQLText
				want string // "": it is refused
			}{
				{sdk.SQLText{Text: "select 1 as a, 'x' as b;"}, `[{"a":1,"b":"x"}]`},
				{sdk.SQLText{Text: "select $1::int + 1 as a, $2 as b, $3::text as c", Args: []sdk.Value{{Hint: sdk.Number, Text: "41"}, text(""), {Hint: sdk.Null}}}, `[{"a":42,"b":"","c":null}]`},
				{sdk.SQLText{Text: "select $1::int[] as a, $2::jsonb as b, $3::jsonb[] as c, $4::text[] as d", Args: []sdk.Value{
					{Hint: sdk.JSON, Text: "[1,[2]]"}, {Hint: sdk.JSON, Text: "[1,null]"}, {Hint: sdk.JSON, Text: `[{"x":[1]},[2],null]`}, {Hint: sdk.JSON, Text: `["a\"b",null,"{}"]`},
				}}, ""},
				{sdk.SQLText{Text: "select $1::int[] as a, $2::jsonb as b, $3::jsonb[] as c, $4::text[] as d", Args: []sdk.Value{
					{Hint: sdk.JSON, Text: "[[1],[2]]"}, {Hint: sdk.JSON, Text: "[1,null]"}, {Hint: sdk.JSON, Text: `[{"x":[1]},[2],null]`}, {Hint: sdk.JSON, Text: `["a\"b",null,"{}","é"]`},
				}}, `[{"a":[[1],[2]],"b":[1, null],"c":[{"x": [1]},[2],null],"d":["a\"b",null,"{}","é"]}]`},
				{sdk.SQLText{Text: "select $1::bytea as a", Args: []sdk.Value{{Hint: sdk.Bytes, Text: "\x00\\\xff"}}}, `[{"a":"\\x005cff"}]`},
				{sdk.SQLText{Text: "select count(*) as n from people", Schema: "other"}, `[{"n":0}]`},
				{sdk.SQLText{Text: "select count(*) as n, current_setting('search_path') as p from adults", Schema: `od"d`}, `[{"n":2,"p":"\"od\"\"d\", \"public\""}]`},
				{sdk.SQLText{Text: "select $1::int[] as a, note from people", Schema: "other", Args: []sdk.Value{{Hint: sdk.JSON, Text: "[1]"}}}, `[]`},
				{sdk.SQLText{Text: "insert into people values (1, 'n') returning note", Schema: "other"}, `[{"note":"n"}]`},
				{sdk.SQLText{Text: "select note from people", Schema: "other", Intent: sdk.IntentRead}, `[{"note":"n"}]`},
				{sdk.SQLText{Text: "update people set note = 'm'; select note from people; set work_mem = '1MB'", Schema: "other"}, `[{"note":"m"}]`},
				{sdk.SQLText{Text: "show search_path", Intent: sdk.IntentRead}, `[{"search_path":"\"$user\", public"}]`},
				{sdk.SQLText{Text: "select 1 as a; select 2 as b, null as c union all select 3, 4;", Intent: sdk.IntentRead}, `[{"b":2,"c":null},{"b":3,"c":4}]`},
				{sdk.SQLText{Text: "create table made (a int)"}, `[]`},
				{sdk.SQLText{Text: "insert into made values (1), (2)"}, `[]`},
				{sdk.SQLText{Text: "with d as (delete from made where a = $1 returning a) select a from d", Args: []sdk.Value{{Text: "1"}}}, `[{"a":1}]`},
				{sdk.SQLText{Text: "select a from made"}, `[{"a":2}]`},
				{sdk.SQLText{Text: "select 1 as a, 2 as a"}, `[{"a":1,"a":2}]`},
			} {
				a, err := execute(t.Context(), db, sdk.Statement{Verb: sdk.SQL, SQL: test.s})
				if test.want == "" {
					wantError(t, a, err, sdk.Invalid, "invalid_text_representation")
				} else if err != nil || a.body != test.want {
					t.Errorf("%s: got %s and %v, want %s", test.s.Text, a.body, err, test.want)
				}
			}
		})
	}
}

func TestSQLTails(t *testing.T) {
	db := openTest(t, nil, peopleSetup)
	two := int64(2)
	any := []string{"*"}
	for text, want := range map[string]sdk.Tail{
		"select 1":                               {Rows: 1, Statements: 1},
		"update people set age = 1 where id < 3": {Statements: 1, Affected: &two},
		"update people set age = 1 where id < 3 returning id":                         {Rows: 2, Statements: 1, Affected: &two},
		"insert into people (name) values ('x'); delete from people where name = 'x'": {Statements: 2, Affected: &two},
		"set work_mem = '2MB'; select 1":                                              {Rows: 1, Statements: 2},
	} {
		want.TablesRead, want.TablesWritten = any, any
		if diff := cmp.Diff(want, must(t, db, sqlText(text)).tail); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestSQLRefused(t *testing.T) {
	db := openTest(t, nil, peopleSetup)
	read := func(text string) sdk.Statement {
		return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text, Intent: sdk.IntentRead}}
	}
	for _, test := range []struct {
		s      sdk.Statement
		kind   sdk.Kind
		reason string
	}{
		{sqlText(" -- nothing"), sdk.Invalid, "empty_sql"},
		{sqlText("copy people from stdin"), sdk.Unsupported, "copy_unsupported"},
		{sqlText("select 1; copy people to stdout"), sdk.Unsupported, "copy_unsupported"},
		{sqlText("select $1; select 2", text("1")), sdk.Invalid, "arguments_of_several_statements"},
		{read("delete from people"), sdk.Invalid, "not_a_read"},
		{read("commit; delete from people"), sdk.Invalid, "not_a_read"},
		{read("with d as (delete from people returning 1) select * from d"), sdk.Forbidden, "read_only_transaction"},
		{read("select 1; with d as (delete from people returning 1) select * from d"), sdk.Forbidden, "read_only_transaction"},
		{read("select set_config('transaction_read_only', 'off', true); with d as (delete from people returning 1) select * from d"), sdk.Invalid, "invalid_transaction_state"},
		{read("explain analyze delete from people"), sdk.Forbidden, "read_only_transaction"},
	} {
		if e := fails(t, db, test.s, test.kind, test.reason); e.Executed != sdk.ExecutedNo {
			t.Errorf("%s: executed %v", test.s.SQL.Text, e.Executed)
		}
	}
	many := make([]sdk.Filter, maxArguments+1)
	for i := range many {
		many[i] = *eq("name", "x")
	}
	for _, s := range []sdk.Statement{
		sqlText("select $1", make([]sdk.Value, maxArguments+1)...),
		{Verb: sdk.Select, Table: table("people"), Filter: &sdk.Filter{Kind: sdk.FilterOr, Children: many}},
	} {
		for _, session := range []sdk.Session{{}, {TimeZone: "UTC"}} {
			failsCall(t, db, &sdk.Call{Statements: []sdk.Statement{s}, Session: session}, sdk.Invalid, "too_many_values")
		}
	}
	if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("people")}).body; got != "3" {
		t.Error(got)
	}
}

// TestSessionIsClean: nothing of one text is left for the next.
func TestSessionIsClean(t *testing.T) {
	uri := testenv.Database(t, peopleSetup)
	db := openURI(t, uri, map[string]any{"max_connections": 1})
	state := "select current_user as u, current_setting('search_path') as p, current_setting('work_mem') as w, to_regclass('pg_temp.leftover')::text as t, " +
		"(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as l, pg_backend_pid() as pid, current_setting('a.b', true) as ab"
	before := must(t, db, sqlText(state)).body
	for _, s := range []sdk.SQLText{
		{Text: "set role pg_monitor"},
		{Text: "set work_mem = '1MB'; select 1"},
		{Text: "create temp table leftover (a int)"},
		{Text: "select 1 as a into temp leftover"},
		{Text: "begin"},
		{Text: "begin; create table unfinished (a int)"},
		{Text: "select pg_advisory_lock(1)"},
		{Text: "select set_config('search_path', 'other', false)"},
		{Text: "create table made (a int)", Schema: "other"},
		{Text: "set work_mem = '1MB'; select nonsense"},
	} {
		_, _ = execute(t.Context(), db, sdk.Statement{Verb: sdk.SQL, SQL: s})
		after := must(t, db, sqlText(state)).body
		after = strings.Replace(after, `"ab":""`, `"ab":null`, 1)
		if after != before {
			t.Errorf("%s: %s, before %s", s.Text, after, before)
		}
	}
	if got := must(t, db, sqlText("select to_regclass('unfinished')::text as a, to_regclass('other.made')::text as b")).body; got != `[{"a":null,"b":"other.made"}]` {
		t.Error(got)
	}
}

// TestCappedQueryWrites: a query that writes is not undone when fewer rows are asked for.
func TestCappedQueryWrites(t *testing.T) {
	db := openTest(t, nil, `create schema other; create table log (n int);
		create function write(n int) returns int language sql as 'insert into public.log values (n) returning n'`)
	for _, schema := range []string{"", "other"} {
		s := sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: "select write(n) as n from generate_series(1, 20000) n", Schema: schema}}
		if a := must(t, db, s, sdk.ResultOptions{MaxRows: 1, CapRows: true}); a.body != `[{"n":1}]` {
			t.Errorf("schema %q: %s", schema, a.body)
		}
	}
	if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("log")}).body; got != "40000" {
		t.Error(got)
	}
}

// TestBackslashes: the texts are read as readScript reads them, whatever the uri says.
func TestBackslashes(t *testing.T) {
	for _, cache := range []string{"prepare", "off"} {
		db := openURI(t, withParam(t, testenv.Database(t), "standard_conforming_strings", "off"), map[string]any{"statement_cache": cache})
		if got := must(t, db, sqlText(`select '\' as a, ';' as b`)).body; got != `[{"a":"\\","b":";"}]` {
			t.Errorf("%s: %s", cache, got)
		}
	}
}

// TestTextRunsOnce: a text that names what does not exist is not run again, whatever the
// catalogue says meanwhile.
func TestTextRunsOnce(t *testing.T) {
	db := openTest(t, nil, "create table log (n int)")
	other := openURI(t, db.pool.Config().ConnString(), nil)
	must(t, other, sqlText("create table unseen (a int)")) // a newer catalogue
	db.catalogues.expire()
	_, err := execute(t.Context(), db, sqlText("insert into log values (1); commit; select * from nowhere"))
	wantError(t, answer{}, err, sdk.NotFound, "undefined_table")
	if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("log")}).body; got != "1" {
		t.Errorf("run %s times", got)
	}
}
