package sqlbuild

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// items is a table with a column of each class.
func items() *Table {
	return &Table{Schema: "public", Name: "items", Key: []string{"id"}, Columns: []Column{
		{Name: "id", Type: "integer", Class: ClassNumber, HasDefault: true},
		{Name: "name", Type: "text", Class: ClassText},
		{Name: "done", Type: "boolean", Class: ClassBool, HasDefault: true, Default: "false"},
		{Name: "ref", Type: "uuid", Class: ClassUUID},
		{Name: "tags", Type: "text[]", Class: ClassArray},
		{Name: "doc", Type: "jsonb", Class: ClassJSON},
		{Name: "raw", Type: "json", Class: ClassJSON},
		{Name: "price", Type: "numeric", Class: ClassNumber},
		{Name: `q"t`, Type: "text", Class: ClassText},
	}}
}

func item(name string) sdk.Item { return sdk.Item{Column: sdk.Column{Name: name}} }

func str(s string) sdk.Value { return sdk.Value{Hint: sdk.String, Text: s} }
func num(s string) sdk.Value { return sdk.Value{Hint: sdk.Number, Text: s} }

var null = sdk.Value{Hint: sdk.Null}

func where(column string, op sdk.Operator, values ...sdk.Value) *sdk.Filter {
	return &sdk.Filter{Column: sdk.Column{Name: column}, Operator: op, Values: values}
}

func lenient(column string, op sdk.Operator, values ...sdk.Value) *sdk.Filter {
	f := where(column, op, values...)
	f.Compare = sdk.Lenient
	return f
}

func selectID(f *sdk.Filter) sdk.Statement {
	return sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{item("id")}}, Filter: f}
}

func rows(payload string, columns ...string) sdk.Rowset {
	return sdk.Rowset{Payload: []byte(payload), Columns: columns}
}

func n(i int64) *int64 { return &i }

func TestBuild(t *testing.T) {
	and := func(kind sdk.FilterKind, children ...sdk.Filter) *sdk.Filter {
		return &sdk.Filter{Kind: kind, Children: children}
	}
	cases := []struct {
		name             string
		statement        sdk.Statement
		postgres, sqlite string
	}{
		{"all", sdk.Statement{Verb: sdk.Select},
			`SELECT "items".* FROM "public"."items"`,
			`SELECT "items".* FROM "public"."items"`},
		{"items", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Distinct: true, Items: []sdk.Item{
			{Column: sdk.Column{Name: "id"}, Cast: "text"}, {Column: sdk.Column{Name: "name"}, Alias: `a"b`}, item(`q"t`)}}},
			`SELECT DISTINCT "items"."id"::text AS "id", "items"."name" AS "a""b", "items"."q""t" FROM "public"."items"`,
			`SELECT DISTINCT CAST("items"."id" AS TEXT) AS "id", "items"."name" AS "a""b", "items"."q""t" AS "q""t" FROM "public"."items"`},
		{"order and page", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{{Kind: sdk.ItemStar}}}, Limit: n(5), Offset: n(2),
			Order: []sdk.Order{{Column: sdk.Column{Name: "name"}, Descending: true, Nulls: sdk.NullsLast}, {Column: sdk.Column{Name: "id"}}}},
			`SELECT "items".* FROM "public"."items" ORDER BY "items"."name" DESC NULLS LAST, "items"."id" LIMIT 5 OFFSET $1`,
			`SELECT "items".* FROM "public"."items" ORDER BY "items"."name" DESC NULLS LAST, "items"."id" LIMIT 5 OFFSET ?1`},
		{"offset alone", sdk.Statement{Verb: sdk.Select, Offset: n(2)},
			`SELECT "items".* FROM "public"."items" OFFSET $1`,
			`SELECT "items".* FROM "public"."items" LIMIT -1 OFFSET ?1`},
		{"tree", selectID(and(sdk.FilterOr, *where("id", sdk.Gte, num("1")), *and(sdk.FilterNot, *where("name", sdk.Eq, str("x")), *where("done", sdk.Is, str("true"))), *and(sdk.FilterAnd))),
			`SELECT "items"."id" FROM "public"."items" WHERE ("items"."id" >= $1 OR NOT ("items"."name" = $2 AND "items"."done" IS TRUE) OR (TRUE))`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE ("items"."id" >= ?1 OR NOT ("items"."name" = ?2 AND "items"."done" IS TRUE) OR (TRUE))`},
		{"lenient null", selectID(lenient("name", sdk.Eq, null)),
			`SELECT "items"."id" FROM "public"."items" WHERE "items"."name" IS NULL`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE "items"."name" IS NULL`},
		{"strict null", selectID(where("name", sdk.Neq, null)),
			`SELECT "items"."id" FROM "public"."items" WHERE "items"."name" <> $1`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE "items"."name" <> ?1`},
		{"in", selectID(lenient("id", sdk.In, num("1"), num("2"), null)),
			`SELECT "items"."id" FROM "public"."items" WHERE ("items"."id" = ANY($1) OR "items"."id" IS NULL)`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE ("items"."id" IN (SELECT value FROM json_each(?1)) OR "items"."id" IS NULL)`},
		{"in nothing", selectID(where("id", sdk.In)),
			`SELECT "items"."id" FROM "public"."items" WHERE FALSE`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE FALSE`},
		{"like", selectID(where("name", sdk.ILike, str("a%"))),
			`SELECT "items"."id" FROM "public"."items" WHERE "items"."name" ILIKE $1`,
			`SELECT "items"."id" AS "id" FROM "public"."items" WHERE "items"."name" LIKE ?1 ESCAPE '\'`},
		{"insert", sdk.Statement{Verb: sdk.Insert, Rows: rows(`[{"id":1,"doc":{}}]`, "id", "doc"), Returning: sdk.ReturnSelection},
			`INSERT INTO "public"."items" ("id","doc") SELECT _."id",_."doc" FROM json_to_recordset($1) AS _("id" integer,"doc" jsonb) RETURNING "items".*`,
			`INSERT INTO "public"."items" ("id","doc") SELECT _.value->>?1,nullif(_.value->?2,'null') FROM json_each(?3) AS _ WHERE TRUE RETURNING *`},
		{"insert nothing", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{}`), Returning: sdk.ReturnKeys},
			`INSERT INTO "public"."items" DEFAULT VALUES RETURNING "items"."id"`,
			`INSERT INTO "public"."items" DEFAULT VALUES RETURNING "items"."id" AS "id"`},
		{"missing default", sdk.Statement{Verb: sdk.Insert, Rows: sdk.Rowset{Payload: []byte(` [{"name":"a"},{"done":true}]`), Columns: []string{"name", "done"}, MissingDefault: true}},
			`INSERT INTO "public"."items" ("name","done") SELECT _."name",CASE WHEN _e.j->($1::text) IS NULL THEN (false) ELSE _."done" END FROM json_array_elements($2) AS _e(j), json_to_record(_e.j) AS _("name" text,"done" boolean)`,
			`INSERT INTO "public"."items" ("name","done") SELECT CASE json_type(_.value,?1) WHEN 'text' THEN _.value->>?1 WHEN 'null' THEN NULL ELSE _.value->?1 END,CASE WHEN json_type(_.value,?2) IS NULL THEN (false) ELSE _.value->>?3 END FROM json_each(?4) AS _ WHERE TRUE`},
		{"missing default, nothing missing", sdk.Statement{Verb: sdk.Insert, Rows: sdk.Rowset{Payload: []byte(`[{"done":false},{"done":true}]`), Columns: []string{"done"}, MissingDefault: true}},
			`INSERT INTO "public"."items" ("done") SELECT _."done" FROM json_to_recordset($1) AS _("done" boolean)`,
			`INSERT INTO "public"."items" ("done") SELECT _.value->>?1 FROM json_each(?2) AS _ WHERE TRUE`},
		{"upsert", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"id":1,"done":true}`, "id", "done"), Conflict: &sdk.OnConflict{Update: true}},
			`WITH _w AS (INSERT INTO "public"."items" ("id","done") SELECT _."id",_."done" FROM json_to_record($1) AS _("id" integer,"done" boolean) ON CONFLICT ("id") DO UPDATE SET "done" = EXCLUDED."done" RETURNING (xmax = 0) AS _i) SELECT count(*), count(*) FILTER (WHERE _i), FALSE FROM _w`,
			`INSERT INTO "public"."items" ("id","done") SELECT _.value->>?1,_.value->>?2 FROM (SELECT ?3 AS value) AS _ WHERE TRUE ON CONFLICT ("id") DO UPDATE SET "done" = EXCLUDED."done"`},
		{"upsert with values", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"id":1}`, "id"),
			Conflict: &sdk.OnConflict{Columns: []string{"name"}, Update: true, Set: []sdk.SetItem{{Column: "price", Value: num("1")}}, SetObject: []byte(`{"done":true}`)}},
			`WITH _w AS (INSERT INTO "public"."items" ("id") SELECT _."id" FROM json_to_record($1) AS _("id" integer) ON CONFLICT ("name") DO UPDATE SET "price" = $2, ("done") = (SELECT _."done" FROM json_to_record($3) AS _("done" boolean)) RETURNING (xmax = 0) AS _i) SELECT count(*), count(*) FILTER (WHERE _i), FALSE FROM _w`,
			`INSERT INTO "public"."items" ("id") SELECT _.value->>?1 FROM (SELECT ?2 AS value) AS _ WHERE TRUE ON CONFLICT ("name") DO UPDATE SET "price" = ?3, "done" = ?4->>?5`},
		{"do nothing", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"id":1}`, "id"), Conflict: &sdk.OnConflict{}},
			`INSERT INTO "public"."items" ("id") SELECT _."id" FROM json_to_record($1) AS _("id" integer) ON CONFLICT ("id") DO NOTHING`,
			`INSERT INTO "public"."items" ("id") SELECT _.value->>?1 FROM (SELECT ?2 AS value) AS _ WHERE TRUE ON CONFLICT ("id") DO NOTHING`},
		{"update by object", sdk.Statement{Verb: sdk.Update, SetObject: []byte(`{"name":"x","price":1.5,"name":"y"}`), Key: []sdk.Value{str("1")}},
			`UPDATE "public"."items" SET "name" = _."name", "price" = _."price" FROM json_to_record($1) AS _("name" text,"price" numeric) WHERE "items"."id" = $2`,
			`UPDATE "public"."items" SET "name" = CASE json_type(?1,?2) WHEN 'text' THEN ?1->>?2 WHEN 'null' THEN NULL ELSE ?1->?2 END, "price" = ?1->>?3 WHERE "items"."id" = ?4`},
		{"update by items", sdk.Statement{Verb: sdk.Update, Set: []sdk.SetItem{{Column: "name", Value: null}, {Column: "price", Value: num("2")}}, AllowAll: true},
			`UPDATE "public"."items" SET "name" = $1, "price" = $2`,
			`UPDATE "public"."items" SET "name" = ?1, "price" = ?2`},
		{"update to defaults", sdk.Statement{Verb: sdk.Update, Set: []sdk.SetItem{{Column: "name", Default: true}, {Column: "done", Default: true}}, AllowAll: true},
			`UPDATE "public"."items" SET "name" = DEFAULT, "done" = DEFAULT`,
			`UPDATE "public"."items" SET "name" = NULL, "done" = (false)`},
		{"limited delete", sdk.Statement{Verb: sdk.Delete, Filter: where("done", sdk.Is, str("false")), Limit: n(1), Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}},
			`DELETE FROM "public"."items" WHERE ("items"."id") IN (SELECT "items"."id" FROM "public"."items" WHERE "items"."done" IS FALSE ORDER BY "items"."id" LIMIT 1)`,
			`DELETE FROM "public"."items" WHERE ("items"."id") IN (SELECT "items"."id" FROM "public"."items" WHERE "items"."done" IS FALSE ORDER BY "items"."id" LIMIT 1)`},
		{"count", sdk.Statement{Verb: sdk.Count, Filter: where("id", sdk.Lt, num("9")), Limit: n(1)},
			`SELECT count(*) FROM "public"."items" WHERE "items"."id" < $1`,
			`SELECT count(*) FROM "public"."items" WHERE "items"."id" < ?1`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for d, want := range map[*Dialect]string{Postgres: c.postgres, SQLite: c.sqlite} {
				q, err := build(d, &c.statement, items())
				if err != nil {
					t.Fatalf("%s: %v", d.name, err)
				}
				if diff := cmp.Diff(want, q.Text); diff != "" {
					t.Errorf("%s (-want +got):\n%s", d.name, diff)
				}
				if highest := strings.Count(q.Text, string(d.placeholder)); highest < len(q.Args) {
					t.Errorf("%s: %d arguments for %d placeholders in %s", d.name, len(q.Args), highest, q.Text)
				}
			}
		})
	}
}

func TestCountBesideSelect(t *testing.T) {
	s := selectID(where("id", sdk.Gt, num("1")))
	s.Count, s.Limit, s.Selection.Distinct = sdk.CountExact, n(1), true
	q, err := build(Postgres, &s, items())
	if err != nil {
		t.Fatal(err)
	}
	want := `SELECT count(*) FROM (SELECT DISTINCT "items"."id" FROM "public"."items" WHERE "items"."id" > $1) AS _`
	if q.Count.Text != want || len(q.Count.Args) != 1 || len(q.Args) != 1 {
		t.Errorf("got %s %v beside %v, want %s", q.Count.Text, q.Count.Args, q.Args, want)
	}
}

func TestAsJSON(t *testing.T) {
	table := items()
	table.Columns[4].AsJSON = true
	table.Columns = table.Columns[3:5]
	q, err := build(Postgres, &sdk.Statement{Verb: sdk.Select}, table)
	if err != nil {
		t.Fatal(err)
	}
	if want := `SELECT "items"."ref", to_json("items"."tags") AS "tags" FROM "public"."items"`; q.Text != want {
		t.Errorf("got %s, want %s", q.Text, want)
	}
}

func TestStoredTimes(t *testing.T) {
	table := &Table{Name: "t", Columns: []Column{{Name: "at", Type: "DATE", Class: ClassTime}}}
	q, err := build(SQLite, &sdk.Statement{Verb: sdk.Select}, table)
	if err != nil {
		t.Fatal(err)
	}
	if want := `SELECT +"t"."at" AS "at" FROM "t"`; q.Text != want {
		t.Errorf("got %s, want %s", q.Text, want)
	}
}

func TestRefused(t *testing.T) {
	keyless := items()
	keyless.Key = nil
	deep := *where("id", sdk.Eq, num("1"))
	for range sdk.MaxFilterDepth {
		deep = sdk.Filter{Kind: sdk.FilterNot, Children: []sdk.Filter{deep}}
	}
	cast := lenient("id", sdk.Eq, num("1"))
	cast.ValueCast = "regclass"
	anyIs := where("id", sdk.Is, str("null"))
	anyIs.Quantifier = sdk.Any
	aliased := selectID(nil)
	aliased.Selection.Items[0].Alias = "a\x00b"
	cases := []struct {
		name      string
		statement sdk.Statement
		table     *Table
		kind      sdk.Kind
		reason    string
	}{
		{"undefined column", selectID(where("naem", sdk.Eq, str("x"))), items(), sdk.Invalid, "undefined_column"},
		{"undefined order", sdk.Statement{Verb: sdk.Select, Order: []sdk.Order{{Column: sdk.Column{Name: "x"}}}}, items(), sdk.Invalid, "undefined_column"},
		{"undefined in rows", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"x":1}`, "x")}, items(), sdk.Invalid, "undefined_column"},
		{"undefined in object", sdk.Statement{Verb: sdk.Update, SetObject: []byte(`{"x":1}`), AllowAll: true}, items(), sdk.Invalid, "undefined_column"},
		{"delete all", sdk.Statement{Verb: sdk.Delete}, items(), sdk.Invalid, "missing_filter"},
		{"delete by empty filter", sdk.Statement{Verb: sdk.Delete, Filter: &sdk.Filter{Kind: sdk.FilterAnd, Children: []sdk.Filter{{Kind: sdk.FilterNot}}}}, items(), sdk.Invalid, "missing_filter"},
		{"delete by a branch without a condition", sdk.Statement{Verb: sdk.Delete, Filter: &sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{*where("id", sdk.Eq, num("1")), {Kind: sdk.FilterAnd}}}}, items(), sdk.Invalid, "missing_filter"},
		{"filtered insert", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"name":"x"}`, "name"), Filter: where("id", sdk.Eq, num("1"))}, items(), sdk.Invalid, "invalid_insert"},
		{"update all", sdk.Statement{Verb: sdk.Update, SetObject: []byte(`{"name":1}`)}, items(), sdk.Invalid, "missing_filter"},
		{"update nothing", sdk.Statement{Verb: sdk.Update, SetObject: []byte(`{}`), AllowAll: true}, items(), sdk.Invalid, "empty_update"},
		{"update no object", sdk.Statement{Verb: sdk.Update, SetObject: []byte(`[1]`), AllowAll: true}, items(), sdk.Invalid, "invalid_json"},
		{"insert no object", sdk.Statement{Verb: sdk.Insert, Rows: rows(`1`, "id")}, items(), sdk.Invalid, "invalid_json"},
		{"key of a table without", sdk.Statement{Verb: sdk.Select, Key: []sdk.Value{num("1")}}, keyless, sdk.Invalid, "no_primary_key"},
		{"limited update without key", sdk.Statement{Verb: sdk.Delete, AllowAll: true, Limit: n(1)}, keyless, sdk.Invalid, "no_primary_key"},
		{"upsert without key", sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"id":1}`, "id"), Conflict: &sdk.OnConflict{Update: true}}, keyless, sdk.Invalid, "no_primary_key"},
		{"key of another length", sdk.Statement{Verb: sdk.Select, Key: []sdk.Value{num("1"), num("2")}}, items(), sdk.Invalid, "key_mismatch"},
		{"deep filter", selectID(&deep), items(), sdk.Invalid, "too_deep"},
		{"cast", selectID(cast), items(), sdk.Invalid, "invalid_cast"},
		{"is of something", selectID(where("id", sdk.Is, str("5"))), items(), sdk.Invalid, "invalid_filter"},
		{"is any", selectID(anyIs), items(), sdk.Invalid, "invalid_filter"},
		{"two values", selectID(where("id", sdk.Eq, num("1"), num("2"))), items(), sdk.Invalid, "invalid_filter"},
		{"operator", selectID(where("name", "like?", str("x"))), items(), sdk.Unsupported, "unsupported_operator"},
		{"relation filter", selectID(&sdk.Filter{Relation: "r", Operator: sdk.Is, Values: []sdk.Value{null}}), items(), sdk.Invalid, "relation_not_selected"},
		{"relation", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{{Kind: sdk.ItemRelation}}}}, items(), sdk.Invalid, "invalid_relation"},
		{"aggregate", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{{Aggregate: "total"}}}}, items(), sdk.Invalid, "invalid_aggregate"},
		{"sum of nothing", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{{Aggregate: "sum"}}}}, items(), sdk.Invalid, "invalid_aggregate"},
		{"path behind a text", selectID(&sdk.Filter{Column: ref("doc", text("a"), text("b")), Operator: sdk.Is, Values: []sdk.Value{null}}), items(), sdk.Invalid, "invalid_json_path"},
		{"NUL in a path", sdk.Statement{Verb: sdk.Select, Order: []sdk.Order{{Column: ref("doc", key("a\x00"))}}}, items(), sdk.Invalid, "invalid_json_path"},
		{"index of 33 bits", selecting(sdk.Statement{}, sdk.Item{Column: ref("doc", at(1<<31))}), items(), sdk.Invalid, "invalid_json_path"},
		{"long path", selecting(sdk.Statement{}, sdk.Item{Column: ref("doc", make([]sdk.PathStep, sdk.MaxFilterDepth+1)...)}), items(), sdk.Invalid, "too_deep"},
		{"bucket", sdk.Statement{Verb: sdk.Select, Selection: sdk.Selection{Bucket: &sdk.Bucket{}}}, items(), sdk.Invalid, "invalid_granularity"},
		{"negative limit", sdk.Statement{Verb: sdk.Select, Limit: n(-1)}, items(), sdk.Invalid, "invalid_range"},
		{"NUL in an alias", aliased, items(), sdk.Invalid, "invalid_identifier"},
		{"page token", sdk.Statement{Verb: sdk.Select, PageToken: "x"}, items(), sdk.Unsupported, "unsupported_page_token"},
		{"verb", sdk.Statement{Verb: sdk.SQL}, items(), sdk.Unsupported, "unsupported_verb"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range []*Dialect{Postgres, SQLite} {
				_, err := build(d, &c.statement, c.table)
				var e *sdk.Error
				if !errors.As(err, &e) || e.Kind != c.kind || e.Reason != c.reason || e.Executed != sdk.ExecutedNo || e.Message == "" {
					t.Errorf("%s: got %v, want %s (%s)", d.name, err, c.kind, c.reason)
				}
			}
		})
	}
}

func TestTooManyValues(t *testing.T) {
	for d, most := range map[*Dialect]int{Postgres: 65535, SQLite: 32766} {
		either := sdk.Filter{Kind: sdk.FilterOr, Children: slices.Repeat([]sdk.Filter{*where("id", sdk.Eq, num("1"))}, most)}
		s := selectID(&either)
		if _, err := build(d, &s, items()); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		either.Children = append(either.Children, either.Children[0])
		if _, err := build(d, &s, items()); sdk.AsError(err) == nil || sdk.AsError(err).Reason != "too_many_values" {
			t.Errorf("%s: one more: %v", d.name, err)
		}
	}
	s := selectID(where("id", sdk.In, slices.Repeat([]sdk.Value{num("1")}, 100_000)...))
	if q, err := build(Postgres, &s, items()); err != nil || len(q.Args) != 1 {
		t.Error(err)
	}
}

// TestLongName holds that no name of an answer is one that PostgreSQL would cut short.
func TestLongName(t *testing.T) {
	s := selectID(nil)
	for _, c := range []struct {
		name    string
		d       *Dialect
		refused bool
	}{{strings.Repeat("x", 63), Postgres, false}, {strings.Repeat("é", 32), Postgres, true}, {strings.Repeat("x", 99), SQLite, false}} {
		s.Selection.Items[0].Alias = c.name
		if _, err := build(c.d, &s, items()); (err != nil) != c.refused || err != nil && sdk.AsError(err).Reason != "invalid_identifier" {
			t.Errorf("%d bytes on %s: %v", len(c.name), c.d.name, err)
		}
	}
}

func TestUndefinedColumnHints(t *testing.T) {
	s := selectID(where("naem", sdk.Eq, str("x")))
	_, err := build(Postgres, &s, items())
	e := sdk.AsError(err)
	if e.Hint != `did you mean "name"?` || e.Column != "naem" || e.Table != "items" || e.Code != "42703" {
		t.Errorf("got %+v", e)
	}
}

func TestNearestName(t *testing.T) {
	names := []string{"customers", "orders", "order_items", "id"}
	for name, want := range map[string]string{
		"customer": "customers", "Ordres": "orders", "orderitems": "order_items", "ix": "id", "planets": "", "": "", "ORDERS": "orders",
		strings.Repeat("x", 300): "",
	} {
		if got := NearestName(name, names); got != want {
			t.Errorf("NearestName(%q) = %q, want %q", name, got, want)
		}
	}
}

// build builds a statement on a catalogue of one table.
func build(d *Dialect, s *sdk.Statement, table *Table) (*Query, error) {
	statement := *s
	statement.Table = sdk.Table{Schema: table.Schema, Name: table.Name}
	return d.Build(catalogueOf(table), &statement, &sdk.ResultOptions{})
}

// catalogueOf is a catalogue whose path is the first table's schema.
func catalogueOf(tables ...*Table) *Catalogue {
	c := &Catalogue{Tables: map[sdk.Table]*Table{}, Path: []string{tables[0].Schema}}
	for _, t := range tables {
		c.Tables[sdk.Table{Schema: t.Schema, Name: t.Name}] = t
	}
	return c
}
