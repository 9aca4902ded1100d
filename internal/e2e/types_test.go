//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
)

const typedPostgres = `CREATE TABLE typed (id bigint PRIMARY KEY, small smallint, amount numeric, ratio double precision, flag boolean,
	at timestamptz, local timestamp, day date, doc jsonb, plain json, tags text[], grid integer[][], key uuid, raw bytea, words text, span interval)`

// typedRow is written and must come back as it is, to the last digit.
const typedRow = `{"id":9223372036854775807,"small":-32768,"amount":1234567890123456789012345678901234567.890,"ratio":0.1,"flag":true,` +
	`"at":"2024-02-29T23:59:59.123456+00:00","local":"1999-12-31T00:00:00","day":"0001-01-01","doc":{"a": [1, 2.50, null, {"b": "ü"}]},` +
	`"plain":{"kept" : 1.0},"tags":["a","b,c","\"d\"",null,""],"grid":[[1,2],[3,4]],"key":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",` +
	`"raw":"\\x00ff10","words":"日本語 \u0001 \\ \" \n 🚀 </script>","span":"1 year 2 mons 3 days 04:05:06"}`

// TestTypedValues sends values of many types through insert, update, fetch and SQL.
func TestTypedValues(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, typedPostgres)
	db := openPostgres(t, uri)
	db.text(t, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''UTC''', current_database()); END $$")
	db.text(t, "SET timezone = 'UTC'")
	g := start(t, fmt.Sprintf("clients: {pg: {backend: postgres, config: {uri: %q}}}", uri))

	want := parse(t, []byte(typedRow))
	same := func(what string, row any) {
		t.Helper()
		if diff := cmp.Diff(want, row); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	inserted := g.ask(t, request{method: "PUT", path: "/gateway/insert", client: "pg",
		body: `{"table_name": "typed", "insert_body": ` + typedRow + `}`})
	if inserted.status != 200 {
		t.Fatalf("answered %d: %s", inserted.status, inserted.body)
	}
	same("insert", inserted.value(t, "data"))

	fetch := request{method: "POST", path: "/gateway/fetch", client: "pg", body: `{"table_name": "typed"}`}
	fetched := g.ask(t, fetch)
	same("fetch", fetched.value(t, "data").([]any)[0])
	same("query", g.query(t, "pg", "SELECT * FROM typed").value(t, "data").([]any)[0])
	// Byte for byte what PostgreSQL itself makes of the row.
	if json := db.text(t, "SELECT to_json(typed) FROM typed"); !bytes.Contains(fetched.body, []byte(json)) {
		t.Errorf("to_json gives\n%s\nthe gateway\n%s", json, fetched.body)
	}

	var nulls []string
	for name := range want.(map[string]any) {
		if name != "id" {
			nulls = append(nulls, fmt.Sprintf("%q: null", name))
		}
	}
	g.ask(t, request{method: "POST", path: "/gateway/update", client: "pg",
		body: `{"table_name": "typed", "update_body": {` + strings.Join(nulls, ",") + `}, "conditions": [{"operator": "eq", "column": "id", "value": 9223372036854775807}]}`}).
		is(t, 200, `{"affected_rows": 1}`)
	if n := db.text(t, "SELECT num_nulls(small, amount, ratio, flag, at, local, day, doc, plain, tags, grid, key, raw, words, span) FROM typed"); n != "15" {
		t.Errorf("%s nulls after the update", n)
	}
	others := strings.TrimPrefix(typedRow, `{"id":9223372036854775807,`)
	updated := g.ask(t, request{method: "PATCH", path: "/gateway/update", client: "pg",
		body: `{"table_name": "typed", "columns": "*", "update_body": {` + others + `, "conditions": [{"operator": "eq", "column": "id", "value": "9223372036854775807"}]}`})
	if updated.status != 200 {
		t.Fatalf("answered %d: %s", updated.status, updated.body)
	}
	same("update", updated.value(t, "data").([]any)[0])

	// Each type can be searched for, exactly.
	for _, condition := range []string{
		`{"operator": "eq", "column": "id", "value": 9223372036854775807}`,
		`{"operator": "gt", "column": "id", "value": 9223372036854775806}`,
		`{"operator": "eq", "column": "amount", "value": 1234567890123456789012345678901234567.89}`,
		`{"operator": "eq", "column": "amount", "value": "1234567890123456789012345678901234567.890"}`,
		`{"operator": "eq", "column": "flag", "value": true}`,
		`{"operator": "eq", "column": "at", "value": "2024-03-01T00:59:59.123456+01:00"}`,
		`{"operator": "eq", "column": "key", "value": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}`,
		`{"operator": "contains", "column": "doc", "value": {"a": [2.5]}}`,
		`{"operator": "contains", "column": "tags", "value": ["b,c", "\"d\""]}`,
		`{"operator": "eq", "column": "words", "value": "日本語 \u0001 \\ \" \n 🚀 </script>"}`,
		`{"operator": "lt", "column": "day", "value": "0001-01-02"}`,
	} {
		found := g.ask(t, request{method: "POST", path: "/gateway/fetch", client: "pg",
			body: `{"table_name": "typed", "columns": "small", "conditions": [` + condition + `]}`})
		t.Run(condition, func(t *testing.T) { found.is(t, 200, `{"data": [{"small": -32768}]}`) })
	}
	g.ask(t, request{method: "POST", path: "/gateway/fetch", client: "pg",
		body: `{"table_name": "typed", "conditions": [{"operator": "eq", "column": "id", "value": 9223372036854775806}]}`}).is(t, 200, `{"data": []}`)
}
