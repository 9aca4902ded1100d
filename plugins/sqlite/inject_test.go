package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

// FuzzInjection puts a name and a value wherever a statement takes one. On a real file
// neither may change the schema, or another row than the one that was named.
func FuzzInjection(f *testing.F) {
	for _, s := range []string{"plain", `'; DROP TABLE t; --`, `"; DELETE FROM t; --`, `x" OR "1"="1`, "?1", "$1", `a"b`, "[0]", `$."v"`, "_", "rowid", "\x00", "名 \\ \n", `{"a":1}`, "%", "\xff", "1e400", "9007199254740993", "\ufeff", "\ufeffATTACH 'x' AS y", "\"; \ufeffCOMMIT; --", "@x('); COMMIT; --"} {
		f.Add(s, s)
		f.Add("v", s)
	}
	path := f.TempDir() + "/f.db"
	if err := createSample(f.Context(), path); err != nil {
		f.Fatal(err)
	}
	db, err := open(f.Context(), Config{Path: path, BusyTimeout: 5 * time.Second, MaxConnections: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	do := func(t *testing.T, s sdk.Statement) (string, error) {
		var body []byte
		rows := sdk.NewRows(sdk.ResultOptions{}, func(c *sdk.Chunk) error {
			body = append(body, c.Body...)
			return nil
		})
		err := db.Execute(t.Context(), &sdk.Call{Statements: []sdk.Statement{s}}, rows)
		if err == nil {
			err = rows.Release()
		}
		if err == nil {
			err = rows.NextStatement() // sends what is there
		}
		return string(body), err
	}
	must := func(t *testing.T, s sdk.Statement) string {
		t.Helper()
		body, err := do(t, s)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	const state = `SELECT (SELECT group_concat(sql) FROM sqlite_schema) AS s, (SELECT group_concat(quote(name) || quote(radius_km)) FROM planets) AS p`
	f.Fuzz(func(t *testing.T, name, value string) {
		before := must(t, sqlText(state))
		v, planets := str(value), sdk.Table{Name: "planets"}
		filter := &sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{*where("name", sdk.Eq, v), *where("id", sdk.In, v, v), *where("local_name", sdk.Like, v),
			{Kind: sdk.FilterNot, Children: []sdk.Filter{*where(name, sdk.ILike, v)}}}}
		object, err := json.Marshal(map[string]string{name: value})
		if err != nil {
			t.Fatal(err)
		}
		column := sdk.Column{Name: name}
		for _, s := range []sdk.Statement{
			{Verb: sdk.Select, Table: planets, Filter: filter, Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "id"}, Alias: name}}}, Order: []sdk.Order{{Column: column}}},
			{Verb: sdk.Select, Table: planets, Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "id"}, Alias: name}}}},
			{Verb: sdk.Select, Table: sdk.Table{Name: name, Schema: value}},
			{Verb: sdk.Count, Table: planets, Key: []sdk.Value{v}},
			{Verb: sdk.Delete, Table: planets, Filter: where(name, sdk.Eq, str("no such value"))},
			{Verb: sdk.Insert, Table: planets, Rows: sdk.Rowset{Payload: object, Columns: []string{name}}, Conflict: &sdk.OnConflict{Columns: []string{name}, Constraint: value}},
			{Verb: sdk.Update, Table: sdk.Table{Name: "crew"}, Key: []sdk.Value{num("7")}, SetObject: object},
			{Verb: sdk.Select, Table: planets, Filter: &sdk.Filter{Column: sdk.Column{Name: "id"}, Operator: sdk.Eq, Values: []sdk.Value{v}, ColumnCast: name, ValueCast: value}},
			sqlText("SELECT ?1 AS a, $2 AS b", str(name), v),
		} {
			_, err := do(t, s)
			if e := sdk.AsError(err); e != nil && e.Kind == sdk.Internal {
				t.Errorf("%s: %v", s.Verb, err)
			}
		}
		if after := must(t, sqlText(state)); after != before {
			t.Fatalf("changed:\n%s\n%s", before, after)
		}
		roundTrip(t, must, value)
	})
}

// roundTrip stores a value in one row, finds the row by it, and reads it back.
func roundTrip(t *testing.T, must func(*testing.T, sdk.Statement) string, value string) {
	t.Helper()
	if !utf8.ValidString(value) || strings.Contains(value, "\x00") {
		return // JSON has no such text; SQLite's functions end texts at NUL
	}
	missions := sdk.Table{Name: "missions"}
	set := sdk.AppendString([]byte(`{"notes":`), value)
	must(t, sdk.Statement{Verb: sdk.Update, Table: missions, Key: []sdk.Value{num("6")}, SetObject: append(set, '}')})
	found := must(t, sdk.Statement{Verb: sdk.Select, Table: missions, Key: []sdk.Value{num("6")}, Filter: where("notes", sdk.Eq, str(value)),
		Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "notes"}}}}})
	if want := string(sdk.AppendString([]byte(`[{"notes":`), value)) + "}]"; found != want {
		t.Fatalf("stored %q, found %s", value, found)
	}
	must(t, sdk.Statement{Verb: sdk.Update, Table: missions, Key: []sdk.Value{num("6")}, Set: []sdk.SetItem{{Column: "notes", Value: str("Planned.")}}})
}
