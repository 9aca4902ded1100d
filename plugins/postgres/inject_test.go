package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

// FuzzInjection puts a name and a value wherever a statement takes one. On a real server
// neither may change the schema, the settings of the session, or another row than the one
// that was named.
func FuzzInjection(f *testing.F) {
	for _, s := range []string{"plain", `'; DROP TABLE people; --`, `"; DELETE FROM people; --`, `x" OR "1"="1`, "$1", "$2::text", `a"b`, "E'\\'", `\'; DROP TABLE people; --`, "$$; DROP TABLE people; $$", "U&\"\\0022\"",
		"/* */", "*/ DROP TABLE people; /*", `$."v"`, "_", "ctid", "oid", "\x00", "名 \\ \n", `{"a":1}`, `{a,"b"}`, "%", "\xff", "1e400", "9007199254740993", "NaN", "\ufeff", "COMMIT; --", "pg_sleep(0)", "people.name", "name->>'x'",
		"int); DROP TABLE people; --", "regclass", "text[]", "now()", "'||pg_read_file('PG_VERSION')||'", strings.Repeat("n", 64), strings.Repeat("é", 40)} {
		f.Add(s, s)
		f.Add("name", s)
	}
	db := openTest(f, map[string]any{"max_connections": 1}, peopleSetup, "CREATE TABLE notes (id int PRIMARY KEY, note text, document jsonb, list text[]); INSERT INTO notes VALUES (1, '', '{}', '{}')",
		"CREATE FUNCTION shout(what text, times int DEFAULT 1) RETURNS text LANGUAGE sql AS 'SELECT upper(what)'")
	const state = `SELECT (SELECT string_agg(c.relname || a.attname || a.atttypid, ',' ORDER BY c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace >= 2200) AS relations,
		(SELECT string_agg(proname || prosrc, ',' ORDER BY oid) FROM pg_proc WHERE oid >= 16384) AS functions,
		(SELECT string_agg(p::text, ',' ORDER BY id) FROM people p) AS people, (SELECT string_agg(n::text, ',' ORDER BY id) FROM notes n) AS notes,
		current_user || current_setting('search_path') || current_setting('transaction_read_only') || (SELECT string_agg(rolname, ',' ORDER BY oid) FROM pg_roles) AS session`
	f.Fuzz(func(t *testing.T, name, value string) {
		before := must(t, db, sqlText(state)).body
		v, people, column := text(value), table("people"), sdk.Column{Name: name}
		is := func(column string, operator sdk.Operator, values ...sdk.Value) sdk.Filter {
			return sdk.Filter{Column: sdk.Column{Name: column}, Operator: operator, Values: values, Compare: sdk.Lenient}
		}
		filter := &sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{is("name", sdk.Eq, v), is("id", sdk.In, v, v), is("name", sdk.Like, v), {Kind: sdk.FilterNot, Children: []sdk.Filter{is(name, sdk.ILike, v)}}}}
		nothing := is(name, sdk.Eq, text("no such value"))
		object, err := json.Marshal(map[string]string{name: value})
		if err != nil {
			t.Fatal(err)
		}
		id := sdk.Item{Column: sdk.Column{Name: "id"}, Alias: name}
		for _, s := range []sdk.Statement{
			{Verb: sdk.Select, Table: people, Filter: filter, Selection: sdk.Selection{Items: []sdk.Item{id}}, Order: []sdk.Order{{Column: column}}},
			{Verb: sdk.Select, Table: people, Selection: sdk.Selection{Items: []sdk.Item{id}}},
			{Verb: sdk.Select, Table: people, Selection: sdk.Selection{Items: []sdk.Item{{Column: column, Cast: value}}}},
			{Verb: sdk.Select, Table: sdk.Table{Name: name, Schema: value}},
			{Verb: sdk.Select, Table: sdk.Table{Name: name}, Filter: &nothing},
			{Verb: sdk.Count, Table: people, Key: []sdk.Value{v}},
			{Verb: sdk.Delete, Table: people, Filter: &nothing},
			{Verb: sdk.Insert, Table: people, Rows: sdk.Rowset{Payload: object, Columns: []string{name}}, Conflict: &sdk.OnConflict{Columns: []string{name}, Constraint: value}},
			{Verb: sdk.Update, Table: people, Key: []sdk.Value{{Hint: sdk.Number, Text: "-7"}}, SetObject: object},
			{Verb: sdk.Update, Table: people, Filter: &nothing, Set: []sdk.SetItem{{Column: name, Value: v}}},
			{Verb: sdk.Select, Table: people, Filter: &sdk.Filter{Column: sdk.Column{Name: "id"}, Operator: sdk.Eq, Values: []sdk.Value{v}, ColumnCast: name, ValueCast: value}},
			sqlText("SELECT $1::text AS a, $2::text AS b", text(name), v),
		} {
			_, err := execute(t.Context(), db, s)
			if e := sdk.AsError(err); e != nil && e.Kind == sdk.Internal {
				t.Errorf("%s: %v", s.Verb, err)
			}
		}
		for _, s := range []sdk.Statement{
			{Verb: sdk.Insert, Table: people, Rows: sdk.Rowset{Payload: object, Columns: []string{name}}, Returning: sdk.ReturnSelection, Selection: sdk.Selection{Items: []sdk.Item{id}}},
			{Verb: sdk.Insert, Table: table("notes"), Rows: sdk.Rowset{Payload: object, Columns: []string{name, "id"}, MissingDefault: true}},
			{Verb: sdk.Update, Table: people, Key: []sdk.Value{{Hint: sdk.Number, Text: "1"}}, SetObject: object, Filter: filter, Returning: sdk.ReturnKeys},
		} {
			_, err := runCall(t.Context(), db, &sdk.Call{Tx: sdk.Tx{Rollback: true}, Statements: []sdk.Statement{s}})
			if e := sdk.AsError(err); e != nil && e.Kind == sdk.Internal {
				t.Errorf("%s: %v", s.Verb, err)
			}
		}
		if after := must(t, db, sqlText(state)).body; after != before {
			t.Fatalf("changed:\n%s\n%s", before, after)
		}
		if !utf8.ValidString(value) || strings.Contains(value, "\x00") {
			return // PostgreSQL has no such text
		}
		// What is stored is found by its value and read back as it was.
		set := append(sdk.AppendString([]byte(`{"note":`), value), '}')
		key := []sdk.Value{{Hint: sdk.Number, Text: "1"}}
		must(t, db, sdk.Statement{Verb: sdk.Update, Table: table("notes"), Key: key, SetObject: set})
		found := must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("notes"), Key: key, Filter: eq("note", value), Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "note"}}}}}).body
		if want := "[" + string(set) + "]"; found != want {
			t.Fatalf("stored %q, found %s", value, found)
		}
		must(t, db, sdk.Statement{Verb: sdk.Update, Table: table("notes"), Key: key, Set: []sdk.SetItem{{Column: "note", Value: text("")}}})
	})
}
