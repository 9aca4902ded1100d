package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

var exponent = regexp.MustCompile(`-?[0-9.]+e[+-][0-9]+`)

// TestNestedValues holds that rows of a relation show values as rows of the statement
// itself do.
func TestNestedValues(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE parent (id INTEGER PRIMARY KEY)`,
		`CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES parent, n BIGINT, r REAL, d NUMERIC, b BOOLEAN, on_day DATE, at TIMESTAMP,
			j JSON, u UUID, raw BLOB, t TEXT, any)`,
		`INSERT INTO parent VALUES (1)`)
	for _, values := range []string{
		`9223372036854775807, 1.0, 12.50, 1, '2024-02-29', '2024-02-29T12:34:56.789+02:00', '{"b":[1,null],"a":{"x":1.50}}', 'AB', x'00ff', 'Zoë "q" \', 'x'`,
		`-9007199254740993, 0.1 + 0.2, 1e21, 0, 'no day', 1709210096, '"text"', NULL, 'text', char(1, 10, 0, 65), x''`,
		`1.5, -2.5e-9, 'x', 2, 2460369.5, x'31', 'no JSON', x'ff', 5, 'x', 1e300`,
		`NULL, 9e999, -9e999, 'true', NULL, '', 'null', 1, 1.0, '', -0.5`,
		`x'01', x'02', x'03', x'04', x'05', x'06', x'07', x'08', x'09', x'0a', 123456789012345680.0`,
		`5e-324, 1.7976931348623157e308, 1e15, 1.0, '', 0.5, '7', '', '', CAST(x'ff41' AS TEXT), -12.0`,
	} {
		c.must(sqlText(`INSERT INTO child(parent, n, r, d, b, on_day, at, j, u, raw, t, any) VALUES (1, ` + values + `)`))
	}
	order := []sdk.Order{{Column: sdk.Column{Name: "id"}}}
	rows := c.must(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "child"}, Order: order}).body
	nested := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "parent"}, Selection: sdk.Selection{Items: []sdk.Item{
		{Kind: sdk.ItemRelation, Relation: &sdk.Relation{Target: "child", Order: order}}}}}
	split := func(body string) []string { // with numbers as Go writes them
		body = exponent.ReplaceAllStringFunc(body, func(number string) string {
			f, err := strconv.ParseFloat(number, 64)
			if err != nil {
				t.Error(err)
			}
			return strconv.FormatFloat(f, 'g', -1, 64)
		})
		return strings.Split(strings.ReplaceAll(body, `,"`, "\n\""), "\n")
	}
	got := strings.TrimSuffix(strings.TrimPrefix(c.must(nested).body, `[{"child":`), `}]`)
	if diff := cmp.Diff(split(rows), split(got)); diff != "" {
		t.Errorf("nested rows differ: %s", diff)
	}
	// The same through a relation within a relation, and in what a write returns.
	deep := sdk.Relation{Target: "parent", Selection: nested.Selection}
	one := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "child"}, Key: []sdk.Value{num("1")},
		Selection: sdk.Selection{Items: []sdk.Item{{Kind: sdk.ItemRelation, Relation: &deep}}}}
	want := `[{"parent":{"child":` + rows + `}}]`
	if diff := cmp.Diff(split(want), split(c.must(one).body)); diff != "" {
		t.Errorf("rows nested twice differ: %s", diff)
	}
	one.Verb, one.Returning, one.Set = sdk.Update, sdk.ReturnSelection, []sdk.SetItem{{Column: "u", Value: str("AB")}}
	a := c.must(one)
	if diff := cmp.Diff(split(want), split(a.body)); diff != "" {
		t.Errorf("a written row's differ: %s", diff)
	}
	if diff := cmp.Diff([]string{"main.parent", "main.child"}, a.tail.TablesRead); diff != "" {
		t.Errorf("read: %s", diff)
	}
}

func TestExpectedKey(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (a INT, b TEXT, v, PRIMARY KEY (a, b))`, `CREATE TABLE heap (v)`,
		`INSERT INTO t VALUES (1, 'x', 'old')`)
	put := func(payload string, returning sdk.Returning, items ...sdk.Item) sdk.Statement {
		return sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: "T"}, Rows: sdk.Rowset{Payload: []byte(payload), Columns: []string{"a", "b", "v"}},
			Conflict: &sdk.OnConflict{Update: true}, Returning: returning, Selection: sdk.Selection{Items: items}}
	}
	run := func(s sdk.Statement, key ...sdk.Value) (answer, error) {
		answers, err := c.call(t.Context(), &sdk.Call{Statements: []sdk.Statement{s}, Expect: sdk.Expect{ExactlyOne: true, KeyEquals: key}})
		if err != nil {
			return answer{}, err
		}
		return answers[0], nil
	}
	v := sdk.Item{Column: sdk.Column{Name: "v"}, Alias: "a"}
	for _, k := range []struct {
		returning sdk.Returning
		items     []sdk.Item
		body      string
	}{
		{sdk.ReturnNone, nil, `[]`},
		{sdk.ReturnKeys, nil, `[{"a":1,"b":"x"}]`},
		{sdk.ReturnSelection, nil, `[{"a":1,"b":"x","v":"new"}]`},
		{sdk.ReturnSelection, []sdk.Item{v}, `[{"a":"new"}]`},
	} {
		for _, key := range [][]sdk.Value{{num("1"), str("x")}, {{Text: "01"}, {Text: "x"}}} {
			a, err := run(put(`{"a":1,"b":"x","v":"new"}`, k.returning, k.items...), key...)
			if err != nil || a.body != k.body {
				t.Errorf("returning %d %v: %s, %v, want %s", k.returning, key, a.body, err, k.body)
				continue
			}
			if diff := cmp.Diff([]sdk.KeyColumn{{Name: "a", Value: "1"}, {Name: "b", Value: "x"}}, a.tail.Keys); diff != "" {
				t.Errorf("returning %d: keys %s", k.returning, diff)
			}
		}
		_, err := run(put(`{"a":1,"b":"x","v":"bad"}`, k.returning, k.items...), num("1"), str("X"))
		if e := sdk.AsError(err); e == nil || e.Reason != "key_mismatch" || e.Executed != sdk.ExecutedNo {
			t.Errorf("another key: %v", err)
		}
	}
	c.want(sqlText(`SELECT v FROM t`), `[{"v":"new"}]`)
	if _, err := run(put(`{"a":1,"b":"x"}`, sdk.ReturnNone), num("1")); sdk.AsError(err).Reason != "no_primary_key" {
		t.Errorf("half a key: %v", err)
	}
	c.must(sqlText(`CREATE TABLE files (hash BLOB PRIMARY KEY, v); INSERT INTO files VALUES (x'00ff', 1)`))
	set := sdk.Statement{Verb: sdk.Update, Table: sdk.Table{Name: "files"}, AllowAll: true, Set: []sdk.SetItem{{Column: "v", Value: num("2")}}}
	a, err := run(set, sdk.Value{Hint: sdk.Bytes, Text: "\x00\xff"})
	if err != nil || len(a.tail.Keys) != 1 || a.tail.Keys[0].Value != `\x00ff` {
		t.Errorf("a key of bytes: %v, %v", a.tail, err)
	}
	set.Set[0] = sdk.SetItem{Column: "hash", Value: sdk.Value{Hint: sdk.Null}}
	set.Returning = sdk.ReturnKeys
	if a := c.must(set); !slices.Equal(a.tail.Keys, []sdk.KeyColumn{{Name: "hash", Null: true}}) {
		t.Errorf("a key that is null: %v", a.tail.Keys)
	}
	// A column that has the key's name in the answer is not taken for it.
	s := put(`{"a":2,"b":"y","v":"z"}`, sdk.ReturnSelection, v, sdk.Item{Column: sdk.Column{Name: "b"}})
	if a := c.must(s); a.tail.Keys != nil {
		t.Errorf("keys %v", a.tail.Keys)
	}
}

// TestExactlyOne holds that rows that are not shown are counted.
func TestExactlyOne(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`, `INSERT INTO t VALUES (1), (2), (3)`)
	two := int64(2)
	for _, s := range []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: "t"}}, sqlText(`SELECT * FROM t`),
		{Verb: sdk.Update, Table: sdk.Table{Name: "t"}, AllowAll: true, Set: []sdk.SetItem{{Column: "id", Value: num("9")}}, Returning: sdk.ReturnSelection, Filter: where("id", sdk.Gt, num("9"))}} {
		for _, result := range []sdk.ResultOptions{{}, {Format: sdk.FormatObject}, {MaxRows: 1, CapRows: true}} {
			for _, expect := range []sdk.Expect{{ExactlyOne: true}, {MaxAffected: &two}} {
				_, err := c.call(t.Context(), &sdk.Call{Statements: []sdk.Statement{s}, Result: result, Expect: expect})
				want := "not_exactly_one"
				switch {
				case expect.MaxAffected != nil && result.Format == sdk.FormatObject:
					want = "more_than_one_row"
				case expect.MaxAffected != nil:
					want = "max_affected_exceeded"
				}
				if s.Verb == sdk.Update { // no rows
					if e := sdk.AsError(err); expect.ExactlyOne && (e == nil || string(e.Details) != `{"rows":0}`) || !expect.ExactlyOne && err != nil {
						t.Errorf("no rows: %v", err)
					}
					continue
				}
				if e := sdk.AsError(err); e == nil || e.Reason != want {
					t.Errorf("%s %+v %+v: %v, want %s", s.Verb, result, expect, err, want)
				}
			}
		}
	}
}

func TestExplain(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY, v REFERENCES t)`, `INSERT INTO t VALUES (1, NULL)`)
	explained := func(s sdk.Statement, format string, options ...string) sdk.Statement {
		s.Explain = &sdk.Explain{Format: format, Options: options}
		return s
	}
	all := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "t"}, Count: sdk.CountExact}
	wipe := sdk.Statement{Verb: sdk.Delete, Table: sdk.Table{Name: "t"}, AllowAll: true, Returning: sdk.ReturnSelection}
	c.want(explained(all, ""), `"SCAN main.t"`)
	c.want(explained(all, "json"), `[{"id":2,"parent":0,"detail":"SCAN main.t"}]`)
	plan := c.must(explained(wipe, "text")).body
	c.want(explained(sqlText(`SELECT * FROM t WHERE id = ?`, num("1")), ""), `"SEARCH t USING INTEGER PRIMARY KEY (rowid=?)"`)
	c.want(explained(sqlText(`SELECT 1 UNION SELECT v FROM t`), "text"), `"MERGE (UNION)\n  LEFT\n    SCAN CONSTANT ROW\n  RIGHT\n    SCAN t\n    USE TEMP B-TREE FOR ORDER BY"`)
	c.want(all, `[{"id":1,"v":null}]`)
	c.fails(explained(all, "xml"), sdk.Invalid, "invalid_explain")
	c.fails(explained(all, "text", "analyze"), sdk.Unsupported, "unsupported_explain_options")
	c.fails(explained(sqlText(`SELECT 1; DELETE FROM t`), ""), sdk.Invalid, "explain_of_several_statements")
	c.fails(explained(sqlText(`EXPLAIN SELECT 1`), ""), sdk.Invalid, "syntax_error")
	c.fails(explained(sqlText(`ATTACH 'x' AS y; SELECT 1`), ""), sdk.Invalid, "explain_of_several_statements")
	readOnly := openClient(t, map[string]any{"path": c.path, "read_only": true})
	readOnly.want(explained(wipe, "text"), plan)
	readOnly.must(explained(sqlText(`DELETE FROM t`), "text"))
}

func TestFormats(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY, j JSON, raw BLOB, t TEXT)`,
		`INSERT INTO t VALUES (1, '"a"', x'00ff', 'x'), (2, '{"a": 1}', NULL, ''), (3, 'null', x'', NULL), (4, NULL, 'text', 'null')`)
	columns := func(names ...string) sdk.Statement {
		s := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "t"}, Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}}
		for _, name := range names {
			s.Selection.Items = append(s.Selection.Items, sdk.Item{Column: sdk.Column{Name: name}})
		}
		return s
	}
	imported := sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: "t"}, Returning: sdk.ReturnSelection, Rows: sdk.Rowset{Format: sdk.RowsCSV,
		Payload: []byte("id,t,j\n5,\"a,b\",[1]\n6,NULL,\"{\"\"k\"\":2}\"\n")}}
	for _, k := range []struct {
		statement sdk.Statement
		result    sdk.ResultOptions
		body      string
	}{
		{columns("j", "raw", "t"), sdk.ResultOptions{Format: sdk.FormatCSV}, "j,raw,t\n\"\"\"a\"\"\",\\x00ff,x\n\"{\"\"a\"\": 1}\",,\"\"\nnull,\\x,\n,text,null\n"},
		{columns("raw"), sdk.ResultOptions{Format: sdk.FormatRaw, MediaType: "application/octet-stream"}, "\x00fftext"},
		{columns("j", "id"), sdk.ResultOptions{StripNulls: true}, `[{"j":"a","id":1},{"j":{"a": 1},"id":2},{"id":3},{"id":4}]`},
		{imported, sdk.ResultOptions{Format: sdk.FormatCSV}, "id,j,raw,t\n5,[1],,\"a,b\"\n6,\"{\"\"k\"\":2}\",,\n"},
	} {
		answers, err := c.call(t.Context(), &sdk.Call{Statements: []sdk.Statement{k.statement}, Result: k.result})
		body := ""
		if err == nil {
			body = strings.ReplaceAll(answers[0].body, "\xff", "ff")
		}
		if err != nil || body != k.body {
			t.Errorf("got %q, %v\nwant %q", body, err, k.body)
		}
	}
}
