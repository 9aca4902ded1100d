package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

func insertPerson(name string) sdk.Statement {
	payload, _ := json.Marshal(map[string]string{"name": name})
	return sdk.Statement{
		Verb: sdk.Insert, Table: table("people"), Rows: sdk.Rowset{Payload: payload, Columns: []string{"name"}},
		Returning: sdk.ReturnSelection, Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "name"}}}},
	}
}

func deletePeople(filter *sdk.Filter) sdk.Statement {
	return sdk.Statement{Verb: sdk.Delete, Table: table("people"), Filter: filter, AllowAll: true}
}

var peopleCount = sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Name: "people"}}

func TestTransaction(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	single := sdk.Tx{Single: true}
	for range 2 { // prepared, then from the cache
		answers := mustCall(t, db, &sdk.Call{Tx: single, Statements: []sdk.Statement{
			insertPerson("Alan"), peopleCount, sqlText("update people set age = 1 where name = $1", text("Alan")), deletePeople(eq("name", "Alan")), peopleCount,
		}})
		var bodies []string
		for i, a := range answers {
			bodies = append(bodies, a.body)
			if a.head.Statement != i || a.tail.Statement != i {
				t.Errorf("statement %d is %d and %d", i, a.head.Statement, a.tail.Statement)
			}
		}
		if diff := cmp.Diff([]string{`[{"name":"Alan"}]`, "4", "[]", "[]", "3"}, bodies); diff != "" {
			t.Error(diff)
		}
		if *answers[0].tail.Affected != 1 || *answers[2].tail.Affected != 1 || *answers[3].tail.Affected != 1 || *answers[4].tail.Total != 3 {
			t.Errorf("%+v", answers)
		}
	}
	for name, test := range map[string]struct {
		tx       sdk.Tx
		second   sdk.Statement
		reason   string
		executed sdk.Executed
		left     string
	}{
		"single":           {single, insertPerson("Ada"), "unique_violation", sdk.ExecutedNo, "3"},
		"unknown column":   {single, sqlText("select nothing from people"), "undefined_column", sdk.ExecutedNo, "3"},
		"unknown prepared": {single, sqlText("select nothing from people where $1 = 'x'", text("x")), "undefined_column", sdk.ExecutedNo, "3"},
		"unknown table":    {single, sdk.Statement{Verb: sdk.Select, Table: table("nowhere")}, "undefined_table", sdk.ExecutedNo, "3"},
		"script":           {single, sqlText("delete from people where id = 3; select 1/0"), "division_by_zero", sdk.ExecutedNo, "3"},
		"each":             {sdk.Tx{}, insertPerson("Ada"), "unique_violation", sdk.ExecutedYes, "4"},
	} {
		answers, err := runCall(t.Context(), db, &sdk.Call{Tx: test.tx, Statements: []sdk.Statement{insertPerson("Alan"), test.second, insertPerson("Never")}})
		e := sdk.AsError(err)
		if e == nil || e.Reason != test.reason || e.Statement != 1 || e.Executed != test.executed {
			t.Errorf("%s: %+v", name, e)
		}
		if test.tx.Single && answers[0].body != "" {
			t.Errorf("%s: sent %s before COMMIT", name, answers[0].body)
		}
		if got := must(t, db, peopleCount).body; got != test.left {
			t.Errorf("%s: %s people", name, got)
		}
		must(t, db, deletePeople(eq("name", "Alan")))
		clean(t, db)
	}
}

// TestCappedTransaction: rows enough are no failure, however many statements are sent at once.
func TestCappedTransaction(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, "create table two (a int); insert into two values (1), (2)")
	for n := maxPipelined - 2; n <= maxPipelined; n++ {
		call := &sdk.Call{Tx: sdk.Tx{Single: true}, Result: sdk.ResultOptions{MaxRows: 1, CapRows: true}}
		for range n {
			call.Statements = append(call.Statements, sdk.Statement{Verb: sdk.Select, Table: table("two")})
		}
		if got := mustCall(t, db, call)[n-1].body; got != `[{"a":1}]` {
			t.Errorf("%d statements: %s", n, got)
		}
	}
}

func TestTransactionModes(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	shown := sqlText("select current_setting('transaction_isolation') || current_setting('transaction_read_only') || current_setting('transaction_deferrable') as v")
	for tx, want := range map[sdk.Tx]string{
		{}:                              "read committedoffoff",
		{Isolation: sdk.Serializable}:   "serializableoffoff",
		{Isolation: sdk.RepeatableRead}: "repeatable readoffoff",
		{ReadOnly: true}:                "read committedonoff",
		{Isolation: sdk.Serializable, ReadOnly: true, Deferrable: true}: "serializableonon",
	} {
		if got := mustCall(t, db, &sdk.Call{Tx: tx, Statements: []sdk.Statement{shown}})[0].body; got != `[{"v":"`+want+`"}]` {
			t.Errorf("%+v: %s", tx, got)
		}
	}
	failsCall(t, db, &sdk.Call{Tx: sdk.Tx{ReadOnly: true}, Statements: []sdk.Statement{insertPerson("x")}}, sdk.Forbidden, "read_only_transaction")
	clean(t, db)
}

// TestRollback: a call that ends with rollback answers as if it were committed, and shows
// what would not have been.
func TestRollback(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	tx := sdk.Tx{Rollback: true}
	a := mustCall(t, db, &sdk.Call{Tx: tx, Statements: []sdk.Statement{insertPerson("Alan")}})[0]
	if a.body != `[{"name":"Alan"}]` || *a.tail.Affected != 1 {
		t.Errorf("%+v", a)
	}
	boss := sdk.Statement{Verb: sdk.Update, Table: table("people"), Key: []sdk.Value{{Text: "1"}}, Set: []sdk.SetItem{{Column: "boss", Value: sdk.Value{Hint: sdk.Number, Text: "99"}}}}
	e := failsCall(t, db, &sdk.Call{Tx: tx, Statements: []sdk.Statement{boss}}, sdk.Conflict, "foreign_key_violation")
	if e.Executed != sdk.ExecutedNo {
		t.Errorf("%+v", e)
	}
	a = mustCall(t, db, &sdk.Call{Tx: tx, Statements: []sdk.Statement{sqlText("delete from people; select count(*) as n from people")}})[0]
	if a.body != `[{"n":0}]` {
		t.Error(a.body)
	}
	if got := must(t, db, peopleCount).body; got != "3" {
		t.Error(got)
	}
	clean(t, db)
}

func TestExpect(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	n := func(n int64) *int64 { return &n }
	everybody := sdk.Statement{Verb: sdk.Select, Table: table("people")}
	one, nobody := everybody, everybody
	one.Filter, nobody.Filter = eq("name", "Ada"), eq("name", "Nobody")
	for name, test := range map[string]struct {
		s      sdk.Statement
		expect sdk.Expect
		o      sdk.ResultOptions
		reason string
		rows   string
	}{
		"one read":       {s: one, expect: sdk.Expect{ExactlyOne: true}},
		"no read":        {s: nobody, expect: sdk.Expect{ExactlyOne: true}, reason: "not_exactly_one", rows: "0"},
		"three read":     {s: everybody, expect: sdk.Expect{ExactlyOne: true}, reason: "not_exactly_one", rows: "3"},
		"as an object":   {s: everybody, expect: sdk.Expect{ExactlyOne: true}, o: sdk.ResultOptions{Format: sdk.FormatObject}, reason: "not_exactly_one", rows: "3"},
		"no object":      {s: nobody, expect: sdk.Expect{ExactlyOne: true}, o: sdk.ResultOptions{Format: sdk.FormatObject}, reason: "not_exactly_one", rows: "0"},
		"one written":    {s: insertPerson("Alan"), expect: sdk.Expect{ExactlyOne: true, MaxAffected: n(1)}},
		"three written":  {s: deletePeople(nil), expect: sdk.Expect{ExactlyOne: true}, reason: "not_exactly_one", rows: "3"},
		"too many":       {s: deletePeople(nil), expect: sdk.Expect{MaxAffected: n(2)}, reason: "max_affected_exceeded", rows: "3"},
		"just so many":   {s: deletePeople(eq("name", "Linus")), expect: sdk.Expect{MaxAffected: n(1)}},
		"text":           {s: sqlText("delete from people"), expect: sdk.Expect{MaxAffected: n(2)}, reason: "max_affected_exceeded", rows: "3"},
		"script":         {s: sqlText("delete from people where id = 1; delete from people where id = 2"), expect: sdk.Expect{MaxAffected: n(1)}, reason: "max_affected_exceeded", rows: "2"},
		"text that read": {s: sqlText("select * from people"), expect: sdk.Expect{ExactlyOne: true}, reason: "not_exactly_one", rows: "3"},
	} {
		t.Run(name, func(t *testing.T) {
			answers, err := runCall(t.Context(), db, &sdk.Call{Statements: []sdk.Statement{test.s}, Expect: test.expect, Result: test.o})
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				must(t, db, deletePeople(nil))
				must(t, db, sqlText("insert into people (id, name, age) values (1, 'Ada', 36), (2, 'Grace', 85), (3, 'Linus', null)"))
				return
			}
			e := wantError(t, answers[0], err, sdk.Invalid, test.reason)
			if string(e.Details) != `{"rows":`+test.rows+`}` || e.Executed != sdk.ExecutedNo || answers[0].body != "" {
				t.Errorf("%s, %+v, sent %q", e.Details, e, answers[0].body)
			}
			if got := must(t, db, peopleCount).body; got != "3" {
				t.Errorf("%s people", got)
			}
		})
	}
	clean(t, db)
}

func TestKeys(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, `
		create table things (kind int, id uuid, at timestamptz default '2024-01-01 00:00+00', v text, primary key (kind, id));
		create table keyless (a int)`)
	const id, other = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "00000000-0000-0000-0000-000000000001"
	insert := func(id string, returning sdk.Returning, items ...sdk.Item) sdk.Statement {
		return sdk.Statement{
			Verb: sdk.Insert, Table: table("things"), Rows: sdk.Rowset{Payload: fmt.Appendf(nil, `{"kind":7,"id":"%s","v":"x"}`, id), Columns: []string{"kind", "id", "v"}},
			Conflict: &sdk.OnConflict{Update: true}, Returning: returning, Selection: sdk.Selection{Items: items},
		}
	}
	v := sdk.Item{Column: sdk.Column{Name: "v"}}
	want := []sdk.KeyColumn{{Name: "kind", Value: "7"}, {Name: "id", Value: strings.ToLower(id)}}
	for name, test := range map[string]struct {
		s      sdk.Statement
		key    []sdk.Value
		body   string
		reason string
	}{
		"keys":          {s: insert(id, sdk.ReturnKeys), body: `[{"kind":7,"id":"` + strings.ToLower(id) + `"}]`},
		"expected":      {s: insert(id, sdk.ReturnNone), key: []sdk.Value{{Text: "07"}, {Text: id}}, body: `[]`},
		"selected":      {s: insert(id, sdk.ReturnSelection, v), key: []sdk.Value{{Text: "7"}, {Text: id}}, body: `[{"v":"x"}]`},
		"all":           {s: insert(id, sdk.ReturnSelection), key: []sdk.Value{{Text: "7"}, {Text: id}}, body: `[{"kind":7,"id":"` + strings.ToLower(id) + `","at":"2024-01-01T00:00:00+00:00","v":"x"}]`},
		"another":       {s: insert(id, sdk.ReturnNone), key: []sdk.Value{{Text: "7"}, {Text: other}}, reason: "key_mismatch"},
		"another shown": {s: insert(id, sdk.ReturnSelection, v), key: []sdk.Value{{Text: "8"}, {Text: id}}, reason: "key_mismatch"},
		"no key": {s: sdk.Statement{Verb: sdk.Insert, Table: table("keyless"), Rows: sdk.Rowset{Payload: []byte(`{"a":1}`), Columns: []string{"a"}}},
			key: []sdk.Value{{Text: "1"}}, reason: "no_primary_key"},
	} {
		t.Run(name, func(t *testing.T) {
			answers, err := runCall(t.Context(), db, &sdk.Call{Statements: []sdk.Statement{test.s}, Expect: sdk.Expect{KeyEquals: test.key}})
			if test.reason != "" {
				wantError(t, answers[0], err, sdk.Invalid, test.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, answers[0].tail.Keys); diff != "" || answers[0].body != test.body || *answers[0].tail.Affected != 1 {
				t.Errorf("%s %+v %s", answers[0].body, answers[0].tail, diff)
			}
		})
	}
	if got := must(t, db, sqlText("select count(*) as n from things")).body; got != `[{"n":1}]` {
		t.Error(got)
	}
	clean(t, db)
}

// TestNoKey: a row that comes back without its key is written all the same.
func TestNoKey(t *testing.T) {
	db := openTest(t, nil, `create table things (id uuid primary key, v text); create view shown as select id, v from things;
create function fill() returns trigger language plpgsql as 'begin insert into things values (gen_random_uuid(), new.v); return new; end';
create trigger fill instead of insert on shown for each row execute function fill()`)
	s := sdk.Statement{Verb: sdk.Insert, Table: table("shown"), Returning: sdk.ReturnKeys, Rows: sdk.Rowset{Payload: []byte(`{"v":"x"}`), Columns: []string{"v"}}}
	if a := must(t, db, s); a.tail.Keys != nil || *a.tail.Affected != 1 {
		t.Errorf("%+v", a.tail)
	}
	key := []sdk.Value{text("9e107d9d-372b-4ffe-8e0f-6b4e5d8c1a2b")}
	failsCall(t, db, &sdk.Call{Statements: []sdk.Statement{s}, Expect: sdk.Expect{KeyEquals: key}}, sdk.Invalid, "key_mismatch")
	if got := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("things")}).body; got != "1" {
		t.Errorf("%s rows", got)
	}
}

// TestUpsertTells: new rows are told from those that were there.
func TestUpsertTells(t *testing.T) {
	db := openTest(t, nil, peopleSetup)
	for _, returning := range []sdk.Returning{sdk.ReturnNone, sdk.ReturnSelection} {
		s := sdk.Statement{
			Verb: sdk.Insert, Table: table("people"), Conflict: &sdk.OnConflict{Columns: []string{"name"}, Update: true}, Returning: returning,
			Rows:      sdk.Rowset{Payload: fmt.Appendf(nil, `[{"name":"Ada","age":1},{"name":"New %d","age":2}]`, returning), Columns: []string{"name", "age"}},
			Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "age"}}}},
		}
		a := must(t, db, s)
		want := "[]"
		if returning == sdk.ReturnSelection {
			want = `[{"age":1},{"age":2}]`
		}
		if a.body != want || *a.tail.Affected != 2 || a.tail.Inserted == nil || *a.tail.Inserted != 1 {
			t.Errorf("%s %+v", a.body, a.tail)
		}
	}
}

func TestSQLHeaders(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	set := func(headers, status, more string) *sdk.Call {
		return &sdk.Call{Result: sdk.ResultOptions{SQLHeaders: true}, Statements: []sdk.Statement{
			sqlText("with a as (select set_config('response.headers', $1, true), set_config('response.status', $2, true)) select 'x' as v from a"+more, text(headers), text(status)),
		}}
	}
	a := mustCall(t, db, set(`[{"Cache-Control":"no-store"},{"Set-Cookie":"a=1"},{"Set-Cookie":"b=2"}]`, "418", ""))[0]
	if diff := cmp.Diff([]sdk.Pair{{Name: "Cache-Control", Value: "no-store"}, {Name: "Set-Cookie", Value: "a=1"}, {Name: "Set-Cookie", Value: "b=2"}}, a.head.Headers); diff != "" || a.head.Status != 418 {
		t.Errorf("%+v %s", a.head, diff)
	}
	a = mustCall(t, db, set("", "", ""))[0]
	if a.head.Headers != nil || a.head.Status != 0 || a.body != `[{"v":"x"}]` {
		t.Errorf("%+v", a)
	}
	// A head that was due before is held back.
	long := mustCall(t, db, set("", "201", " , generate_series(1, 20000)"))[0]
	if long.head.Status != 201 || len(long.body) < 200_000 {
		t.Errorf("%d, %d bytes", long.head.Status, len(long.body))
	}
	for headers, reason := range map[string]string{
		"no json": "bad_response_headers", `{"a":"b"}`: "bad_response_headers", `[{"a":"b","c":"d"}]`: "bad_response_headers", `[{}]`: "bad_response_headers",
		`[{"a b":"c"}]`: "bad_response_headers", `[{"a":"b\r\nc: d"}]`: "bad_response_headers", `[{"a":1}]`: "bad_response_headers", `null`: "bad_response_headers",
	} {
		e := failsCall(t, db, set(headers, "", ""), sdk.Invalid, reason)
		if e.Source != sdk.FromDownstream || e.Executed != sdk.ExecutedNo {
			t.Errorf("%+v", e)
		}
	}
	for _, status := range []string{"x", "99", "600", "2e2", "-1"} {
		failsCall(t, db, set("", status, ""), sdk.Invalid, "bad_response_status")
	}
	// What was written is undone.
	undone := set("", "x", "")
	undone.Statements[0].SQL.Text = "with a as (delete from people returning id) select set_config('response.status', $2 || $1, true) from a"
	failsCall(t, db, undone, sdk.Invalid, "bad_response_status")
	if got := must(t, db, peopleCount).body; got != "3" {
		t.Error(got)
	}
	clean(t, db)
}

func TestEstimatedCounts(t *testing.T) {
	db := openTest(t, nil, "create table many (n int); insert into many select generate_series(1, 5000); create table few (n int); insert into few values (1), (2); analyze")
	limit := int64(1)
	for _, test := range []struct {
		table string
		mode  sdk.CountMode
		max   int64
		want  int64
	}{
		{"many", sdk.CountExact, 0, 5000}, {"many", sdk.CountPlanned, 0, 5000}, {"many", sdk.CountEstimated, 0, 5000}, {"many", sdk.CountEstimated, 10000, 5000},
		{"few", sdk.CountEstimated, 0, 2}, {"few", sdk.CountExact, 0, 2}, {"few", sdk.CountPlanned, 0, 2},
	} {
		o := sdk.ResultOptions{MaxRows: test.max, CapRows: test.max > 0}
		s := sdk.Statement{Verb: sdk.Select, Table: table(test.table), Count: test.mode, Limit: &limit}
		a := must(t, db, s, o)
		if a.head.Total == nil || *a.head.Total != test.want || *a.tail.Total != test.want || a.body != `[{"n":1}]` {
			t.Errorf("%+v: %v, %s", test, a.head.Total, a.body)
		}
		a = must(t, db, sdk.Statement{Verb: sdk.Count, Table: table(test.table), Count: test.mode}, o)
		if a.body != fmt.Sprint(test.want) || *a.tail.Total != test.want {
			t.Errorf("count %+v: %s", test, a.body)
		}
	}
	// An estimate beyond the bound comes from the plan; one within it is exact.
	must(t, db, sqlText("insert into few select generate_series(1, 500)"))
	if a := must(t, db, sdk.Statement{Verb: sdk.Count, Table: table("few"), Count: sdk.CountEstimated}); a.body != "502" {
		t.Error(a.body)
	}
}

func TestExplain(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, peopleSetup)
	explain := func(s sdk.Statement, format string, options ...string) sdk.Statement {
		s.Explain = &sdk.Explain{Format: format, Options: options}
		return s
	}
	people := sdk.Statement{Verb: sdk.Select, Table: table("people"), Filter: eq("name", "Ada"), Count: sdk.CountExact}
	for _, s := range []sdk.Statement{
		explain(people, "json"), explain(people, "json", "analyze", "verbose", "settings", "buffers", "wal"), explain(peopleCount, "json"),
		explain(deletePeople(nil), "json"), explain(deletePeople(nil), "json", "analyze"), explain(insertPerson("x"), "json", "analyze", "wal"),
		explain(sqlText("select * from people where id = $1", text("1")), "json"), explain(sqlText("delete from people where id = $1", text("1")), "json", "analyze"),
	} {
		a := must(t, db, s)
		var plans []struct {
			Plan struct {
				Node string `json:"Node Type"`
			}
			Time *float64 `json:"Execution Time"`
		}
		if err := json.Unmarshal([]byte(a.body), &plans); err != nil || len(plans) != 1 || plans[0].Plan.Node == "" || a.head.Shape != sdk.ShapeScalar {
			t.Errorf("%v: %s", err, a.body)
		} else if analyzed := plans[0].Time != nil; analyzed != (len(s.Explain.Options) > 0) {
			t.Errorf("%s", a.body)
		}
	}
	var lines string
	if err := json.Unmarshal([]byte(must(t, db, explain(people, "text")).body), &lines); err != nil || !strings.Contains(lines, "people") || !strings.Contains(lines, "\n") {
		t.Errorf("%v, %q", err, lines)
	}
	// The explained statement alone is undone.
	answers := mustCall(t, db, &sdk.Call{Tx: sdk.Tx{Single: true}, Statements: []sdk.Statement{insertPerson("Alan"), explain(deletePeople(nil), "json", "analyze"), peopleCount}})
	if got := answers[2].body; got != "4" {
		t.Error(got)
	}
	if got := must(t, db, peopleCount).body; got != "4" {
		t.Error(got)
	}
	for _, s := range []sdk.Statement{explain(people, "yaml"), explain(people, "json", "costs"), explain(people, "", "analyze, verbose")} {
		fails(t, db, s, sdk.Invalid, "invalid_explain")
	}
	fails(t, db, explain(sqlText("select 1; select 2"), "json"), sdk.Invalid, "explain_of_several_statements")
	if e := fails(t, db, explain(sqlText("select nothing from people"), "json"), sdk.Invalid, "undefined_column"); e.Position != 8 {
		t.Errorf("%+v", e)
	}
	clean(t, db)
}

// TestTables: an answer says which tables it is made of and which it changed.
func TestTables(t *testing.T) {
	db := openTest(t, nil, peopleSetup, "create table simple (a int)")
	limit := int64(1)
	a := must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("simple"), Limit: &limit})
	if diff := cmp.Diff([]string{"public.simple"}, a.tail.TablesRead); diff != "" {
		t.Error(diff)
	}
	a = must(t, db, sdk.Statement{Verb: sdk.Insert, Table: table("simple"), Rows: sdk.Rowset{Payload: []byte(`{"a":1}`), Columns: []string{"a"}}})
	if diff := cmp.Diff([]string{"public.simple"}, a.tail.TablesWritten); diff != "" {
		t.Error(diff)
	}
	if a = must(t, db, sqlText("select 1")); len(a.tail.TablesWritten) != 1 || a.tail.TablesWritten[0] != "*" {
		t.Errorf("%+v", a.tail)
	}
}

// TestModel tries what is declared, through the whole plugin.
func TestModel(t *testing.T) {
	db := openTest(t, nil, `
		create table docs (id int primary key, doc jsonb, span int4range, words text, tags text[], at timestamptz, n numeric);
		insert into docs values (1, '{"a":{"b":[1,2]}}', '[1,5)', 'the quick brown fox', '{x,y}', '2024-01-01 10:30+00', 1.5), (2, '{"a":{"b":[3]}}', '[5,9)', 'lazy dogs', '{y}', '2024-01-01 23:59+00', 2.25);
		create table parts (name text, doc int references docs); insert into parts values ('p', 1)`)
	id := sdk.Item{Column: sdk.Column{Name: "id"}}
	selected := func(items ...sdk.Item) sdk.Statement {
		return sdk.Statement{Verb: sdk.Select, Table: table("docs"), Selection: sdk.Selection{Items: items}, Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}}
	}
	where := func(column string, o sdk.Operator, value string) sdk.Statement {
		s := selected(id)
		s.Filter = &sdk.Filter{Operator: o, Column: sdk.Column{Name: column}, Values: []sdk.Value{{Text: value}}}
		return s
	}
	grouped := func(items ...sdk.Item) sdk.Statement {
		s := selected(items...)
		s.Order = nil
		return s
	}
	csv := sdk.Statement{
		Verb: sdk.Insert, Table: table("docs"), Returning: sdk.ReturnSelection, Selection: sdk.Selection{Items: []sdk.Item{id, {Column: sdk.Column{Name: "words"}}}},
		Rows: sdk.Rowset{Format: sdk.RowsCSV, Payload: []byte("id,words\n3,\"a, b\"\n4,NULL\n")},
	}
	for name, test := range map[string]struct {
		s    sdk.Statement
		o    sdk.ResultOptions
		want string
	}{
		"path":     {selected(sdk.Item{Column: sdk.Column{Name: "doc", Path: []sdk.PathStep{{Key: "a"}, {Key: "b"}, {Index: 0, IsIndex: true, Text: true}}}, Alias: "x"}), sdk.ResultOptions{}, `[{"x":"1"},{"x":"3"}]`},
		"overlap":  {where("tags", sdk.Overlaps, "{x,z}"), sdk.ResultOptions{}, `[{"id":1}]`},
		"left":     {where("span", sdk.StrictLeft, "[5,6)"), sdk.ResultOptions{}, `[{"id":1}]`},
		"right":    {where("span", sdk.StrictRght, "[1,5)"), sdk.ResultOptions{}, `[{"id":2}]`},
		"nxr":      {where("span", sdk.NotRight, "[1,5)"), sdk.ResultOptions{}, `[{"id":1}]`},
		"nxl":      {where("span", sdk.NotLeft, "[5,6)"), sdk.ResultOptions{}, `[{"id":2}]`},
		"adjacent": {where("span", sdk.Adjacent, "[9,10)"), sdk.ResultOptions{}, `[{"id":2}]`},
		"fts":      {where("words", sdk.FTS, "fox & quick"), sdk.ResultOptions{}, `[{"id":1}]`},
		"plfts":    {where("words", sdk.PlainFTS, "dog"), sdk.ResultOptions{}, `[{"id":2}]`},
		"phfts":    {where("words", sdk.PhraseFTS, "quick brown"), sdk.ResultOptions{}, `[{"id":1}]`},
		"wfts":     {where("words", sdk.WebFTS, "fox or dog"), sdk.ResultOptions{}, `[{"id":1},{"id":2}]`},
		"sum":      {grouped(sdk.Item{Column: sdk.Column{Name: "n"}, Aggregate: "sum"}, sdk.Item{Aggregate: "count"}), sdk.ResultOptions{}, `[{"sum":3.75,"count":2}]`},
		"bucket": {sdk.Statement{Verb: sdk.Select, Table: table("docs"), Selection: sdk.Selection{
			Items: []sdk.Item{{Aggregate: "count"}}, Bucket: &sdk.Bucket{Column: sdk.Column{Name: "at"}, Granularity: "day"}}}, sdk.ResultOptions{}, `[{"at":"2024-01-01T00:00:00+00:00","count":2}]`},
		"related": {selected(id, sdk.Item{Kind: sdk.ItemRelation, Relation: &sdk.Relation{Target: "parts", Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "name"}}}}}}), sdk.ResultOptions{},
			`[{"id":1,"parts":[{"name":"p"}]},{"id":2,"parts":[]}]`},
		"raw": {selected(sdk.Item{Column: sdk.Column{Name: "words"}}), sdk.ResultOptions{Format: sdk.FormatRaw}, "the quick brown foxlazy dogs"},
		"csv": {csv, sdk.ResultOptions{}, `[{"id":3,"words":"a, b"},{"id":4,"words":null}]`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, session := range []sdk.Session{{}, {TimeZone: "UTC"}} {
				call := &sdk.Call{Statements: []sdk.Statement{test.s}, Result: test.o, Session: session, Tx: sdk.Tx{Rollback: true}}
				if got := mustCall(t, db, call)[0].body; got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
		})
	}
}
