package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

const thingsSQL = `CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'nameless', qty BIGINT, price NUMERIC, ratio REAL,
	done BOOLEAN DEFAULT 0, born DATE, seen TIMESTAMP, doc JSON, ref UUID, raw BLOB, any)`

var things = sdk.Table{Name: "things"}

// TestTypes inserts values and reads them back, by a built select and by SQL.
func TestTypes(t *testing.T) {
	c := openClient(t, map[string]any{}, thingsSQL)
	for column, values := range map[string][][2]string{
		"qty":   {{"9223372036854775807", ""}, {"-9223372036854775808", ""}, {"9007199254740993", ""}, {`"12"`, "12"}, {"null", ""}},
		"price": {{"0.1", ""}, {"1e21", "1e+21"}, {"12.50", "12.5"}, {"3", ""}},
		"ratio": {{"0.1", ""}, {"1", "1"}, {"-2.5e-9", "-2.5e-09"}},
		"done":  {{"true", ""}, {"false", ""}, {"null", ""}},
		"born":  {{`"1815-12-10"`, ""}, {`"1815-12-10T00:00:00Z"`, ""}, {`"not a date"`, ""}},
		"seen":  {{`"2024-02-29 12:34:56"`, ""}, {`"2024-02-29T12:34:56.789+02:00"`, ""}, {`"2024-02-29"`, ""}},
		"doc":   {{`{"b":[1,null],"a":{"x":1.50}}`, ""}, {`[]`, ""}, {`"text"`, ""}, {`"5"`, ""}, {`7`, ""}, {`true`, ""}, {`null`, ""}},
		"name":  {{`"x"`, ""}, {`12345678901234567890.10`, `"12345678901234567890.10"`}, {`true`, `"true"`}, {`{"a":1}`, `"{\"a\":1}"`}, {`""`, ""}, {`"Zo\u00eb \n\u0001"`, `"Zoë \n\u0001"`}, {`"a\u0000b"`, ""}},
		"ref":   {{`"0B0E7F6A-3C9E-4A63-9D5E-3F1B0A3CDB11"`, ""}},
		"any":   {{`1`, ""}, {`"1"`, ""}, {`1.5`, ""}, {`{"a":[1]}`, `"{\"a\":[1]}"`}},
	} {
		for i, v := range values {
			want := v[1]
			if want == "" {
				want = v[0]
			}
			payload := `{"` + column + `":` + v[0] + `}`
			a := c.must(insert("things", payload, column))
			id := a.tail.Keys[0].Value
			if got := a.body; !strings.Contains(got, `"`+column+`":`+want) {
				t.Errorf("returned %s %s as %s", column, v[0], got)
			}
			row := `[{"` + column + `":` + want + `}]`
			c.want(sdk.Statement{Verb: sdk.Select, Table: things, Key: []sdk.Value{str(id)},
				Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: column}}}}}, row)
			c.want(sqlText(`SELECT `+column+` FROM things WHERE id = $1;`, num(id)), row)
			if i == 0 {
				c.must(sdk.Statement{Verb: sdk.Update, Table: things, SetObject: []byte(payload), Key: []sdk.Value{str(id)}})
				c.want(sqlText(`SELECT `+column+` FROM things WHERE id = ?`, num(id)), row)
			}
		}
	}
	c.want(sqlText(`SELECT x'00ff' AS b, 1.0 AS r, NULL AS n, CAST(x'ff41' AS TEXT) AS t`), `[{"b":"\\x00ff","r":1,"n":null,"t":"`+"\uFFFD"+`A"}]`)
}

func TestSetItems(t *testing.T) {
	c := openClient(t, map[string]any{}, thingsSQL, `INSERT INTO things(id) VALUES (1), (2)`)
	a := c.must(sdk.Statement{Verb: sdk.Update, Table: things, Key: []sdk.Value{num("1")}, Returning: sdk.ReturnSelection,
		Set: []sdk.SetItem{{Column: "qty", Value: num("9007199254740993")}, {Column: "price", Value: num("1.10")}, {Column: "name", Value: num("1.10")},
			{Column: "done", Value: sdk.Value{Hint: sdk.Bool, Text: "true"}}, {Column: "doc", Value: str("text")}, {Column: "born", Value: sdk.Value{Hint: sdk.Null}}}})
	want := `[{"id":1,"name":"1.10","qty":9007199254740993,"price":1.1,"ratio":null,"done":true,"born":null,"seen":null,"doc":"text","ref":null,"raw":null,"any":null}]`
	if a.body != want {
		t.Errorf("got %s\nwant %s", a.body, want)
	}
	if diff := cmp.Diff([]sdk.KeyColumn{{Name: "id", Value: "1"}}, a.tail.Keys); diff != "" || *a.tail.Affected != 1 {
		t.Errorf("keys %s, affected %d", diff, *a.tail.Affected)
	}
	if diff := cmp.Diff([]string{"main.things"}, a.tail.TablesWritten); diff != "" {
		t.Error(diff)
	}
}

func TestInsertDefaults(t *testing.T) {
	c := openClient(t, map[string]any{}, thingsSQL)
	ids := func(s sdk.Statement) sdk.Statement {
		s.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "id"}}, {Column: sdk.Column{Name: "name"}}, {Column: sdk.Column{Name: "done"}}}
		return s
	}
	c.want(ids(insert("things", `{}`)), `[{"id":1,"name":"nameless","done":false}]`)
	c.want(ids(insert("things", `[]`)), `[]`)
	c.want(ids(insert("things", `[{"name":"a"},{"done":true},{"done":null}]`, "name", "done")),
		`[{"id":2,"name":"a","done":false},{"id":3,"name":"nameless","done":true},{"id":4,"name":"nameless","done":null}]`)
	s := insert("things", `[{"name":"a"},{"done":true}]`, "name", "done")
	s.Rows.MissingDefault = false
	c.fails(s, sdk.Conflict, "not_null_violation")
	c.want(sqlText("SELECT count(*) AS n FROM things"), `[{"n":4}]`)
	a := c.must(insert("things", `[{"id":10,"name":"x"},{"id":11,"name":"y"}]`, "id", "name"))
	if *a.tail.Affected != 2 || len(a.tail.Keys) != 0 {
		t.Errorf("got %+v", a.tail)
	}
}

func TestUpsert(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE kv (k TEXT PRIMARY KEY, v, n INT DEFAULT 1)`, `INSERT INTO kv VALUES ('a', 1, 1)`)
	upsert := func(conflict sdk.OnConflict) sdk.Statement {
		s := insert("kv", `[{"k":"a","v":"new"},{"k":"b","v":true}]`, "k", "v")
		s.Conflict = &conflict
		return s
	}
	told := func(a answer, affected, inserted int64) {
		t.Helper()
		if a.tail.Affected == nil || *a.tail.Affected != affected || a.tail.Inserted == nil || *a.tail.Inserted != inserted {
			t.Errorf("got %+v, want %d affected and %d inserted", a.tail, affected, inserted)
		}
	}
	told(c.want(upsert(sdk.OnConflict{Update: true}), `[{"k":"a","v":"new","n":1},{"k":"b","v":1,"n":1}]`), 2, 1)
	told(c.want(upsert(sdk.OnConflict{}), `[]`), 0, 0)
	c.want(upsert(sdk.OnConflict{Columns: []string{"k"}, Update: true, Set: []sdk.SetItem{{Column: "n", Value: num("5")}}, SetObject: []byte(`{"v":"set"}`)}),
		`[{"k":"a","v":"set","n":5},{"k":"b","v":"set","n":5}]`)
	s := insert("kv", `{"k":"a"}`, "k")
	s.Conflict = &sdk.OnConflict{Update: true}
	c.want(s, `[{"k":"a","v":"set","n":5}]`)
	s.Conflict = &sdk.OnConflict{Columns: []string{"n"}, Update: true}
	c.fails(s, sdk.Invalid, "sqlite_error")
	// Rows that a trigger inserts, in this table or another, are none of the statement's.
	c.must(sqlText(`CREATE TABLE log (k); CREATE TRIGGER more AFTER INSERT ON kv WHEN new.k = 'c' BEGIN INSERT INTO log VALUES (new.k); INSERT INTO kv(k) VALUES ('d'); END`))
	s = insert("kv", `[{"k":"a"},{"k":"c"}]`, "k")
	s.Conflict = &sdk.OnConflict{}
	told(c.want(s, `[{"k":"c","v":null,"n":1}]`), 1, 1)
	s.Returning, s.Conflict.Update = sdk.ReturnNone, true
	told(c.must(s), 2, 0)
	if a := c.must(insert("kv", `{"k":"e"}`, "k")); a.tail.Inserted != nil {
		t.Errorf("a plain insert tells %d inserted", *a.tail.Inserted)
	}
	c.must(sqlText(`CREATE TABLE bare (k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO bare VALUES ('a', 1)`))
	s = insert("bare", `[{"k":"a","v":2},{"k":"b","v":3}]`, "k", "v")
	s.Conflict = &sdk.OnConflict{Update: true}
	told(c.want(s, `[{"k":"a","v":2},{"k":"b","v":3}]`), 2, 1)
}

func TestLimitedWrites(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE p (a INT, b INT, v TEXT, PRIMARY KEY (a, b))`,
		`INSERT INTO p VALUES (1, 1, 'x'), (1, 2, 'x'), (2, 1, 'x'), (2, 2, 'y')`, `CREATE TABLE heap (v)`)
	one, p := int64(1), sdk.Table{Name: "p"}
	s := sdk.Statement{Verb: sdk.Update, Table: p, SetObject: []byte(`{"v":"z"}`), Filter: where("v", sdk.Eq, str("x")), Limit: &one, Offset: &one,
		Order: []sdk.Order{{Column: sdk.Column{Name: "a"}, Descending: true}, {Column: sdk.Column{Name: "b"}, Descending: true}}, Returning: sdk.ReturnKeys}
	c.want(s, `[{"a":1,"b":2}]`)
	s = sdk.Statement{Verb: sdk.Delete, Table: p, AllowAll: true, Limit: &one, Returning: sdk.ReturnSelection, Order: []sdk.Order{{Column: sdk.Column{Name: "b"}}, {Column: sdk.Column{Name: "a"}}}}
	c.want(s, `[{"a":1,"b":1,"v":"x"}]`)
	s.Table.Name = "heap"
	s.Order = nil
	c.fails(s, sdk.Invalid, "no_primary_key")
	c.want(sdk.Statement{Verb: sdk.Delete, Table: p, Key: []sdk.Value{num("2"), str("1")}, Returning: sdk.ReturnKeys}, `[{"a":2,"b":1}]`)
	c.want(sdk.Statement{Verb: sdk.Count, Table: p}, `2`)
}

func TestTotals(t *testing.T) {
	c := openClient(t, map[string]any{"sample": true, "path": t.TempDir() + "/s.db"})
	two := int64(2)
	a := c.want(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "Moons"}, Limit: &two, Count: sdk.CountExact, Filter: where("planet_id", sdk.In, num("5"), str("6")),
		Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "name"}}}}, Order: []sdk.Order{{Column: sdk.Column{Name: "NAME"}}}},
		`[{"name":"Callisto"},{"name":"Enceladus"}]`)
	if *a.tail.Total != 9 || *a.head.Total != 9 {
		t.Errorf("totals %d and %d, want 9", *a.head.Total, *a.tail.Total)
	}
	if diff := cmp.Diff([]string{"main.moons"}, a.tail.TablesRead); diff != "" {
		t.Error(diff)
	}
	if a := c.must(sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Name: "worlds"}}); *a.tail.Total != 28 || a.tail.TablesRead[0] != "*" {
		t.Errorf("a view: got %+v", a.tail)
	}
}

func TestReachOfWrites(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE a (id INTEGER PRIMARY KEY)`, `CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a ON DELETE CASCADE)`,
		`CREATE TABLE log (id INTEGER PRIMARY KEY, b)`, `CREATE TRIGGER t AFTER INSERT ON b BEGIN INSERT INTO log(b) VALUES (new.id); SELECT 1; END`)
	for table, want := range map[string]string{"a": "*", "b": "*", "log": "main.log"} {
		if a := c.must(insert(table, `{"id":9}`, "id")); a.tail.TablesWritten[0] != want {
			t.Errorf("%s: %v, want %s", table, a.tail.TablesWritten, want)
		}
	}
}

func TestTransactions(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE p (id INTEGER PRIMARY KEY)`,
		`CREATE TABLE q (id INTEGER PRIMARY KEY, p INT REFERENCES p DEFERRABLE INITIALLY DEFERRED)`)
	count := func() string {
		return c.must(sqlText("SELECT (SELECT count(*) FROM p) + (SELECT count(*) FROM q) AS n")).body
	}
	run := func(call sdk.Call) error {
		_, err := c.call(context.Background(), &call)
		return err
	}
	// The child comes first: the deferred key is checked at the end.
	good := []sdk.Statement{insert("q", `{"id":1,"p":1}`, "id", "p"), insert("p", `{"id":1}`, "id")}
	if err := run(sdk.Call{Statements: good, Tx: sdk.Tx{Single: true}}); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != `[{"n":2}]` {
		t.Errorf("after commit: %s", got)
	}
	bad := []sdk.Statement{insert("p", `{"id":2}`, "id"), insert("q", `{"id":2,"p":99}`, "id", "p")}
	e := sdk.AsError(run(sdk.Call{Statements: bad, Tx: sdk.Tx{Single: true}}))
	if e == nil || e.Reason != "foreign_key_violation" || e.Executed != sdk.ExecutedNo {
		t.Errorf("a broken deferred key: %v", e)
	}
	if got := count(); got != `[{"n":2}]` {
		t.Errorf("after a failed commit: %s", got)
	}
	e = sdk.AsError(run(sdk.Call{Statements: bad}))
	if e == nil || e.Reason != "foreign_key_violation" || e.Executed != sdk.ExecutedYes || e.Statement != 1 {
		t.Errorf("without a common transaction: %+v", e)
	}
	if got := count(); got != `[{"n":3}]` {
		t.Errorf("after one of two: %s", got)
	}
	most := int64(1)
	e = sdk.AsError(run(sdk.Call{Statements: []sdk.Statement{{Verb: sdk.Delete, Table: sdk.Table{Name: "q"}, AllowAll: true}}, Expect: sdk.Expect{MaxAffected: &most, ExactlyOne: true}}))
	if e != nil {
		t.Errorf("one row, as expected: %v", e)
	}
	e = sdk.AsError(run(sdk.Call{Statements: []sdk.Statement{{Verb: sdk.Delete, Table: sdk.Table{Name: "p"}, AllowAll: true}}, Expect: sdk.Expect{ExactlyOne: true}}))
	if e == nil || e.Reason != "not_exactly_one" || count() != `[{"n":2}]` {
		t.Errorf("two rows where one is expected: %v, then %s", e, count())
	}
	e = sdk.AsError(run(sdk.Call{Statements: []sdk.Statement{insert("p", `{"id":7}`, "id")}, Tx: sdk.Tx{ReadOnly: true}}))
	if e == nil || e.Kind != sdk.Forbidden {
		t.Errorf("a write in a read-only transaction: %v", e)
	}
	if err := run(sdk.Call{Statements: []sdk.Statement{insert("p", `{"id":7}`, "id"), sqlText("DELETE FROM q")}, Tx: sdk.Tx{Single: true, Rollback: true}}); err != nil || count() != `[{"n":2}]` {
		t.Errorf("a rollback: %v, then %s", err, count())
	}
	broken := sdk.Call{Statements: []sdk.Statement{insert("q", `{"id":8,"p":99}`, "id", "p")}, Tx: sdk.Tx{Single: true, Rollback: true}}
	if e := sdk.AsError(run(broken)); e == nil || e.Reason != "foreign_key_violation" || e.Executed != sdk.ExecutedNo {
		t.Errorf("a rollback that could not be committed: %v", e)
	}
	broken.Statements = append(broken.Statements, insert("p", `{"id":99}`, "id"))
	if err := run(broken); err != nil || count() != `[{"n":2}]` {
		t.Errorf("the same with the row that was missing: %v, then %s", err, count())
	}
}

func TestHeldTooLong(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT)`)
	var payload strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&payload, `,{"v":"%0200d"}`, i)
	}
	call := &sdk.Call{Statements: []sdk.Statement{insert("p", "["+payload.String()[1:]+"]", "v")}, Result: sdk.ResultOptions{MaxBytes: 100_000}}
	_, err := c.call(context.Background(), call)
	if e := sdk.AsError(err); e == nil || e.Reason != "returned_rows_too_large" {
		t.Errorf("got %v", err)
	}
	c.want(sdk.Statement{Verb: sdk.Count, Table: sdk.Table{Name: "p"}}, "0")
}

// TestUntypedColumns holds that numbers meet numbers and texts texts in columns that no
// type makes one of both: of a view that computes them, or declared without any.
func TestUntypedColumns(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE p (id INTEGER PRIMARY KEY, g TEXT, any)`, `CREATE INDEX p_any ON p (any)`,
		`INSERT INTO p VALUES (1,'a',5),(2,'a','5'),(3,'b',10.0),(4,'c','10'),(5,'d','x'),(6,'e',NULL)`,
		`CREATE VIEW v AS SELECT g AS id, count(*) AS n, max(any) AS m FROM p GROUP BY g`)
	operators := []sdk.Operator{sdk.Eq, sdk.Neq, sdk.In, sdk.IsDistinct, sdk.Gt, sdk.Lte}
	null, digits := sdk.Value{Hint: sdk.Null}, regexp.MustCompile("[0-9]")
	for _, test := range []struct {
		value   sdk.Value
		compare sdk.Compare
		want    [6]string // ids, by operator
	}{
		{sdk.Value{Text: "5"}, sdk.Strict, [6]string{"12", "345", "12", "3456", "35", "124"}},
		{num("5"), sdk.Strict, [6]string{"12", "345", "12", "3456", "35", "124"}},
		{str("5"), sdk.Lenient, [6]string{"12", "345", "12", "3456", "35", "124"}},
		{num("5.0"), sdk.Lenient, [6]string{"1", "2345", "1", "23456", "35", "124"}}, // another text
		{str("x"), sdk.Strict, [6]string{"5", "1234", "5", "12346", "", "12345"}},
		{null, sdk.Strict, [6]string{"", "", "", "12345", "", ""}},
		{null, sdk.Lenient, [6]string{"6", "12345", "6", "12345", "", ""}},
	} {
		for i, op := range operators {
			s := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "p"}, Filter: where("any", op, test.value), Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}},
				Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "id"}}}}}
			s.Filter.Compare = test.compare
			if got := strings.Join(digits.FindAllString(c.must(s).body, -1), ""); got != test.want[i] {
				t.Errorf("%s %v, %v: the rows %s, want %s", op, test.value, test.compare, got, test.want[i])
			}
		}
	}
	for _, f := range []*sdk.Filter{where("n", sdk.Gt, sdk.Value{Text: "1"}), where("n", sdk.Eq, str("2")), where("n", sdk.In, sdk.Value{Text: "2"}, sdk.Value{Text: "x"})} {
		c.want(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "v"}, Filter: f}, `[{"id":"a","n":2,"m":"5"}]`)
	}
	plan := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "p"}, Filter: where("any", sdk.Eq, num("5")), Explain: &sdk.Explain{Format: "text"}}
	if a := c.must(plan); !strings.Contains(a.body, "p_any") {
		t.Errorf("the index is not used: %s", a.body)
	}
}

// TestNumbersOfText holds that a number for a SQL text is what SQLite reads it as.
func TestNumbersOfText(t *testing.T) {
	c := openClient(t, map[string]any{})
	for number, want := range map[string]string{"1.10": `[{"a":1,"t":"real"}]`, "2": `[{"a":1,"t":"integer"}]`, "2.50": `[{"a":0,"t":"real"}]`, "1e1": `[{"a":0,"t":"real"}]`,
		"-1e999": `[{"a":1,"t":"real"}]`, "9223372036854775807": `[{"a":0,"t":"integer"}]`, "92233720368547758070": `[{"a":0,"t":"real"}]`} {
		c.want(sqlText("SELECT 2.5 > $1 AS a, typeof($1) AS t", num(number)), want)
	}
}
